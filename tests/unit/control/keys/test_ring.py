# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Key files: made safely, read strictly."""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import KeyFileError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.keys import ring
from ansible_collections.fleet.ota.plugins.plugin_utils._control.keys.ring import Ring
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

KINDS = {"ecdsa": "ecdsa-sha2-nistp256", "ed25519": "ed25519"}


@pytest.mark.parametrize("kind", ring.KINDS)
@pytest.mark.parametrize("passphrase", [None, b"secret words"])
def test_a_made_key_signs_and_its_public_half_verifies(
    tmp_path: pathlib.Path, kind: str, passphrase: bytes | None
) -> None:
    path = tmp_path / "new" / "stable.pem"
    made = ring.generate(path, kind, passphrase)
    (signer,) = Ring.load([path], passphrase).signers.values()
    public = ring.public(path)
    assert public.keyid == made.keyid == signer.public_key.keyid
    assert public.scheme == KINDS[kind]
    public.verify_signature(signer.sign(b"content"), b"content")
    assert (b"ENCRYPTED" in path.read_bytes()) == (passphrase is not None)


def test_a_private_key_is_for_its_owner_only(tmp_path: pathlib.Path) -> None:
    ring.generate(tmp_path / "keys" / "a.pem")
    assert (tmp_path / "keys" / "a.pem").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


def test_a_key_is_never_replaced(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.pem"
    ring.generate(path)
    before = path.read_bytes()
    with pytest.raises(KeyFileError, match="File exists"):
        ring.generate(path)
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.pem", "a.pub"]


def test_the_name_travels_with_the_public_key_but_not_in_its_id(tmp_path: pathlib.Path) -> None:
    ring.generate(tmp_path / "anna.pem")
    (tmp_path / "ben.pub").write_bytes((tmp_path / "anna.pub").read_bytes())
    anna, ben = ring.public(tmp_path / "anna.pem"), ring.public(tmp_path / "ben.pub")
    assert anna.unrecognized_fields[ring.NAME_FIELD] == "anna"
    assert anna.keyid == ben.keyid


def test_a_directory_stands_for_its_private_keys(tmp_path: pathlib.Path) -> None:
    for name in ("a", "b"):
        ring.generate(tmp_path / f"{name}.pem")
    (tmp_path / "only-public.pem").write_bytes((tmp_path / "a.pub").read_bytes())
    (tmp_path / "readme.txt").write_text("not a key")
    assert len(Ring.load([tmp_path]).signers) == 2


@pytest.mark.parametrize(("passphrase", "part"), [(None, "give its passphrase"), (b"wrong", "the passphrase is wrong")])
def test_an_encrypted_key_wants_its_passphrase(tmp_path: pathlib.Path, passphrase: bytes | None, part: str) -> None:
    ring.generate(tmp_path / "a.pem", passphrase=b"right")
    with pytest.raises(KeyFileError, match=part):
        Ring.load([tmp_path / "a.pem"], passphrase)


def test_a_passphrase_does_not_disturb_plain_keys(tmp_path: pathlib.Path) -> None:
    ring.generate(tmp_path / "a.pem")
    assert Ring.load([tmp_path / "a.pem"], b"for another").signers


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_damaged_key_is_named(tmp_path: pathlib.Path, content: bytes) -> None:
    path = tmp_path / "a.pem"
    path.write_bytes(content)
    for read in (lambda: Ring.load([path]), lambda: ring.public(path)):
        with pytest.raises(KeyFileError, match=r"a\.pem"):
            read()


def test_a_missing_key_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(KeyFileError, match="nowhere"):
        Ring.load([tmp_path / "nowhere.pem"])


@pytest.mark.parametrize("other", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())])
def test_a_kind_that_devices_cannot_check_is_refused(tmp_path: pathlib.Path, other: rsa.RSAPrivateKey) -> None:
    path = tmp_path / "a.pem"
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(other.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    with pytest.raises(KeyFileError, match="devices cannot check") as caught:
        Ring.load([path])
    assert caught.value.code == "UNSUPPORTED"
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    path.with_suffix(".pub").write_bytes(other.public_key().public_bytes(pem, spki))
    with pytest.raises(KeyFileError, match="devices cannot check"):
        ring.public(path)


def test_an_unknown_kind_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(KeyFileError, match="ecdsa, ed25519"):
        ring.generate(tmp_path / "a.pem", "rsa")
    assert not list(tmp_path.iterdir())


def test_the_passphrase_is_the_first_line_of_its_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "p"
    path.write_bytes(b"two words\nand more")
    assert ring.passphrase_from(path) == b"two words"
    path.write_bytes(b"\n")
    with pytest.raises(KeyFileError, match="is empty"):
        ring.passphrase_from(path)
