# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ordinary workflow, and metadata that is not what it must be."""

from __future__ import annotations

import json
import typing as t

import pytest

from .conftest import Client
from .simulator import TOP, Simulator

Change = t.Callable[[dict[str, t.Any]], t.Any]


def test_refresh_asks_for_what_the_workflow_says(client: Client, repository: Simulator) -> None:
    assert client.init(repository) == 0
    assert repository.requests == []
    assert client.refresh() == 0
    assert repository.asked() == ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]
    assert client.versions() == (1, 1, 1, 1)


def test_again_asks_only_for_what_may_be_new(ready: Client, repository: Simulator) -> None:
    assert ready.refresh() == 0
    assert repository.asked() == ["2.root.json", "timestamp.json"]
    repository.publish("snapshot")
    assert ready.refresh() == 0
    assert repository.asked() == ["2.root.json", "timestamp.json", "2.snapshot.json"]
    repository.publish("targets")
    assert ready.refresh() == 0
    assert repository.asked() == ["2.root.json", "timestamp.json", "3.snapshot.json", "2.targets.json"]
    assert ready.versions() == (1, 3, 3, 2)


def test_a_download_refreshes_first(client: Client, repository: Simulator) -> None:
    assert client.init(repository) == 0
    assert client.download("nothing") == 1
    assert client.versions() == (1, 1, 1, 1)


@pytest.mark.parametrize("consistent", [True, False])
@pytest.mark.parametrize("hashes", [True, False])
def test_names_of_files_and_descriptions(client: Client, consistent: bool, hashes: bool) -> None:
    repository = Simulator(consistent=consistent, hashes=hashes)
    repository.delegate("targets", "A", paths=["one/*"])
    repository.add_target("A", "one/two", b"content")
    repository.publish("targets", "A")
    assert client.init(repository) == 0
    assert client.download("one/two") == 0
    version = "2." if consistent else ""
    names = [f"{version}{role}.json" for role in ("snapshot", "targets", "A")]
    assert repository.asked() == ["2.root.json", "timestamp.json", *names]
    assert client.got() == [b"content"]
    repository.publish("A")
    assert client.refresh() == 0 and client.version("snapshot") == 3


def test_consistent_snapshots_may_be_turned_on(client: Client) -> None:
    repository = Simulator(consistent=False)
    assert client.init(repository) == 0 and client.refresh() == 0
    repository.root.consistent_snapshot = True
    repository.publish("root", "targets")
    assert client.refresh() == 0
    assert client.versions() == (2, 2, 2, 2)
    assert repository.asked()[-1] == "2.targets.json"


def test_what_is_kept_are_the_bytes_that_were_served(ready: Client, repository: Simulator) -> None:
    for role in ("timestamp", "snapshot", "targets"):
        assert (ready.metadata / f"{role}.json").read_bytes() == repository.files[repository.name(role)]


def test_a_timestamp_of_the_same_version_changes_nothing(ready: Client, repository: Simulator) -> None:
    repository.timestamp.snapshot_meta.version = 100
    repository.serve("timestamp")
    assert ready.refresh() == 0
    assert ready.versions() == (1, 1, 1, 1)
    content = ready.content("timestamp")
    assert content and content["meta"]["snapshot.json"]["version"] == 1


@pytest.mark.parametrize("role", TOP)
def test_unknown_members_are_signed_like_the_others(ready: Client, repository: Simulator, role: str) -> None:
    repository.signed(role).unrecognized_fields["more"] = {"a": [1, None, True, 'ä\\"\n']}
    key = next(iter(repository.root.keys.values()))
    key.unrecognized_fields["x-more"] = "b"
    repository.root.roles["snapshot"].unrecognized_fields["another"] = 1
    repository.publish("root", *([role] if role != "root" else []))
    if role == "timestamp":
        repository.publish("snapshot")
    assert ready.refresh() == 0
    content = ready.content(role)
    assert content and content["more"]["a"][3] == 'ä\\"\n'


@pytest.mark.parametrize("role", TOP)
@pytest.mark.parametrize("version", ["1.0", "1.99.3", "2.0.0", "0.9.0", "1", "one.0.0", "1.0.0.0", "1.x", "1.0.", None])
def test_spec_versions(ready: Client, repository: Simulator, role: str, version: t.Any) -> None:
    assert taken(ready, repository, role, version) is (version in ("1.0", "1.99.3"))


