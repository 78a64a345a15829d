# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a device refuses, and that it touches nothing then. Names follow the attacks of the TUF specification."""

from __future__ import annotations

import json
import typing as t

import pytest

from ..conftest import Device, Publisher
from ..signing import Key, Repository, past

pytestmark = pytest.mark.one_python

Bend = t.Callable[[Repository, t.Dict[str, t.Any]], t.Optional[t.Dict[str, t.Any]]]


def swap(name: str, change: t.Callable[[dict[str, t.Any]], None]) -> Bend:
    """Change the parsed metadata of one role after it was signed."""

    def bend(repository: Repository, bundle: dict[str, t.Any]) -> dict[str, t.Any]:
        holder = bundle["roles"] if name in bundle["roles"] else bundle
        metadata = json.loads(holder[name])
        change(metadata)
        changed = {**holder, name: json.dumps(metadata)}
        return {**bundle, "roles": changed} if holder is bundle["roles"] else changed

    return bend


def signed(**changes: t.Any) -> t.Callable[[dict[str, t.Any]], None]:
    """Overwrite members of ``signed``."""
    return lambda metadata: metadata["signed"].update(changes)


def without_signature(number: int) -> t.Callable[[dict[str, t.Any]], None]:
    """Drop all signatures but ``number`` of them."""
    return lambda metadata: metadata.update(signatures=metadata["signatures"][:number])


def twice(metadata: dict[str, t.Any]) -> None:
    """One signature stands twice."""
    metadata["signatures"] = [metadata["signatures"][0]] * 2


def hashless(repository: Repository, bundle: dict[str, t.Any]) -> dict[str, t.Any]:
    """The channel lists the release without a hash (Mender's bypass of 2026: empty meant unchecked)."""
    repository.targets[repository.target]["hashes"] = {}
    return repository.bundle()


def other_hash(repository: Repository, bundle: dict[str, t.Any]) -> dict[str, t.Any]:
    """The channel lists the release with a hash that nobody knows."""
    repository.targets[repository.target]["hashes"] = {"SHA256": "0" * 64}
    return repository.bundle()


def expired(role: str) -> Bend:
    """One role is past its expiry."""

    def bend(repository: Repository, bundle: dict[str, t.Any]) -> dict[str, t.Any]:
        repository.expires[role] = past()
        return repository.bundle()

    return bend


def one_key_under_two_ids(repository: Repository, bundle: dict[str, t.Any]) -> dict[str, t.Any]:
    """python-tuf 7.0.1 takes that as two of two; a device counts key values."""
    first = repository.signers["delegated"][0]
    alias = Key.__new__(Key)
    alias.__dict__.update(first.__dict__, id="f" * 64)
    repository.signers["delegated"] = [first, alias]
    return repository.bundle()


def foreign_key(repository: Repository, bundle: dict[str, t.Any]) -> dict[str, t.Any]:
    """The channel is signed by keys that nobody delegated to."""
    own = repository.signers["delegated"]
    repository.signers["delegated"] = [repository.extra, repository.signers["root"][0]]
    foreign = repository.bundle()["roles"]
    repository.signers["delegated"] = own
    return {**repository.bundle(), "roles": foreign}


def document(change: t.Callable[[str], str | None]) -> Bend:
    """Another content of the release document, or none."""

    def bend(repository: Repository, bundle: dict[str, t.Any]) -> dict[str, t.Any]:
        return {**bundle, "documents": {repository.target: change(bundle["documents"][repository.target])}}

    return bend


def duplicate_member(repository: Repository, bundle: dict[str, t.Any]) -> dict[str, t.Any]:
    """Two parsers would see two versions."""
    return {**bundle, "timestamp": bundle["timestamp"].replace('"version": ', '"version": 7, "version": ', 1)}


