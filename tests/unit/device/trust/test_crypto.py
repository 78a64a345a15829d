# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures by each means a device may have: the library, and the openssl command old and new.

The edge cases are those of the Wycheproof project's vectors that matter here, made anew with openssl.
"""

from __future__ import annotations

import base64
import importlib.util
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base.errors import OtaError
from ansible_collections.fleet.ota.plugins.module_utils._device.system import command
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout
from ansible_collections.fleet.ota.plugins.module_utils._device.trust import Trust, crypto
from ansible_collections.fleet.ota.plugins.module_utils._device.trust.publickey import PublicKey, parse

from .. import oldssl
from ..signing import Key, Repository, openssl

CONTENT = b'{"a":"b"}'
KINDS = ["ecdsa", "ed25519", "rsa"]
ORDER_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ORDER_ED25519 = 2**252 + 27742317777372353535851937790883648493


#: Pythons that test what a bare device does have no `cryptography`; the controller's has it and tests that way too.
LIBRARY = ["cryptography"] if importlib.util.find_spec("cryptography") else []


@pytest.fixture(params=[*LIBRARY, "openssl", "openssl 1.1.1"])
def means(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the device has to check signatures with."""
    name = str(request.param)
    if name == "cryptography":
        monkeypatch.setattr(command, "PATH", "/nonexistent")
        return name

    def gone(*_arguments: object) -> t.NoReturn:
        raise ImportError("cryptography")

    monkeypatch.setattr(crypto, "_by_library", gone)
    if name == "openssl 1.1.1":
        try:
            monkeypatch.setattr(command, "PATH", "%s:%s" % (oldssl.folder(), command.PATH))
        except oldssl.NotHere as reason:
            pytest.skip(str(reason))
        assert command.run(["openssl", "version"]).out.startswith("OpenSSL 1.1.1")
    return name


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Key]:
    """One key of each kind."""
    folder = tmp_path_factory.mktemp("signing")
    return {kind: Key(folder, 1, kind) for kind in KINDS}


def known(key: t.Mapping[str, t.Any]) -> PublicKey:
    """A key that must be readable."""
    found = parse(key)
    assert found is not None
    return found


def public(text: str, kind: str = "ecdsa", scheme: str = "ecdsa-sha2-nistp256") -> dict[str, t.Any]:
    """A TUF key object."""
    return {"keytype": kind, "scheme": scheme, "keyval": {"public": text}}


def valid(key: Key, signature: bytes, content: bytes = CONTENT) -> bool:
    """Whether this device takes a signature."""
    return crypto.verify(known(key.public), signature, content)


def unable(means: str, kind: str) -> bool:
    """Ed25519 by command needs openssl 3."""
    return (means, kind) == ("openssl 1.1.1", "ed25519")