@pytest.mark.parametrize("client", ["device"], indirect=True)
@pytest.mark.parametrize("role", TOP)
@pytest.mark.parametrize("version", ["1.\u0660", 1.0])
def test_spec_versions_that_look_like_one(ready: Client, repository: Simulator, role: str, version: t.Any) -> None:
    """Of the device alone: python-tuf takes digits of any script, and cannot sign floats for this test."""
    assert not taken(ready, repository, role, version)


def taken(ready: Client, repository: Simulator, role: str, version: t.Any) -> bool:
    """Whether a client takes metadata of this spec version; what it does not take it must not keep."""
    before = ready.versions()
    repository.publish(role)
    repository.bend(role, lambda signed: signed.update(spec_version=version))
    good = ready.refresh() == 0
    assert ready.version(role) == (2 if good else before[TOP.index(role)])
    return good


WRONG: list[tuple[str, str, Change]] = [
    *(("type", role, lambda signed: signed.update(_type="mirror")) for role in TOP),
    *(("no version", role, lambda signed: signed.pop("version")) for role in TOP),
    *(("version a text", role, lambda signed: signed.update(version="2")) for role in TOP),
    *(("version below 1", role, lambda signed: signed.update(version=0)) for role in TOP),
    *(("expires a number", role, lambda signed: signed.update(expires=4000000000)) for role in TOP),
    *(("expires no time", role, lambda signed: signed.update(expires="tomorrow")) for role in TOP),
    *(("no expires", role, lambda signed: signed.pop("expires")) for role in TOP),
    *(("no spec version", role, lambda signed: signed.pop("spec_version")) for role in TOP),
    ("no keys", "root", lambda signed: signed.pop("keys")),
    ("keys a list", "root", lambda signed: signed.update(keys=[])),
    ("no roles", "root", lambda signed: signed.update(roles={})),
    ("a role is missing", "root", lambda signed: signed["roles"].pop("snapshot")),
    ("threshold 0", "root", lambda signed: signed["roles"]["snapshot"].update(threshold=0)),
    ("threshold a text", "root", lambda signed: signed["roles"]["snapshot"].update(threshold="1")),
    ("a key id twice", "root", lambda signed: signed["roles"]["snapshot"]["keyids"].extend(["a", "a"])),
    ("no meta", "timestamp", lambda signed: signed.pop("meta")),
    ("meta empty", "timestamp", lambda signed: signed.update(meta={})),
    ("snapshot version 0", "timestamp", lambda signed: signed["meta"]["snapshot.json"].update(version=0)),
    ("length negative", "timestamp", lambda signed: signed["meta"]["snapshot.json"].update(length=-1)),
    ("hashes empty", "timestamp", lambda signed: signed["meta"]["snapshot.json"].update(hashes={})),
    ("hashes a list", "timestamp", lambda signed: signed["meta"]["snapshot.json"].update(hashes=["a"])),
    ("no meta", "snapshot", lambda signed: signed.pop("meta")),
    ("targets not listed", "snapshot", lambda signed: signed.update(meta={})),
    ("targets version 0", "snapshot", lambda signed: signed["meta"]["targets.json"].update(version=0)),
    ("no targets", "targets", lambda signed: signed.pop("targets")),
    ("targets a list", "targets", lambda signed: signed.update(targets=[])),
    ("target no object", "targets", lambda signed: signed.update(targets={"a": 1})),
    ("target without length", "targets", lambda signed: signed.update(targets={"a": {"hashes": {"sha256": "0"}}})),
    ("delegations a list", "targets", lambda signed: signed.update(delegations=[])),
    ("delegations empty", "targets", lambda signed: signed.update(delegations={})),
]


@pytest.mark.parametrize(("role", "change"), [case[1:] for case in WRONG], ids=[f"{c[1]}: {c[0]}" for c in WRONG])
def test_wrong_form_is_refused_though_signed(ready: Client, repository: Simulator, role: str, change: Change) -> None:
    repository.publish(role)
    repository.bend(role, change)
    assert ready.refresh() == 1
    assert ready.version(role) == 1


@pytest.mark.parametrize("role", TOP)
@pytest.mark.parametrize(
    "change",
    [
        lambda whole: whole.update(signatures=[]),
        lambda whole: whole.update(signatures={}),
        lambda whole: whole.pop("signatures"),
        lambda whole: whole["signatures"][0].update(sig="00" * 70),
        lambda whole: whole["signatures"][0].update(sig="no hex"),
        lambda whole: whole["signatures"][0].update(sig=""),
        lambda whole: whole["signatures"][0].update(sig=1),
        lambda whole: whole["signatures"][0].pop("keyid"),
        lambda whole: whole["signed"].update(more=1),
    ],
    ids=["none", "object", "no member", "wrong", "no hex", "empty", "number", "no key id", "changed after"],
)
def test_unsigned_is_refused(ready: Client, repository: Simulator, role: str, change: Change) -> None:
    repository.publish(role)
    repository.bend(role, change, sign=False)
    assert ready.refresh() == 1
    assert ready.version(role) == 1


