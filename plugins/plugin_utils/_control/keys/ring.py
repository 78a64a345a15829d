# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Signing keys: ECDSA P-256 and Ed25519, in files (PKCS#8 PEM, optionally encrypted) or behind a URI.

Everything cryptographic is done by ``cryptography`` and securesystemslib's signers.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import typing as t

from ..base import files
from ..base.errors import KeyFileError
from . import uris as signers

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

#: Files with the URI of a key in their first line; the public half lies beside them in ``NAME.pub``.
URI_SUFFIX = ".uri"

_PRIVATE = b"PRIVATE KEY-----"
_OPENSSH = (b"ssh-", b"ecdsa-", b"sk-")
_SCHEMES = ("ecdsa-sha2-nistp256", "ed25519")


@dataclasses.dataclass(frozen=True)
class Ring:
    """Private keys at hand, by the id of their public key.

    A ring is one bag for all roles: each role is signed with those of its own keys that are in it. ``absent`` tells
    why keys that a directory names are not at hand (an agent without them, a token that is not plugged in).
    """

    signers: t.Mapping[str, Signer]
    absent: t.Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def load(
        cls,
        places: t.Iterable[pathlib.Path | str],
        passphrase: bytes | None = None,
        pin: bytes | None = None,
        *,
        maybe: t.Iterable[pathlib.Path | str] = (),
    ) -> Ring:
        """The keys in ``places``: paths of files (PEM, or ``NAME.uri`` with a URI in its first line) or URIs.

        A directory stands for every ``*.pem`` in it that holds a private key, and for every ``*.uri``. What these and
        ``maybe`` name by a URI need not be at hand. ``passphrase`` is tried for encrypted keys. Raises
        :class:`KeyFileError`.
        """
        held: dict[str, Signer] = {}
        absent: dict[str, str] = {}
        secrets = signers.Secrets(passphrase, pin)
        wanted: list[tuple[pathlib.Path | str, bool]] = [(place, True) for place in maybe]
        for place in places:
            path = pathlib.Path(place)
            inside = _private_files(path) if path.is_dir() else None
            wanted += [(place, False)] if inside is None else [(file, True) for file in inside]
        for place, may_lack in wanted:
            behind_uri = isinstance(place, str) or place.suffix == URI_SUFFIX
            try:
                several = _signers(place, secrets)
            except KeyFileError as error:
                if not (may_lack and behind_uri):
                    raise
                absent[pathlib.Path(place).stem if isinstance(place, pathlib.Path) else place] = error.message
            else:
                held.update((signer.public_key.keyid, signer) for signer in several)
        return cls(held, absent)

    def hint(self) -> str:
        """What to add to a message about missing signatures."""
        return "".join(f" ({name} is not at hand: {reason})" for name, reason in sorted(self.absent.items()))


def generate(path: pathlib.Path, kind: str = "ecdsa", passphrase: bytes | None = None) -> SSlibKey:
    """Make a private key in ``path`` (mode 0600) and its public half in ``path`` with the suffix ``.pub``.

    Never replaces a file. Raises :class:`KeyFileError`.
    """
    if kind not in KINDS:
        raise KeyFileError(f"{kind!r} is not a kind of key; use one of {', '.join(KINDS)}", code="UNSUPPORTED")
    private: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    private = ec.generate_private_key(ec.SECP256R1()) if kind == "ecdsa" else ed25519.Ed25519PrivateKey.generate()
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase)
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    try:
        files.make_directory(path.parent, 0o700, shared=False)
        files.write_new(path, pem, 0o600, shared=False)
        files.write(path.with_suffix(".pub"), public)
    except OSError as error:
        raise KeyFileError(f"the key {path} cannot be written ({error.strerror}); give another place") from error
    return SSlibKey.from_crypto(private.public_key())


def public(place: pathlib.Path | str, passphrase: bytes | None = None, pin: bytes | None = None) -> SSlibKey:
    """The public key in the file ``place`` (public or private, PEM or OpenSSH), or behind the URI ``place``.

    The file's name becomes the key's. The same path with the suffix ``.pub`` is preferred, so that nobody needs the
    private key to list it. Raises :class:`KeyFileError`.
    """
    secrets = signers.Secrets(passphrase, pin)
    if isinstance(place, str) and signers.scheme_of(place) not in (None, signers.FILE):
        several = _behind(place, None, secrets)
        if len(several) != 1:
            raise KeyFileError(f"{place} stands for {len(several)} keys; name one by its fingerprint")
        key = t.cast("SSlibKey", several[0].public_key)
        key.unrecognized_fields[NAME_FIELD] = getattr(several[0], "name", place)
        return key
    path = pathlib.Path(str(place).removeprefix(f"{signers.FILE}:"))
    half = path.with_suffix(".pub")
    source = half if half.is_file() else path
    if source.suffix == URI_SUFFIX:
        (signer,) = _in_file(source, secrets)
        key = t.cast("SSlibKey", signer.public_key)
    elif _PRIVATE in _read(source):
        key = CryptoSigner(_private(source, passphrase)).public_key
    else:
        key = _public(source)
    key.unrecognized_fields[NAME_FIELD] = path.stem
    return key


