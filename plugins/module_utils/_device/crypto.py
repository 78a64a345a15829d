# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Signatures checked with what the device has: ``cryptography`` if importable, else the ``openssl`` command.

Never with arithmetic of our own. ECDSA P-256 works with every openssl since 1.1.1; Ed25519 by command needs 3.x.
"""

from __future__ import annotations

import base64
import os
import re
import tempfile
import typing as t

from . import command
from .errors import OtaError

_ED25519_DER = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: SubjectPublicKeyInfo of an Ed25519 key
#: key type -> the schemes of the TUF specification that are accepted for it
SCHEMES = {"ecdsa": ("ecdsa-sha2-nistp256",), "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",), "ed25519": ("ed25519",)}


def value(key: t.Mapping[str, t.Any]) -> tuple[str, str]:
    """What makes two keys the same key, whatever their ids: type and public value without formatting."""
    public = key["keyval"]["public"]
    return ("ed25519" if key["keytype"] == "ed25519" else "ecdsa", re.sub(r"\s", "", public))


def verify(key: t.Mapping[str, t.Any], signature: str, content: bytes) -> bool:
    """Whether ``signature`` (hex) over ``content`` is by ``key`` (a TUF key object).

    Raises OtaError ``UNSUPPORTED`` when this device cannot check this type of key; a malformed key or signature is
    simply not valid.
    """
    kind, scheme, public = key.get("keytype"), key.get("scheme"), key.get("keyval", {}).get("public")
    if kind not in SCHEMES or scheme not in SCHEMES[kind]:
        message = "keys of type %s with scheme %s cannot be checked here; sign with ECDSA P-256" % (kind, scheme)
        raise OtaError("UNSUPPORTED", message)
    try:
        raw = bytes.fromhex(signature)
        pem = _pem(public) if kind == "ed25519" else public.encode()
    except (ValueError, AttributeError, TypeError):
        return False
    try:
        return _by_library(kind == "ed25519", pem, raw, content)
    except ImportError:
        return _by_command(kind == "ed25519", pem, raw, content)


def _pem(public: str) -> bytes:
    raw = bytes.fromhex(public)
    if len(raw) != 32:
        raise ValueError("an Ed25519 key has 32 bytes")
    body = base64.b64encode(_ED25519_DER + raw)
    return b"-----BEGIN PUBLIC KEY-----\n" + body + b"\n-----END PUBLIC KEY-----\n"


def _by_library(edwards: bool, pem: bytes, signature: bytes, content: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    try:
        key = serialization.load_pem_public_key(pem)
        if edwards and isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, content)
        elif not edwards and isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
            key.verify(signature, content, ec.ECDSA(hashes.SHA256()))
        else:
            return False
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _by_command(edwards: bool, pem: bytes, signature: bytes, content: bytes) -> bool:
    if command.which("openssl") is None:
        message = "this device has neither the openssl command nor python3-cryptography; install one of them"
        raise OtaError("UNSUPPORTED", message)
    with tempfile.TemporaryDirectory(prefix="fleet-ota-") as folder:
        names = {name: os.path.join(folder, name) for name in ("key", "signature", "content")}
        for name, data in (("key", pem), ("signature", signature), ("content", content)):
            with open(names[name], "wb") as handle:
                handle.write(data)
        if not edwards:
            argv = [
                "openssl",
                "dgst",
                "-sha256",
                "-verify",
                names["key"],
                "-signature",
                names["signature"],
                names["content"],
            ]
            return _curve(names["key"]) and command.run(argv).rc == 0
        version = command.run(["openssl", "version"]).out
        if re.match(r"OpenSSL [01]\.", version):
            message = "%s cannot check Ed25519; sign with ECDSA P-256 or install openssl 3" % version.strip()
            raise OtaError("UNSUPPORTED", message)
        argv = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", names["key"], "-rawin"]
        return command.run([*argv, "-in", names["content"], "-sigfile", names["signature"]]).rc == 0


def _curve(path: str) -> bool:
    """Whether the PEM file holds a key on P-256: its DER names the curve (OID 1.2.840.10045.3.1.7)."""
    with open(path, "rb") as handle:
        body = b"".join(line for line in handle.read().splitlines() if not line.startswith(b"-----"))
    try:
        return bytes.fromhex("06082a8648ce3d030107") in base64.b64decode(body, validate=True)[:40]
    except ValueError:
        return False
