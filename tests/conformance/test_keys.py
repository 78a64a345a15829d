# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Thresholds, key ids, kinds of keys."""

from __future__ import annotations

import typing as t

import pytest
from securesystemslib.signer import CryptoSigner

from .conftest import Client
from .simulator import Simulator


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
@pytest.mark.parametrize(("keys", "threshold", "good"), [(3, 3, True), (3, 2, True), (2, 3, False), (1, 2, False)])
def test_threshold(ready: Client, repository: Simulator, role: str, keys: int, threshold: int, good: bool) -> None:
    for _number in range(keys - 1):
        repository.add_key(role)
    repository.root.roles[role].threshold = threshold
    repository.publish("root", "targets")
    assert ready.refresh() == (0 if good else 1)
    assert ready.version("root") == 2
    assert (ready.version(role) == 2) is good


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
@pytest.mark.parametrize(
    ("keys", "threshold", "signers", "good"),
    [("2", 1, "2", True), ("2", 1, "1", False), ("23", 2, "23", True), ("23", 2, "2", False), ("12", 1, "1", True)],
)
def test_other_keys_for_a_role(
    ready: Client, repository: Simulator, role: str, keys: str, threshold: int, signers: str, good: bool
) -> None:
    known = {"1": repository.signers[role][0], "2": CryptoSigner.generate_ecdsa(), "3": CryptoSigner.generate_ecdsa()}
    repository.drop_keys(role)
    for name in keys:
        repository.add_key(role, known[name], signs=False)
    repository.signers[role] = [known[name] for name in signers]
    repository.root.roles[role].threshold = threshold
    repository.publish("root", "targets")
    assert ready.refresh() == (0 if good else 1)


def test_one_signature_twice_is_no_second(ready: Client, repository: Simulator) -> None:
    repository.add_key("snapshot", signs=False)
    repository.root.roles["snapshot"].threshold = 2
    repository.publish("root", "snapshot")
    repository.bend("snapshot", lambda whole: whole["signatures"].append(whole["signatures"][0]), sign=False)
    assert ready.refresh() == 1


def test_two_signatures_of_one_key_are_one(ready: Client, repository: Simulator) -> None:
    """ECDSA signs differently each time."""
    signer = repository.signers["snapshot"][0]
    repository.root.roles["snapshot"].threshold = 2
    repository.add_key("snapshot", signs=False)
    repository.publish("root", "snapshot")

    def again(whole: dict[str, t.Any]) -> None:
        from .simulator import canonical

        signature = signer.sign(canonical(whole["signed"])).signature
        whole["signatures"].append({"keyid": signer.public_key.keyid, "sig": signature})

    repository.bend("snapshot", again, sign=False)
    assert ready.refresh() == 1


def test_one_key_under_two_ids_is_one(ready: Client, repository: Simulator) -> None:
    """python-tuf counts key ids. Only who signs root can make that so; a device counts what was signed with."""
    repository.alias("snapshot", repository.signers["snapshot"][0], "another-id")
    repository.root.roles["snapshot"].threshold = 2
    repository.publish("root", "snapshot")
    assert ready.refresh() == (1 if ready.kind == "device" else 0)


def test_many_ids_of_one_key_and_one_more(ready: Client, repository: Simulator) -> None:
    signer = repository.signers["snapshot"][0]
    for number in range(3):
        repository.alias("snapshot", signer, f"id-{number}")
    repository.add_key("snapshot")
    repository.root.roles["snapshot"].threshold = 2
    repository.publish("root", "snapshot")
    assert ready.refresh() == 0


def test_an_id_that_is_no_hash_of_the_key_is_fine(ready: Client, repository: Simulator) -> None:
    """The specification leaves the form of key ids open since 1.0.19."""
    signer = repository.signers["snapshot"][0]
    repository.drop_keys("snapshot")
    repository.alias("snapshot", signer, "some id")
    repository.publish("root", "snapshot")
    assert ready.refresh() == 0


