# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Signing keys in files: ECDSA P-256 and Ed25519, PKCS#8 PEM, optionally encrypted.

Everything cryptographic is done by ``cryptography`` and securesystemslib's ``CryptoSigner``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import typing as t

from . import files
from .errors import KeyFileError

try:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from securesystemslib.formats import encode_canonical
    from securesystemslib.signer import CryptoSigner, SSlibKey
except ImportError:  # libraries.require() tells
    pass

if t.TYPE_CHECKING:
    from securesystemslib.signer import Key, Signer

#: ECDSA P-256 is the default because every openssl since 1.1.1 on a device can check it.
KINDS = ("ecdsa", "ed25519")

#: An additional field of a public key, so that people see whose it is; not part of its id.
NAME_FIELD = "x-fleet-ota-name"

_PRIVATE = b"PRIVATE KEY-----"


@dataclasses.dataclass(frozen=True)
class Ring:
    """Private keys at hand, by the id of their public key.

    A ring is one bag for all roles: each role is signed with those of its own keys that are in it.
    """

    signers: t.Mapping[str, Signer]

    @classmethod
    def load(cls, paths: t.Iterable[pathlib.Path], passphrase: bytes | None = None) -> Ring:
        """The keys in ``paths``; a directory stands for every ``*.pem`` in it that holds a private key.

        ``passphrase`` is tried for encrypted keys. Raises :class:`KeyFileError`.
        """
        signers: dict[str, Signer] = {}
        for path in paths:
            for file in _private_files(path):
                signer = CryptoSigner(_private(file, passphrase))
                signers[signer.public_key.keyid] = signer
        return cls(signers)


def generate(path: pathlib.Path, kind: str = "ecdsa", passphrase: bytes | None = None) -> SSlibKey:
    """Make a private key in ``path`` (mode 0600) and its public half in ``path`` with the suffix ``.pub``.

    Never replaces a file. Raises :class:`KeyFileError`.
    """
    if kind not in KINDS:
        raise KeyFileError(f"{kind!r} is not a kind of key; use one of {', '.join(KINDS)}", code="UNSUPPORTED")
    made: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    made = ec.generate_private_key(ec.SECP256R1()) if kind == "ecdsa" else ed25519.Ed25519PrivateKey.generate()
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase)
    pem = made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    public = made.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    try:
        files.make_directory(path.parent, 0o700)
        files.write_new(path, pem, 0o600)
        files.write(path.with_suffix(".pub"), public)
    except OSError as error:
        raise KeyFileError(f"the key {path} cannot be written ({error.strerror}); give another place") from error
    return SSlibKey.from_crypto(made.public_key())


def public(path: pathlib.Path, passphrase: bytes | None = None) -> SSlibKey:
    """The public key in ``path``, which may hold a public or a private key; the file's name becomes the key's.

    ``path`` with the suffix ``.pub`` is preferred, so that nobody needs the private key to list it. Raises
    :class:`KeyFileError`.
    """
    beside = path.with_suffix(".pub")
    source = beside if beside.is_file() else path
    content = _read(source)
    if _PRIVATE in content:
        key = CryptoSigner(_private(source, passphrase)).public_key
    else:
        try:
            key = SSlibKey.from_crypto(_usable(serialization.load_pem_public_key(content), source))
        except (ValueError, UnsupportedAlgorithm) as error:
            raise KeyFileError(f"{source} is not a PEM key that can be used ({error}); give another") from error
    key.unrecognized_fields[NAME_FIELD] = path.stem
    return key


def name_of(keyid: str, key: Key | None) -> str:
    """How messages call a key: the name of whoever holds it, where known, and the beginning of its id."""
    name = key.unrecognized_fields.get(NAME_FIELD) if key is not None else None
    return f"{name} ({keyid[:8]})" if isinstance(name, str) and name.isprintable() else keyid[:8]


def keyid_of(key: Key) -> str:
    """The id that belongs to the value of ``key``, whatever id somebody gave it."""
    content = encode_canonical({"keytype": key.keytype, "scheme": key.scheme, "keyval": key.keyval})
    return hashlib.sha256(str(content).encode()).hexdigest()


def passphrase_from(path: pathlib.Path) -> bytes:
    """The passphrase in the first line of ``path``. Raises :class:`KeyFileError` when there is none."""
    lines = _read(path).splitlines()
    if not lines or not lines[0]:
        raise KeyFileError(f"the first line of {path} is empty; write the passphrase there")
    return lines[0]


def _private(path: pathlib.Path, passphrase: bytes | None) -> t.Any:
    content = _read(path)
    # handed over only where it is needed: cryptography refuses a passphrase for a key that has none
    encrypted = b"ENCRYPTED " + _PRIVATE in content
    if encrypted and passphrase is None:
        raise KeyFileError(f"the key {path} is encrypted; give its passphrase")
    try:
        key = serialization.load_pem_private_key(content, passphrase if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        what = "the passphrase is wrong or the file is damaged" if encrypted else "it is not a private key in PEM"
        raise KeyFileError(f"the key {path} cannot be used: {what}; give another") from error
    return _usable(key, path)


def _usable(key: t.Any, path: pathlib.Path) -> t.Any:
    """``key``, if devices can check what it signs."""
    if isinstance(key, (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey)):
        return key
    if isinstance(key, (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey)) and key.curve.name == "secp256r1":
        return key
    raise KeyFileError(
        f"the key {path} is of a kind that devices cannot check; use ECDSA P-256 or Ed25519", code="UNSUPPORTED"
    )


def _private_files(path: pathlib.Path) -> list[pathlib.Path]:
    if not path.is_dir():
        return [path]
    return [file for file in sorted(path.glob("*.pem")) if _PRIVATE in _read(file)]


def _read(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read ({error.strerror}); give the path of a key file") from error
