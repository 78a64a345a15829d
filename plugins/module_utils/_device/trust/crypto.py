# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Signatures checked with what the device has: ``cryptography`` if importable, else the ``openssl`` command.

Never with arithmetic of our own. ECDSA P-256 and RSA-PSS work with every openssl since 1.1.1; Ed25519 by command
needs 3.x.
"""

from __future__ import annotations

import os
import re
import tempfile

from ..base.errors import OtaError
from ..system import command
from .publickey import SCHEMES, PublicKey

__all__ = ["SCHEMES", "verify"]


class _Unable(Exception):
    """The library is not here, or too old for this."""


def verify(key: PublicKey, signature: bytes, content: bytes) -> bool:
    """Whether ``signature`` over ``content`` is by ``key``.

    Raises OtaError ``UNSUPPORTED`` when this device has nothing to check this kind of key with.
    """
    # The openssl command reads as many bytes as a signature of the key can have, and drops what follows.
    if len(signature) > key.size:
        return False
    try:
        return _by_library(key, signature, content)
    except (ImportError, _Unable):
        return _by_command(key, signature, content)


def _by_library(key: PublicKey, signature: bytes, content: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.backends import default_backend
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

    try:
        # Debian 10 and Ubuntu 20.04 have versions that want a backend.
        public = serialization.load_pem_public_key(key.pem, default_backend())
        if isinstance(public, ed25519.Ed25519PublicKey):
            public.verify(signature, content)
        elif isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, content, ec.ECDSA(hashes.SHA256()))
        elif isinstance(public, rsa.RSAPublicKey):
            salt = getattr(padding.PSS, "AUTO", None)
            if salt is None:
                raise _Unable
            public.verify(signature, content, padding.PSS(padding.MGF1(hashes.SHA256()), salt), hashes.SHA256())
        else:
            return False
    except (InvalidSignature, ValueError):
        return False
    return True


def _by_command(key: PublicKey, signature: bytes, content: bytes) -> bool:
    if command.which("openssl") is None:
        message = "this device has neither the openssl command nor python3-cryptography; install one of them"
        raise OtaError("UNSUPPORTED", message)
    with tempfile.TemporaryDirectory(prefix="fleet-ota-") as folder:
        names = {name: os.path.join(folder, name) for name in ("key", "signature", "content")}
        for name, data in (("key", key.pem), ("signature", signature), ("content", content)):
            with open(names[name], "wb") as handle:
                handle.write(data)
        if key.kind == "ed25519":
            return _edwards(names)
        argv = ["openssl", "dgst", "-sha256", "-verify", names["key"], "-signature", names["signature"]]
        if key.kind == "rsa":
            argv += ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:-2"]  # any length of salt
        return command.run([*argv, names["content"]]).rc == 0


def _edwards(names: dict[str, str]) -> bool:
    """By ``openssl pkeyutl``, which wants a regular file and knows ``-rawin`` since 3.0."""
    version = command.run(["openssl", "version"]).out
    if re.match(r"OpenSSL [01]\.", version):
        message = "%s cannot check Ed25519; sign with ECDSA P-256 or install openssl 3 or python3-cryptography"
        raise OtaError("UNSUPPORTED", message % version.strip())
    argv = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", names["key"], "-rawin"]
    return command.run([*argv, "-in", names["content"], "-sigfile", names["signature"]]).rc == 0
