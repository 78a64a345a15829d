# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys behind URIs: a real SSH agent, a real PKCS#11 token (SoftHSM2), and how cloud services are reached."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.trust import crypto, publickey
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import KeyFileError, RepositoryError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.keys import ring as keys
from ansible_collections.fleet.ota.plugins.plugin_utils._control.keys import ssh_agent as agent
from ansible_collections.fleet.ota.plugins.plugin_utils._control.keys import uris
from ansible_collections.fleet.ota.plugins.plugin_utils._control.keys.ring import Ring
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.metadata.edit import Holders
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, AWSSigner, AzureSigner, GCPSigner, SSlibKey

from tests.lab import host

if t.TYPE_CHECKING:
    from ..conftest import Site

ONLINE = ("snapshot", "timestamp")


def accepted_by_a_device(key: t.Any, signature: str, content: bytes) -> bool:
    """The device's own verifier, with what `openssl` or `cryptography` it has."""
    parsed = publickey.parse(key.to_dict())
    return parsed is not None and crypto.verify(parsed, bytes.fromhex(signature), content)


# -- SSH agents -------------------------------------------------------------------------------------------------


class Agent:
    """An ssh-agent of this test's own."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.socket = folder / "agent"
        # in the foreground: it ends when this process ends it, by its own id
        self.process = subprocess.Popen(["ssh-agent", "-D", "-a", str(self.socket)], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.process.stdout.readline()  # it says where it listens, when it does

    def add(self, name: str, *kind: str) -> pathlib.Path:
        """Make a key and add it; only its public half stays on disk."""
        path = self.folder / name
        subprocess.run(["ssh-keygen", "-q", "-N", "", "-C", name, "-f", path, "-t", *kind], check=True)
        self.call("ssh-add", "-q", str(path))
        path.unlink()
        return path.with_suffix(".pub")

    def call(self, *command: str) -> str:
        environment = {**os.environ, "SSH_AUTH_SOCK": str(self.socket)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture
def ssh_agent(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Agent]:
    if shutil.which("ssh-agent") is None:
        pytest.skip("ssh-agent is not installed")
    started = Agent(tmp_path_factory.mktemp("a"))  # short: a socket's path has 108 bytes at most
    monkeypatch.setenv("SSH_AUTH_SOCK", str(started.socket))
    yield started
    started.stop()


KINDS = [("ecdsa", "-b", "256"), ("ed25519",)]


@pytest.mark.parametrize("kind", KINDS, ids=["ecdsa", "ed25519"])
def test_a_key_of_an_agent_signs_what_devices_accept(ssh_agent: Agent, kind: tuple[str, ...]) -> None:
    path = ssh_agent.add("anna", *kind)
    (signer,) = Ring.load(["ssh-agent:"]).signers.values()
    listed = keys.public(path)
    assert listed.keyid == signer.public_key.keyid
    for number in range(20):  # DER has a length that depends on the value
        content = b"content %d" % number
        signature = signer.sign(content)
        listed.verify_signature(signature, content)
        if number < 3:
            assert accepted_by_a_device(listed, signature.signature, content)
            assert not accepted_by_a_device(listed, signature.signature, content + b".")


def test_a_fingerprint_names_one_of_several_keys(ssh_agent: Agent) -> None:
    paths = [ssh_agent.add(name, *kind) for name, kind in zip(("anna", "ben"), KINDS, strict=True)]
    ssh_agent.add("old", "rsa", "-b", "2048")
    assert len(Ring.load(["ssh-agent:"]).signers) == 2
    for line in ssh_agent.call("ssh-add", "-l").splitlines():
        _bits, fingerprint, name, _kind = line.split()
        if name == "old":
            with pytest.raises(KeyFileError, match="devices cannot check ssh-rsa"):
                Ring.load([f"ssh-agent:{fingerprint}"])
            continue
        (path,) = [path for path in paths if path.stem == name]
        assert list(Ring.load([f"ssh-agent:{fingerprint}"]).signers) == [keys.public(path).keyid]
        told = keys.public(f"ssh-agent:{fingerprint}")
        assert (told.keyid, told.unrecognized_fields[keys.NAME_FIELD]) == (keys.public(path).keyid, name)


def test_people_sign_a_release_with_the_keys_they_have(site: Site, ssh_agent: Agent) -> None:
    """Only public halves are in the folder; the device's verifier takes part in the fetch tests."""
    people = [ssh_agent.add(name, *kind) for name, kind in zip(("anna", "ben"), KINDS, strict=True)]
    for path in people:
        shutil.copy(path, site.folder / "keys")
    both = Holders(tuple(keys.public(site.folder / "keys" / path.name) for path in people), 2)
    ring = Ring.load([site.folder / "keys", "ssh-agent:"])
    site.repository().ensure(site.config(roles={}, channels={"stable": both}), ring)
    site.repository().publish("stable", site.document(), ring)
    assert site.fetch().version == "1.0"
    assert set(site.repository().store.load().channels["stable"].signatures) == {
        keys.public(path).keyid for path in people
    }


