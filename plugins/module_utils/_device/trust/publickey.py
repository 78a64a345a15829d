# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Public keys as TUF metadata holds them, read so strictly that one key has exactly one value.

A signer who could write one key in two ways could sign twice with it. So only the encodings that signers write are
taken: SubjectPublicKeyInfo in PEM for ECDSA P-256 (RFC 5480) and RSA (RFC 3279), 32 bytes in hex for Ed25519
(RFC 8032).
"""

from __future__ import annotations

import base64
import re
import typing as t

from ..base.errors import OtaError

#: key type -> the schemes of the TUF specification that are accepted for it
SCHEMES = {
    "ecdsa": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ed25519": ("ed25519",),
    "rsa": ("rsassa-pss-sha256",),
}
#: What identifies a key: its kind and its public value, in one way of writing.
Value = t.Tuple[str, str]
_PEM = re.compile(r"\s*-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*")
# The whole DER before the point: the curve is named and is P-256; explicit curves are refused (CVE-2020-0601).
_P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
_P256_SHORT = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
_ED25519 = bytes.fromhex("302a300506032b6570032100")  # RFC 8410
_RSA = bytes.fromhex("300d06092a864886f70d0101010500")  # rsaEncryption, NULL
_SEQUENCE, _INTEGER, _BITS = 0x30, 0x02, 0x03
_RSA_BITS = range(2048, 8193)


class PublicKey(t.NamedTuple):
    """A key that can be checked: ``kind`` is ecdsa, ed25519 or rsa, ``size`` bytes of a signature (at most)."""

    kind: str
    value: Value
    pem: bytes
    size: int


def parse(key: t.Mapping[str, object]) -> PublicKey | None:
    """A TUF key object as a key, or None if it is malformed and so can have signed nothing.

    Raises OtaError ``UNSUPPORTED`` for a type or scheme that this engine does not know.
    """
    kind, scheme = key.get("keytype"), key.get("scheme")
    if not isinstance(kind, str) or scheme not in SCHEMES.get(kind, ()):
        message = "keys of type %s with scheme %s cannot be checked here; sign with ECDSA P-256"
        raise OtaError("UNSUPPORTED", message % (kind, scheme))
    holder = key.get("keyval")
    public = holder.get("public") if isinstance(holder, dict) else None
    if not isinstance(public, str):
        return None
    try:
        if kind == "ed25519":
            return _edwards(public)
        return _rsa(_der(public)) if kind == "rsa" else _ecdsa(_der(public))
    except ValueError:
        return None


def _der(public: str) -> bytes:
    match = _PEM.fullmatch(public)
    if match is None:
        raise ValueError("not a public key in PEM")
    return base64.b64decode("".join(match.group(1).split()), validate=True)


def _pem(der: bytes) -> bytes:
    body = base64.b64encode(der)
    lines = [body[start : start + 64] for start in range(0, len(body), 64)]
    return b"\n".join([b"-----BEGIN PUBLIC KEY-----", *lines, b"-----END PUBLIC KEY-----", b""])


def _edwards(public: str) -> PublicKey:
    raw = bytes.fromhex(public)
    if len(raw) != 32:
        raise ValueError("an Ed25519 key has 32 bytes")
    return PublicKey("ed25519", ("ed25519", raw.hex()), _pem(_ED25519 + raw), 64)


def _ecdsa(der: bytes) -> PublicKey:
    """One value for the point, whether it is written whole or compressed (SEC 1, 2.3.3)."""
    if der.startswith(_P256) and len(der) == len(_P256) + 65 and der[len(_P256)] == 4:
        x, last = der[len(_P256) + 1 : len(_P256) + 33], der[-1]
        sign = 2 + last % 2
    elif der.startswith(_P256_SHORT) and len(der) == len(_P256_SHORT) + 33 and der[len(_P256_SHORT)] in (2, 3):
        x, sign = der[-32:], der[len(_P256_SHORT)]
    else:
        raise ValueError("not a key on P-256")
    return PublicKey("ecdsa", ("ecdsa", "%02x%s" % (sign, x.hex())), _pem(der), 72)


def _rsa(der: bytes) -> PublicKey:
    body = _only(der, _SEQUENCE)
    if not body.startswith(_RSA):
        raise ValueError("not an RSA key")
    bits = _only(body[len(_RSA) :], _BITS)
    if bits[:1] != b"\0":
        raise ValueError("a key has whole bytes")
    modulus, rest = _value(_only(bits[1:], _SEQUENCE), _INTEGER)
    exponent = _only(rest, _INTEGER)
    n, e = _positive(modulus), _positive(exponent)
    if n.bit_length() not in _RSA_BITS or not n % 2 or e < 3 or not e % 2:
        raise ValueError("an RSA key has 2048 to 8192 bits and odd numbers")
    return PublicKey("rsa", ("rsa", "%x:%x" % (n, e)), _pem(der), (n.bit_length() + 7) // 8)


def _positive(body: bytes) -> int:
    if not body or body[0] >= 128 or (len(body) > 1 and body[0] == 0 and body[1] < 128):
        raise ValueError("a number is negative or longer than it must be")
    return int.from_bytes(body, "big")


def _only(data: bytes, tag: int) -> bytes:
    """The body of the one DER value that ``data`` is."""
    body, rest = _value(data, tag)
    if rest:
        raise ValueError("bytes follow")
    return body


def _value(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """The body of the first DER value in ``data``, and what follows it; lengths only as short as they can be."""
    if len(data) < 2 or data[0] != tag:
        raise ValueError("another value was expected")
    length, start = data[1], 2
    if length >= 128:
        start += length - 128
        length = int.from_bytes(data[2:start], "big")
        if start > 4 or length < 128 or data[2] == 0:
            raise ValueError("a length is not written as it must be")
    if len(data) < start + length:
        raise ValueError("a value is cut")
    return data[start : start + length], data[start + length :]