def name_of(keyid: str, key: Key | None) -> str:
    """How messages call a key: the name of whoever holds it, where known, and the beginning of its id."""
    name = key.unrecognized_fields.get(NAME_FIELD) if key is not None else None
    return f"{name} ({keyid[:8]})" if isinstance(name, str) and name.isprintable() else keyid[:8]


def keyid_of(key: Key) -> str:
    """The id that belongs to the value of ``key``, whatever id somebody gave it."""
    return id_of(key.to_dict())


def id_of(key: t.Mapping[str, t.Any]) -> str:
    """:func:`keyid_of` for a key as metadata hold it."""
    content = encode_canonical({name: key.get(name) for name in ("keytype", "scheme", "keyval")})
    return hashlib.sha256(str(content).encode()).hexdigest()


def passphrase_from(path: pathlib.Path) -> bytes:
    """The passphrase (or PIN) in the first line of ``path``. Raises :class:`KeyFileError` when there is none."""
    return _first_line(path, "the passphrase")


def _signers(place: pathlib.Path | str, secrets: signers.Secrets) -> list[Signer]:
    if isinstance(place, str) and signers.scheme_of(place):
        return _behind(place, None, secrets)
    return _in_file(pathlib.Path(place), secrets)


def _in_file(path: pathlib.Path, secrets: signers.Secrets) -> list[Signer]:
    if path.suffix != URI_SUFFIX:
        return [CryptoSigner(_private(path, secrets.passphrase))]
    uri = _first_line(path, "the URI of the key").decode(errors="replace")
    half = path.with_suffix(".pub")
    several = _behind(uri, _public(half) if half.is_file() else None, secrets)
    if len(several) != 1:
        raise KeyFileError(f"{path} stands for {len(several)} keys; put the fingerprint there, or {half} beside it")
    return several


def _behind(uri: str, public_half: SSlibKey | None, secrets: signers.Secrets) -> list[Signer]:
    if signers.scheme_of(uri) is None:
        raise KeyFileError(f"{uri!r} is not the URI of a key")
    if signers.scheme_of(uri) == signers.FILE:
        several = _in_file(pathlib.Path(uri.partition(":")[2]), secrets)
    else:
        several = signers.load(uri, public_half, secrets)
    for signer in several:
        if signer.public_key.scheme not in _SCHEMES:
            raise KeyFileError(
                f"the key {uri} is of a kind that devices cannot check ({signer.public_key.scheme}); use ECDSA P-256 "
                "or Ed25519",
                code="UNSUPPORTED",
            )
    return several


def _public(path: pathlib.Path) -> SSlibKey:
    content = _read(path)
    load = serialization.load_ssh_public_key if content.startswith(_OPENSSH) else serialization.load_pem_public_key
    try:
        return SSlibKey.from_crypto(_usable(load(content), path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path} is not a PEM or OpenSSH key that can be used ({error}); give another") from error


def _private(path: pathlib.Path, passphrase: bytes | None) -> t.Any:
    content = _read(path)
    # handed over only where it is needed: cryptography refuses a passphrase for a key that has none
    encrypted = b"ENCRYPTED " + _PRIVATE in content
    if encrypted and passphrase is None:
        raise KeyFileError(f"the key {path} is encrypted; give its passphrase")
    try:
        key = serialization.load_pem_private_key(content, passphrase if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if b"OPENSSH" in content:
            raise KeyFileError(f"{path} is an OpenSSH key; ssh-add it to an SSH agent and use ssh-agent:") from error
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
    pem = [file for file in sorted(path.glob("*.pem")) if _PRIVATE in _read(file)]
    return [*pem, *sorted(path.glob(f"*{URI_SUFFIX}"))]


def _first_line(path: pathlib.Path, what: str) -> bytes:
    lines = _read(path).splitlines()
    if not lines or not lines[0]:
        raise KeyFileError(f"the first line of {path} is empty; write {what} there")
    return lines[0]


def _read(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read ({error.strerror}); give the path of a key file") from error