def test_a_key_that_the_agent_lost_is_named(ssh_agent: Agent) -> None:
    path = ssh_agent.add("anna", *KINDS[0])
    (signer,) = Ring.load(["ssh-agent:"]).signers.values()
    ssh_agent.call("ssh-add", "-q", "-d", str(path))
    with pytest.raises(KeyFileError, match="no longer holds anna"):
        signer.sign(b"content")
    with pytest.raises(KeyFileError, match="holds no such key"):
        Ring.load(["ssh-agent:"])


def test_no_agent_and_a_dead_agent_are_told(ssh_agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh_agent.stop()
    with pytest.raises(KeyFileError, match=r"does not answer|holds no such key"):
        Ring.load(["ssh-agent:"])
    monkeypatch.delenv("SSH_AUTH_SOCK")
    with pytest.raises(KeyFileError, match="no SSH agent here"):
        Ring.load(["ssh-agent:"])


def test_a_locked_agent_does_not_sign(ssh_agent: Agent) -> None:
    path = ssh_agent.add("anna", *KINDS[1])
    ssh_agent.call("ssh-add", "-q", "-d", str(path))
    other = ssh_agent.folder / "confirm"
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-f", other, "-t", "ed25519"], check=True)
    ssh_agent.call("ssh-add", "-q", "-c", str(other))  # asks before it signs, and there is nobody to ask
    (signer,) = Ring.load(["ssh-agent:"]).signers.values()
    with pytest.raises(KeyFileError, match="did not sign"):
        signer.sign(b"content")


def test_a_folder_may_name_keys_that_are_somewhere_else(site: Site, ssh_agent: Agent) -> None:
    """`ben.uri` names a key of an agent that this machine does not have: whoever needs it is told."""
    path = ssh_agent.add("anna", *KINDS[0])
    folder = site.folder / "keys"
    shutil.copy(path, folder)
    for name in ("anna", "ben"):
        (folder / f"{name}.uri").write_text("ssh-agent:\n")
    keys.generate(site.folder / "elsewhere" / "ben.pem")
    shutil.copy(site.folder / "elsewhere" / "ben.pub", folder)
    ring = Ring.load([folder])
    assert list(ring.absent) == ["ben"]
    assert keys.public(folder / "anna.uri").keyid in ring.signers
    both = keys.public(folder / "anna.pub"), keys.public(folder / "ben.pub")
    assert len({key.keyid for key in both}) == 2
    holders = Holders(both, 2)
    with pytest.raises(RepositoryError, match=r"ben is not at hand: ssh-agent:: the SSH agent does not hold that key"):
        site.repository().ensure(site.config(roles={}, channels={"stable": holders}), ring)


def test_agent_keys_want_paramiko(ssh_agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paramiko", None)
    with pytest.raises(KeyFileError, match="pip install paramiko"):
        Ring.load(["ssh-agent:"])


@pytest.mark.parametrize("answer", [b"", b"\0\0\0\1x", b"\0\0\0\7ssh-rsa\0\0\0\0", b"\0\0\0\x0bssh-ed25519\0\0\0\1x"])
def test_a_strange_answer_is_no_signature(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut short|came back"):
        agent._unwrapped(answer)


# -- PKCS#11 ----------------------------------------------------------------------------------------------------

PIN = "734652"
MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib*/softhsm/libsofthsm2.so", "/usr/lib/*/softhsm/libsofthsm2.so")


def _module() -> pathlib.Path | None:
    found = [path for pattern in MODULES for path in sorted(pathlib.Path("/").glob(pattern.lstrip("/")))]
    return found[0] if found and shutil.which("softhsm2-util") else None


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[str]:
    """The label of a SoftHSM2 token with an ECDSA P-256 key of id 7 and a P-384 key of id 8."""
    pkcs11 = pytest.importorskip("pkcs11")
    if _module() is None:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            pytest.skip("softhsm2 is not installed, and without root and apt-get it cannot be")
        host.install(["softhsm2"])
    module, folder = _module(), tmp_path_factory.mktemp("hsm")
    assert module is not None
    (folder / "tokens").mkdir()
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(config))
        patch.setenv("PYKCS11LIB", str(module))
        init = ["softhsm2-util", "--init-token", "--free", "--label", "ota signer", "--pin", PIN, "--so-pin", PIN]
        subprocess.run(init, check=True, capture_output=True)
        library = pkcs11.lib(str(module))
        with library.get_token(token_label="ota signer").open(rw=True, user_pin=PIN) as session:
            for number, curve in ((7, "secp256r1"), (8, "secp384r1")):
                parameters = session.create_domain_parameters(
                    pkcs11.KeyType.EC,
                    {pkcs11.Attribute.EC_PARAMS: pkcs11.util.ec.encode_named_curve_parameters(curve)},
                    local=True,
                )
                parameters.generate_keypair(store=True, id=bytes([number]), label=curve)
        yield "ota signer"


def test_a_token_signs_what_devices_accept(token: str) -> None:
    (signer,) = Ring.load(["hsm:7?label=ota+signer"], pin=PIN.encode()).signers.values()
    signature = signer.sign(b"content")
    signer.public_key.verify_signature(signature, b"content")
    assert accepted_by_a_device(signer.public_key, signature.signature, b"content")


def test_a_release_is_signed_by_a_token(site: Site, token: str) -> None:
    folder = site.folder / "keys"
    (folder / "release.uri").write_text("hsm:7?label=ota+signer\n")
    held = keys.public(folder / "release.uri", pin=PIN.encode())
    assert held.unrecognized_fields[keys.NAME_FIELD] == "release"
    ring = Ring.load([folder], pin=PIN.encode())
    holders = Holders((held,), 1)
    site.repository().ensure(site.config(roles={}, channels={"stable": holders}), ring)
    site.repository().publish("stable", site.document(), ring)
    assert site.fetch().version == "1.0"


@pytest.mark.parametrize(
    ("uri", "pin", "part"),
    [
        ("hsm:9?label=ota+signer", PIN, "could not find"),
        ("hsm:7?label=other", PIN, "No PKCS#11 token found"),
        ("hsm:x", PIN, "cannot be used"),
        ("hsm:8?label=ota+signer", PIN, "devices cannot check"),
    ],
)
def test_what_the_token_does_not_have_is_told(token: str, uri: str, pin: str, part: str) -> None:
    with pytest.raises(KeyFileError, match=part):
        Ring.load([uri], pin=pin.encode())


@pytest.mark.parametrize("pin", [None, b"000000"])
def test_a_token_wants_its_pin_and_never_tells_it(site: Site, token: str, pin: bytes | None) -> None:
    (signer,) = Ring.load(["hsm:7?label=ota+signer"], pin=pin).signers.values()
    holders = Holders((signer.public_key,), 1)
    ring = Ring({**site.ring().signers, signer.public_key.keyid: signer})
    with pytest.raises(KeyFileError) as caught:
        site.repository().ensure(site.config(roles={}, channels={"stable": holders}), ring)
    assert "000000" not in str(caught.value)


def test_a_public_key_file_that_is_not_the_tokens_is_refused(site: Site, token: str) -> None:
    folder = site.folder / "keys"
    (folder / "stable.uri").write_text("hsm:7?label=ota+signer\n")  # stable.pub is of another key
    with pytest.raises(KeyFileError, match="not the one of its public key file"):
        Ring.load([folder / "stable.uri"], pin=PIN.encode())


def test_a_token_wants_its_module(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYKCS11LIB")
    with pytest.raises(KeyFileError, match="PYKCS11LIB"):
        Ring.load(["hsm:7"], pin=PIN.encode())


def test_secrets_are_not_in_what_is_printed() -> None:
    assert "words" not in repr(uris.Secrets(b"secret words", b"secret words"))


# -- the rest ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "kind"), [("awskms", AWSSigner), ("gcpkms", GCPSigner), ("azurekms", AzureSigner)])
def test_a_cloud_service_without_its_library_names_what_to_install(
    site: Site, monkeypatch: pytest.MonkeyPatch, scheme: str, kind: type
) -> None:
    assert SIGNER_FOR_URI_SCHEME[scheme] is kind
    module = sys.modules[kind.__module__]
    monkeypatch.setattr(module, f"{scheme.removesuffix('kms').upper()}_IMPORT_ERROR", "its library is missing")
    path = site.folder / "keys" / "cloud.uri"
    path.write_text(f"{scheme}:projects/p/keys/k\n")
    with pytest.raises(KeyFileError, match="its public half is needed"):
        Ring.load([path])
    shutil.copy(site.folder / "keys" / "stable.pub", path.with_suffix(".pub"))
    with pytest.raises(KeyFileError, match=rf"its library is missing.*securesystemslib\[{scheme}\]") as caught:
        Ring.load([path])
    assert caught.value.code == "UNSUPPORTED"


def test_a_cloud_service_gets_its_uri_and_public_key(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for Amazon's signer: nothing here reaches the service."""
    asked = []

    class StandIn(AWSSigner):
        def __init__(self, aws_key_id: str, public_key: SSlibKey) -> None:
            asked.append((aws_key_id, public_key))
            self._public_key = public_key

    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "awskms", StandIn)
    path = site.folder / "keys" / "cloud.uri"
    path.write_text("awskms:alias/ota\n")
    shutil.copy(site.folder / "keys" / "stable.pub", path.with_suffix(".pub"))
    (signer,) = Ring.load([path]).signers.values()
    assert isinstance(signer, StandIn)
    assert [(name, key.keyid) for name, key in asked] == [("alias/ota", keys.public(site.key("stable")).keyid)]


def test_a_file_uri_is_a_path(tmp_path: pathlib.Path) -> None:
    keys.generate(tmp_path / "a.pem", passphrase=b"secret words")
    uri = f"file:{tmp_path}/a.pem"
    (signer,) = Ring.load([uri], b"secret words").signers.values()
    assert keys.public(uri).keyid == signer.public_key.keyid
    with pytest.raises(KeyFileError, match="encrypted"):
        Ring.load([uri])


@pytest.mark.parametrize("uri", ["vault:x", "https://x", "gnupg:x"])
def test_an_unknown_scheme_is_refused(uri: str) -> None:
    with pytest.raises(KeyFileError, match="keys are named by a path or by file, hsm, ssh-agent"):
        Ring.load([uri])


@pytest.mark.parametrize("content", ["", "no uri\n", "ssh-agent\n"])
def test_a_uri_file_holds_a_uri(tmp_path: pathlib.Path, content: str) -> None:
    (tmp_path / "a.uri").write_text(content)
    with pytest.raises(KeyFileError, match=r"is empty|is not the URI"):
        Ring.load([tmp_path / "a.uri"])


@pytest.mark.parametrize("kind", [("rsa", "-b", "2048"), ("ecdsa", "-b", "384")])
def test_openssh_keys_that_devices_cannot_check_are_refused(tmp_path: pathlib.Path, kind: tuple[str, ...]) -> None:
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-f", tmp_path / "a", "-t", *kind], check=True)
    with pytest.raises(KeyFileError, match="devices cannot check"):
        keys.public(tmp_path / "a.pub")
    with pytest.raises(KeyFileError, match="ssh-add it"):
        Ring.load([tmp_path / "a"])