@pytest.mark.parametrize("role", TOP)
@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"<html>", b"\xff\xfe", b"null", b'"signed"', b"[" * 10000])
def test_garbage_is_refused(ready: Client, repository: Simulator, role: str, content: bytes) -> None:
    repository.publish(role)
    repository.serve(role, content)
    assert ready.refresh() == 1
    assert ready.version(role) == 1


@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_another_kind_of_metadata_is_refused(ready: Client, repository: Simulator, role: str) -> None:
    """Signed by a key that is trusted for the role, but for another one."""
    repository.root.keys.clear()
    for name in TOP:
        repository.root.roles[name].keyids.clear()
        repository.signers[name] = repository.signers["root"][:1]
        repository.root.add_key(repository.signers["root"][0].public_key, name)
    repository.signers["root"] = repository.signers["root"][:1]
    repository.publish("root", role)
    repository.serve(role, repository.sign("timestamp"))
    assert ready.refresh() == 1
    assert ready.version(role) in (1, None)  # the device drops its snapshot when the keys change (5.3.11)


@pytest.mark.parametrize(("of", "by"), [("snapshot", "timestamp"), ("targets", "snapshot")])
@pytest.mark.parametrize("change", [{"length": 3}, {"hashes": {"sha256": "0" * 64}}, {"version": 9}])
def test_not_as_described(client: Client, of: str, by: str, change: dict[str, t.Any]) -> None:
    repository = Simulator(hashes=True)
    assert client.init(repository) == 0 and client.refresh() == 0
    repository.publish("targets")
    if by == "snapshot":
        repository.hashes = False
        repository.snapshot.version += 1
        meta = repository.snapshot.meta
        if "version" not in change:
            repository.describe("targets")
        repository.bend("snapshot", lambda signed: signed["meta"]["targets.json"].update(change))
        assert meta
        repository._describe_snapshot(bump=True)
    else:
        repository.bend("timestamp", lambda signed: signed["meta"]["snapshot.json"].update(change))
    if "version" in change:
        repository.files[repository.name(of, 9)] = repository.files[repository.name(of)]
    assert client.refresh() == 1
    assert client.version(of) == 1


def test_a_masked_version_is_refused(client: Client) -> None:
    """The hashes are right, so the content is; but it is another version than the one it is announced as."""
    repository = Simulator(hashes=True)
    assert client.init(repository) == 0 and client.refresh() == 0
    repository.publish("snapshot")
    real = repository.files[repository.name("snapshot")]
    repository.bend("timestamp", lambda signed: signed["meta"]["snapshot.json"].update(version=7))
    repository.files[repository.name("snapshot", 7)] = real
    assert client.refresh() == 1
    assert client.version("snapshot") == 1


@pytest.mark.parametrize("role", TOP)
def test_a_member_that_stands_twice(ready: Client, repository: Simulator, role: str) -> None:
    """Two parsers would see two versions. python-tuf takes the last, which is what was signed; the device refuses."""
    repository.publish(role)
    text = json.dumps(json.loads(t.cast(bytes, repository.files[repository.name(role)])))
    assert text.count('"version": 2') == 1 or role in ("timestamp", "snapshot")
    number = text.rindex('"version": 2')
    repository.serve(role, (text[:number] + '"version": 7, ' + text[number:]).encode())
    assert ready.refresh() == (1 if ready.kind == "device" else 0)
    assert ready.version(role) == (1 if ready.kind == "device" else 2)


@pytest.mark.parametrize("text", ["2.0", "2e0", "true", "1" * 5000], ids=["float", "exponent", "bool", "endless"])
def test_numbers_are_whole(ready: Client, repository: Simulator, text: str) -> None:
    repository.publish("timestamp")
    whole = t.cast(bytes, repository.files["metadata/timestamp.json"]).decode()
    at = whole.rindex('"version"')
    repository.serve("timestamp", (whole[:at] + whole[at:].replace("2", text, 1)).encode())
    assert ready.refresh() == 1
    assert ready.version("timestamp") == 1