@pytest.mark.parametrize("kind", KINDS)
def test_good_and_bad(means: str, signing: dict[str, Key], kind: str) -> None:
    key = signing[kind]
    signature = bytes.fromhex(key.sign(CONTENT))
    if unable(means, kind):
        with pytest.raises(OtaError, match="ECDSA P-256") as caught:
            valid(key, signature)
        assert caught.value.code == "UNSUPPORTED"
        return
    assert valid(key, signature)
    assert not valid(key, signature, CONTENT + b" ")
    assert not valid(key, bytes.fromhex(key.sign(b"another")))
    for position in (0, 1, 5, len(signature) // 2, len(signature) - 1):
        changed = bytearray(signature)
        changed[position] ^= 1
        assert not valid(key, bytes(changed)), position
    for wrong in (b"", b"\0", signature[:-1], signature + b"\0", b"\0" + signature, signature * 2, b"\0" * 64):
        assert not valid(key, wrong), wrong.hex()


def test_a_long_text(means: str, signing: dict[str, Key]) -> None:
    content = b"x" * 2_000_000
    assert valid(signing["ecdsa"], bytes.fromhex(signing["ecdsa"].sign(content)), content)


def test_nothing_to_check_with(monkeypatch: pytest.MonkeyPatch, signing: dict[str, Key]) -> None:
    def gone(*_arguments: object) -> t.NoReturn:
        raise ImportError("cryptography")

    monkeypatch.setattr(crypto, "_by_library", gone)
    monkeypatch.setattr(command, "PATH", "/nonexistent")
    with pytest.raises(OtaError, match="install one of them") as caught:
        valid(signing["ecdsa"], b"0")
    assert caught.value.code == "UNSUPPORTED"


@pytest.mark.needs("cryptography")
def test_a_library_that_is_too_old_is_not_asked(monkeypatch: pytest.MonkeyPatch, signing: dict[str, Key]) -> None:
    """Before 37 it cannot check RSA-PSS with salts of any length; the command can."""
    from cryptography.hazmat.primitives.asymmetric import padding

    monkeypatch.delattr(padding.PSS, "AUTO")
    assert valid(signing["rsa"], bytes.fromhex(signing["rsa"].sign(CONTENT)))
    assert not valid(signing["rsa"], bytes.fromhex(signing["rsa"].sign(b"another")))


# -- ECDSA ---------------------------------------------------------------------------------------------------------


def der(*numbers: int, tail: bytes = b"", long_form: bool = False) -> bytes:
    """An ECDSA signature of two numbers."""
    body = b""
    for number in numbers:
        size = number.bit_length() // 8 + 1
        raw = number.to_bytes(size, "big", signed=True)
        body += b"\x02" + bytes([len(raw)]) + raw
    return b"\x30" + (b"\x81" if long_form else b"") + bytes([len(body)]) + body + tail


def numbers_of(signature: bytes) -> tuple[int, int]:
    """r and s."""
    length = signature[3]
    return int.from_bytes(signature[4 : 4 + length], "big"), int.from_bytes(signature[6 + length :], "big")


def test_ecdsa_signatures_have_one_form(means: str, signing: dict[str, Key]) -> None:
    key = signing["ecdsa"]
    signature = b""
    while len(signature) != 72:  # as long as it can be: openssl reads 72 bytes of what it is given, and no more
        signature = bytes.fromhex(key.sign(CONTENT))
    r, s = numbers_of(signature)
    assert valid(key, der(r, s))
    wrong = {
        "zeros": der(0, 0),
        "r zero": der(0, s),
        "s zero": der(r, 0),
        "r is n": der(ORDER_P256, s),
        "s is n": der(r, ORDER_P256),
        "r + n": der(r + ORDER_P256, s),
        "s + n": der(r, s + ORDER_P256),
        "r negative": der(-r, s),
        "r - n": der(r - ORDER_P256, s),
        "ones": der(1, 1),
        "swapped": der(s, r),
        "a byte follows": der(r, s, tail=b"\0"),
        "many bytes follow": der(r, s, tail=b"\0" * 256),
        "long length": der(r, s, long_form=True),
        "three numbers": der(r, s, s),
        "one number": der(r),
        "raw": r.to_bytes(32, "big") + s.to_bytes(32, "big"),
    }
    assert [name for name, signature in wrong.items() if valid(key, signature)] == []


def test_ecdsa_with_another_digest(means: str, signing: dict[str, Key]) -> None:
    key = signing["ecdsa"]
    assert not valid(key, bytes.fromhex(key.sign(CONTENT, digest="sha512")))
    assert not valid(key, bytes.fromhex(key.sign(CONTENT, digest="sha1")))


@pytest.mark.parametrize("curve", ["P-384", "P-521", "secp256k1", "P-224"])
def test_only_p256(tmp_path: Path, curve: str) -> None:
    private = str(tmp_path / "key.pem")
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:" + curve, "-out", private)
    assert parse(public(openssl("pkey", "-in", private, "-pubout").decode())) is None


def test_a_curve_that_is_written_out_is_refused(signing: dict[str, Key]) -> None:
    """CVE-2020-0601: explicit parameters could be another curve with the same public point."""
    arguments = ["-in", str(signing["ecdsa"].private), "-pubout", "-param_enc", "explicit"]
    assert parse(public(openssl("ec", *arguments).decode())) is None


def test_a_compressed_point_is_the_same_key(means: str, signing: dict[str, Key]) -> None:
    arguments = ["-in", str(signing["ecdsa"].private), "-pubout", "-conv_form", "compressed"]
    key = known(public(openssl("ec", *arguments).decode()))
    whole = known(signing["ecdsa"].public)
    assert key.value == whole.value and key.pem != whole.pem
    assert crypto.verify(key, bytes.fromhex(signing["ecdsa"].sign(CONTENT)), CONTENT)


def test_a_hybrid_point_is_refused(signing: dict[str, Key]) -> None:
    arguments = ["-in", str(signing["ecdsa"].private), "-pubout", "-conv_form", "hybrid"]
    assert parse(public(openssl("ec", *arguments).decode())) is None


def test_a_point_that_is_not_on_the_curve(means: str, signing: dict[str, Key]) -> None:
    raw = bytearray(decoded(signing["ecdsa"]))
    raw[-1] ^= 2
    key = known(public(pem(bytes(raw))))
    assert not crypto.verify(key, bytes.fromhex(signing["ecdsa"].sign(CONTENT)), CONTENT)


# -- RSA -----------------------------------------------------------------------------------------------------------


def test_rsa_pss_takes_any_salt_and_no_byte_more(means: str, signing: dict[str, Key]) -> None:
    key = signing["rsa"]
    for salt in ("0", "20", "32", "max"):
        options = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:" + salt]
        signature = bytes.fromhex(key.sign(CONTENT, options))
        assert valid(key, signature), salt
        assert not valid(key, signature + b"\0"), salt
        assert not valid(key, b"\0" + signature), salt


def test_rsa_by_other_paddings_and_digests(means: str, signing: dict[str, Key]) -> None:
    key = signing["rsa"]
    assert not valid(key, bytes.fromhex(key.sign(CONTENT, ())))
    assert not valid(key, bytes.fromhex(key.sign(CONTENT, digest="sha512")))
    mask = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_mgf1_md:sha1"]
    assert not valid(key, bytes.fromhex(key.sign(CONTENT, mask)))


@pytest.mark.parametrize(("bits", "good"), [(1024, False), (2047, False), (2048, True), (3072, True)])
def test_rsa_sizes(tmp_path: Path, bits: int, good: bool) -> None:
    private = str(tmp_path / "key.pem")
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:%d" % bits, "-out", private)
    key = parse(public(openssl("pkey", "-in", private, "-pubout").decode(), "rsa", "rsassa-pss-sha256"))
    assert (key is not None) is good
    assert key is None or key.size == bits // 8


# -- Ed25519 -------------------------------------------------------------------------------------------------------


def test_ed25519_signatures_have_one_form(means: str, signing: dict[str, Key]) -> None:
    if unable(means, "ed25519"):
        return  # refused whatever it is, see test_good_and_bad
    key = signing["ed25519"]
    signature = bytes.fromhex(key.sign(CONTENT))
    s = int.from_bytes(signature[32:], "little")
    assert not valid(key, signature[:32] + (s + ORDER_ED25519).to_bytes(32, "little"))
    for length in (0, 32, 63, 65, 128):
        assert not valid(key, (signature * 2)[:length])


# -- one key has one value -----------------------------------------------------------------------------------------


def decoded(key: Key) -> bytes:
    """The DER of a key in PEM."""
    lines = key.public["keyval"]["public"].split("\n")  # type: ignore[index]
    return base64.b64decode("".join(line for line in lines if not line.startswith("-")))


def der_of(text: str) -> bytes:
    """What :func:`pem` wrote."""
    return base64.b64decode(text.split("\n")[1])


def pem(raw: bytes) -> str:
    """DER in PEM, on one line."""
    return "-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----" % base64.b64encode(raw).decode()


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_white_space_makes_no_other_key(signing: dict[str, Key], kind: str) -> None:
    key = signing[kind].public
    text = t.cast("dict[str, str]", key["keyval"])["public"]
    for other in (text.strip(), text.replace("\n", "\r\n"), "\n" + text + "\n\n", pem(decoded(signing[kind]))):
        again = known({**key, "keyval": {"public": other}})
        assert again == known(key)


def test_case_makes_no_other_key(signing: dict[str, Key]) -> None:
    key = signing["ed25519"].public
    text = t.cast("dict[str, str]", key["keyval"])["public"]
    assert known({**key, "keyval": {"public": text.upper()}}) == known(key)
    for wrong in (text[:-2], text + "00", "0x" + text, text + "zz", ""):
        assert parse({**key, "keyval": {"public": wrong}}) is None


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_other_ways_to_write_a_key_are_refused(signing: dict[str, Key], kind: str) -> None:
    raw, scheme = decoded(signing[kind]), str(signing[kind].public["scheme"])
    wrong = [raw + b"\0", raw[:-1], b"\0" + raw, b"", b"\x30\x80" + raw[2:] + b"\0\0", raw[:1] + b"\x83\0" + raw[2:]]
    assert [text for text in map(pem, wrong) if parse(public(text, kind, scheme)) is not None] == []
    text = pem(raw)
    for other in (text.replace("PUBLIC", "RSA PUBLIC"), text + text, "x" + text, text[:-1], raw.hex()):
        assert parse(public(other, kind, scheme)) is None, other


def tlv(tag: int, *parts: bytes) -> bytes:
    """A DER value."""
    body = b"".join(parts)
    size = len(body)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big") if size > 255 else bytes([0x81, size])
    return bytes([tag]) + length + body


def number(value: int, pad: bytes = b"") -> bytes:
    """A DER number, with ``pad`` before it."""
    return tlv(2, pad, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def rsa(n: bytes, e: bytes, *, kind: bytes = bytes.fromhex("300d06092a864886f70d0101010500"), **tails: bytes) -> str:
    """An RSA key in PEM of two DER numbers; ``inner``, ``bits`` and ``outer`` follow at their level."""
    inner = tlv(0x30, n, e, tails.get("inner", b"")) + tails.get("bits", b"")
    return pem(tlv(0x30, kind, tlv(3, tails.get("unused", b"\0"), inner), tails.get("outer", b"")))


def test_rsa_keys_are_written_in_one_way(signing: dict[str, Key]) -> None:
    value = known(signing["rsa"].public).value[1].split(":")
    n, e = (int(text, 16) for text in value)

    def readable(text: str) -> bool:
        return parse(public(text, "rsa", "rsassa-pss-sha256")) is not None

    assert readable(rsa(number(n), number(e)))
    assert readable(rsa(number(n), number(3)))
    pss = tlv(0x30, bytes.fromhex("06092a864886f70d01010a"))
    negative = b"\x02\x82\x01\x00" + n.to_bytes(256, "big")
    wrong = {
        "a zero before n": rsa(number(n, b"\0"), number(e)),
        "a zero before e": rsa(number(n), number(e, b"\0")),
        "n negative": rsa(negative, number(e)),
        "n even": rsa(number(n + 1), number(e)),
        "e even": rsa(number(n), number(e + 1)),
        "e one": rsa(number(n), number(1)),
        "e empty": rsa(number(n), b"\x02\x00"),
        "too long": rsa(number(2**8192 + 1), number(e)),
        "inner": rsa(number(n), number(e), inner=b"\0"),
        "bits": rsa(number(n), number(e), bits=b"\0"),
        "outer": rsa(number(n), number(e), outer=b"\0"),
        "unused bits": rsa(number(n), number(e), unused=b"\1"),
        "for PSS alone": rsa(number(n), number(e), kind=pss),
        "a signature's name": rsa(number(n), number(e), kind=bytes.fromhex("300d06092a864886f70d01010b0500")),
        "cut": pem(der_of(rsa(number(n), number(0x010101)))[:-1]),
        "a length too long": rsa(b"\x02\x83\x00\x01\x01" + number(n)[4:], number(e)),
        "a short length written long": rsa(number(n), b"\x02\x81\x03\x01\x00\x01"),
        "a length of no bytes": rsa(b"\x02\x80" + number(n)[4:], number(e)),
        "a length past the end": rsa(b"\x02\x82\xff\xff" + number(n)[4:], number(e)),
    }
    assert [name for name, text in wrong.items() if readable(text)] == []
    assert readable(rsa(number(2**8191 + 1), number(e)))


@pytest.mark.parametrize("key", [{}, {"keytype": "x", "scheme": "y"}, {"keytype": "rsa", "scheme": "ed25519"}])
def test_kinds_that_are_not_known(key: dict[str, t.Any]) -> None:
    with pytest.raises(OtaError) as caught:
        parse({**key, "keyval": {"public": "00" * 32}})
    assert caught.value.code == "UNSUPPORTED"


# -- all of it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_bundle(means: str, tmp_path: Path, kind: str) -> None:
    repository = Repository([Key(tmp_path, number, kind) for number in range(6)])
    repository.publish({"name": "app", "version": "1"})
    layout = Layout(str(tmp_path / "device"))
    layout.prepare()
    Path(layout.file("trust", "root.json")).write_text(repository.root())
    if (means, kind) == ("openssl 1.1.1", "ed25519"):
        with pytest.raises(OtaError, match="openssl 3") as caught:
            Trust(layout).accept(repository.bundle())
        assert caught.value.code == "UNSUPPORTED"
        return
    assert Trust(layout).accept(repository.bundle()).content == repository.release
    foreign = repository.bundle(roles={"stable": repository.bundle()["targets"]})
    with pytest.raises(OtaError):
        Trust(layout).accept(foreign)


def test_a_key_that_cannot_be_checked_breaks_no_role_that_has_enough_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, keys: list[Key]
) -> None:
    """Two of three, one of them Ed25519, on a device with openssl 1.1.1."""
    monkeypatch.setattr(crypto, "_by_library", raising(ImportError("cryptography")))
    monkeypatch.setattr(crypto, "_edwards", raising(OtaError("UNSUPPORTED", "openssl 3 is needed")))
    repository = Repository(keys)
    odd = Key(tmp_path, 9, "ed25519")
    layout = Layout(str(tmp_path / "device"))
    layout.prepare()
    Path(layout.file("trust", "root.json")).write_text(repository.root())
    repository.signers["delegated"] = [odd, keys[3], keys[4]]
    repository.publish({"name": "app", "version": "1"})
    assert Trust(layout).accept(repository.bundle()).threshold == "2 of 3"
    repository.signers["delegated"] = [odd, keys[3]]
    repository.publish({"name": "app", "version": "2"})
    with pytest.raises(OtaError, match="openssl 3 is needed") as caught:
        Trust(layout).accept(repository.bundle())
    assert caught.value.code == "UNSUPPORTED"


def raising(error: Exception) -> t.Callable[..., t.NoReturn]:
    """A function that raises ``error``."""

    def function(*_arguments: object) -> t.NoReturn:
        raise error

    return function