ATTACKS: list[tuple[str, Bend, tuple[str, ...]]] = [
    ("a changed version", swap("timestamp", signed(version=99)), ("SIGNATURE",)),
    ("no signature", swap("timestamp", without_signature(0)), ("SIGNATURE",)),
    ("a changed snapshot", swap("snapshot", signed(version=99)), ("HASH_MISMATCH", "LENGTH_MISMATCH")),
    ("changed targets", swap("targets", signed(version=99)), ("SIGNATURE",)),
    ("one of two signatures", swap("stable", without_signature(1)), ("THRESHOLD",)),
    ("one signature twice", swap("stable", twice), ("METADATA",)),
    ("one key under two ids", one_key_under_two_ids, ("THRESHOLD",)),
    ("foreign keys", foreign_key, ("SIGNATURE",)),
    ("another release document", document(lambda text: text.replace("app", "apq")), ("HASH_MISMATCH",)),
    ("a longer release document", document(lambda text: text + " "), ("LENGTH_MISMATCH",)),
    ("a release document that is no text", document(lambda text: None), ("METADATA",)),
    ("no release document", lambda _r, b: {**b, "documents": {}}, ("METADATA",)),
    ("no documents", lambda _r, b: {**b, "documents": None}, ("METADATA",)),
    ("a withheld channel", lambda _r, b: {**b, "roles": {}}, ("METADATA",)),
    ("roles that are a list", lambda _r, b: {**b, "roles": list(b["roles"].values())}, ("METADATA",)),
    ("a target of another channel", lambda _r, b: {**b, "target": "pilot/app/1.json"}, ("METADATA",)),
    ("a target outside", lambda _r, b: {**b, "target": "stable/../app/1.json"}, ("METADATA",)),
    ("another channel", lambda _r, b: {**b, "channel": "pilot"}, ("METADATA",)),
    ("no hash", hashless, ("METADATA",)),
    ("an unknown hash", other_hash, ("METADATA",)),
    ("an expired timestamp", expired("timestamp"), ("EXPIRED",)),
    ("an expired snapshot", expired("snapshot"), ("EXPIRED",)),
    ("expired targets", expired("targets"), ("EXPIRED",)),
    ("an expired channel", expired("delegated"), ("EXPIRED",)),
    ("a member twice", duplicate_member, ("METADATA",)),
    ("a float", swap("timestamp", signed(version=1.0)), ("METADATA",)),
    ("no metadata", lambda _r, b: {**b, "snapshot": None}, ("METADATA",)),
    ("garbage", lambda _r, b: {**b, "targets": "<html>"}, ("METADATA",)),
    ("endless data", lambda _r, b: {**b, "timestamp": b["timestamp"] + " " * 20000}, ("METADATA",)),
    (
        "a root that jumps",
        lambda r, b: {**b, "root": [r.root().replace('"version": 1', '"version": 5')]},
        ("METADATA",),
    ),
]


@pytest.mark.parametrize(("bend", "codes"), [case[1:] for case in ATTACKS], ids=[case[0] for case in ATTACKS])
def test_refused_and_nothing_touched(device: Device, publisher: Publisher, bend: Bend, codes: tuple[str, ...]) -> None:
    publisher.release(1)
    before = device.tree()
    reply = device.call("apply", bundle=bend(publisher.repository, publisher.repository.bundle()), wait=5)
    assert reply.get("error", {}).get("code") in codes, reply
    assert reply["outcome"] == "refused"
    assert device.tree() == before
    assert not (device.state / "transaction.json").exists()


def test_the_untouched_bundle_is_taken(device: Device, publisher: Publisher) -> None:
    publisher.release(1)
    reply = device.call("verify", bundle=publisher.repository.bundle())
    assert reply["release"]["version"] == "1"
    assert reply["verdict"]["threshold"] == "2 of 2"


def test_old_metadata_after_new_is_a_rollback(device: Device, publisher: Publisher) -> None:
    publisher.release(1)
    old = publisher.repository.bundle()
    publisher.release(2)
    device.stage(publisher.files)
    assert device.call("apply", bundle=publisher.repository.bundle(), wait=20)["state"] == "unconfirmed"
    assert device.call("verify", bundle=old)["error"]["code"] == "ROLLBACK"