def test_a_role_may_name_a_key_that_is_not_there(ready: Client, repository: Simulator) -> None:
    repository.root.roles["snapshot"].keyids.append("nobody")
    repository.publish("root", "snapshot")
    assert ready.refresh() == 0
    repository.root.roles["snapshot"].threshold = 2
    repository.publish("root", "snapshot")
    sign = [{"keyid": "nobody", "sig": "00"}]
    repository.bend("snapshot", lambda whole: whole["signatures"].extend(sign), sign=False)
    assert ready.refresh() == 1


def test_a_key_of_root_is_not_one_of_every_role(ready: Client, repository: Simulator) -> None:
    repository.signers["snapshot"] = repository.signers["root"]
    repository.publish("snapshot")
    assert ready.refresh() == 1


def test_unknown_members_of_a_key_change_nothing(ready: Client, repository: Simulator) -> None:
    for key in repository.root.keys.values():
        key.unrecognized_fields["keyid_hash_algorithms"] = ["md5"]
    repository.publish("root", "snapshot")
    assert ready.refresh() == 0


KINDS: dict[str, t.Callable[[], CryptoSigner]] = {
    "ed25519": CryptoSigner.generate_ed25519,
    "rsa": CryptoSigner.generate_rsa,
    "ecdsa": CryptoSigner.generate_ecdsa,
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_keys(ready: Client, repository: Simulator, kind: str) -> None:
    for role in ("timestamp", "snapshot", "targets"):
        repository.drop_keys(role)
        repository.add_key(role, KINDS[kind]())
    repository.publish("root", "targets")
    assert ready.refresh() == 0
    repository.signers["targets"] = [KINDS[kind]()]
    repository.publish("targets")
    assert ready.refresh() == 1


def test_the_long_name_of_ecdsa(ready: Client, repository: Simulator) -> None:
    """Older metadata calls the key type as the scheme is called."""
    signer = repository.signers["snapshot"][0]
    signer.public_key.keytype = "ecdsa-sha2-nistp256"
    repository.publish("root", "snapshot")
    assert ready.refresh() == 0


@pytest.mark.parametrize("scheme", ["rsassa-pss-sha512", "rsa-pkcs1v15-sha256"])
def test_schemes_that_only_python_tuf_knows(ready: Client, repository: Simulator, scheme: str) -> None:
    repository.drop_keys("snapshot")
    repository.add_key("snapshot", CryptoSigner.generate_rsa(scheme=scheme))
    repository.publish("root", "snapshot")
    assert ready.refresh() == (1 if ready.kind == "device" else 0)


def test_a_key_of_a_kind_that_is_not_known_does_no_harm(ready: Client, repository: Simulator) -> None:
    """Where the other keys are enough. python-tuf refuses such a root as a whole."""
    public = {"keytype": "ed448", "scheme": "ed448", "keyval": {"public": "00"}}
    signer = repository.signers["snapshot"][0]

    def add(signed: dict[str, t.Any]) -> None:
        signed["keys"]["odd"] = public
        signed["roles"]["snapshot"]["keyids"].insert(0, "odd")

    repository.root.version += 1
    repository.bend("root", add)
    repository.publish("snapshot")
    sign = [{"keyid": "odd", "sig": "00"}]
    repository.bend("snapshot", lambda whole: whole["signatures"].extend(sign), sign=False)
    assert signer in repository.signers["snapshot"]
    assert ready.refresh() == (0 if ready.kind == "device" else 1)


@pytest.mark.parametrize(
    "change",
    [
        {"keytype": 7},
        {"keyval": {}},
        {"keyval": []},
        {"keyval": {"public": 7}},
        {"keyval": {"public": ""}},
        {"keyval": {"public": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"}},
        {"scheme": "ed25519"},
    ],
)
def test_a_malformed_key_signs_nothing(ready: Client, repository: Simulator, change: dict[str, t.Any]) -> None:
    def bend(signed: dict[str, t.Any]) -> None:
        signed["keys"][keyid].update(change)

    keyid = repository.signers["snapshot"][0].public_key.keyid
    repository.root.version += 1
    repository.bend("root", bend)
    repository.publish("snapshot")
    assert ready.refresh() == 1