def test_an_older_release_signed_anew_is_a_rollback(device: Device, publisher: Publisher) -> None:
    publisher.release(2)
    device.stage(publisher.files)
    reply = device.call("apply", bundle=publisher.repository.bundle(), wait=20)
    device.call("confirm", transaction=reply["transaction"])
    publisher.release(1)
    assert device.call("verify", bundle=publisher.repository.bundle())["error"]["code"] == "ROLLBACK"


def test_a_root_signed_by_the_old_and_the_new_key_is_followed(device: Device, publisher: Publisher) -> None:
    repository = publisher.repository
    old = repository.signers["root"][0]
    publisher.release(1)
    repository.root_version = 2
    repository.signers["root"] = [repository.extra]
    alone = repository.root()
    assert device.call("verify", bundle=repository.bundle(root=[alone]))["error"]["code"] == "SIGNATURE"
    body = json.loads(alone)
    from ..signing import canonical

    body["signatures"].append({"keyid": old.id, "sig": old.sign(canonical(body["signed"]))})
    reply = device.call("verify", bundle=repository.bundle(root=[json.dumps(body)]))
    assert reply["verdict"]["root_version"] == 2, reply


def test_time_is_believed_only_forward(device: Device, publisher: Publisher) -> None:
    floor = device.state / "trust/floor.json"
    floor.write_text(json.dumps({"time": 9_000_000_000}))
    publisher.release(1)
    assert device.call("verify", bundle=publisher.repository.bundle())["error"]["code"] == "EXPIRED"


@pytest.mark.parametrize("content", ["", "{", "[]", None], ids=["empty", "torn", "not metadata", "gone"])
def test_an_unusable_trust_root_is_a_refusal(device: Device, publisher: Publisher, content: str | None) -> None:
    path = device.state / "trust/root.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    publisher.release(1)
    assert device.call("verify", bundle=publisher.repository.bundle())["error"]["code"] == "TRUST_ROOT"


def test_another_root_cannot_be_pinned_over_the_first(device: Device, keys: list[Key]) -> None:
    other = Repository(list(reversed(keys)))
    reply = device.call("enroll", identity={"name": "dev1", "hardware": "edge-1"}, trust_root=other.root())
    assert reply["error"]["code"] == "TRUST_ROOT"


def test_ed25519_with_what_the_device_has(device: Device, tmp_path: t.Any, publisher: Publisher) -> None:
    repository = publisher.repository
    repository.signers["delegated"] = [Key(tmp_path, 1, "ed25519"), Key(tmp_path, 2, "ed25519")]
    publisher.release(1)
    assert device.call("verify", bundle=repository.bundle())["release"]["name"] == "app"
    body = json.loads(repository.bundle()["roles"]["stable"])
    body["signatures"][0]["sig"] = body["signatures"][1]["sig"]
    reply = device.call("verify", bundle=repository.bundle(roles={"stable": json.dumps(body)}))
    assert reply["error"]["code"] == "THRESHOLD"


IDENTITY: list[tuple[dict[str, t.Any], str | None]] = [
    ({"hardware": ["edge-1", "edge-2"]}, None),
    ({"hardware": ["edge-2"]}, "INCOMPATIBLE"),
    ({"hardware": ["edge-1"], "site": ["south"]}, "INCOMPATIBLE"),
    ({"memory": ["2G"]}, "INCOMPATIBLE"),
]


@pytest.mark.parametrize(("compatible", "code"), IDENTITY)
def test_the_device_compares_with_its_own_identity(
    device: Device, publisher: Publisher, compatible: dict[str, t.Any], code: str | None
) -> None:
    publisher.release(1, compatible=compatible)
    reply = device.call("verify", bundle=publisher.repository.bundle())
    assert reply.get("error", {}).get("code") == code, reply
