# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Making and changing a repository: what is signed by whom, what is refused, what survives a crash."""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import shutil
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base import files
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import ControlError, RepositoryError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.keys import ring as keys
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.metadata import store
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.metadata.edit import Edit, Holders
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.repository import Repository
from tuf.api.metadata import Metadata, Root, TargetFile

if t.TYPE_CHECKING:
    from ..conftest import Site


def tree(path: pathlib.Path) -> dict[str, bytes]:
    """Every file below ``path`` but the lock."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and file.name != ".lock"
    }


def later(**difference: float) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(**difference)


# -- making -----------------------------------------------------------------------------------------------------


def test_a_new_repository_satisfies_a_client(site: Site) -> None:
    names = {name for name in tree(site.path) if name.startswith("metadata")}
    assert names == {
        f"metadata/{name}"
        for name in (
            "1.root.json",
            "1.targets.json",
            "1.snapshot.json",
            "timestamp.json",
            "1.pilot.json",
            "1.stable.json",
        )
    }
    Repository(site.path).store.require_accepted({})


def test_making_it_again_changes_nothing(site: Site) -> None:
    before = tree(site.path)
    assert not site.make().changed
    assert tree(site.path) == before


def test_roles_and_channels_are_as_asked(site: Site) -> None:
    root = Metadata[Root].from_file(str(site.trust_root)).signed
    assert root.consistent_snapshot
    assert {name: (len(role.keyids), role.threshold) for name, role in root.roles.items()} == dict.fromkeys(
        store.TOP, (1, 1)
    )
    targets = site.repository().store.load().targets.signed
    assert targets.delegations is not None
    assert targets.delegations.roles is not None
    stable = targets.delegations.roles["stable"]
    assert (stable.paths, stable.terminating) == (["stable/*/*"], True)


def test_one_key_alone_is_reported(site: Site) -> None:
    (warning,) = site.repository().ensure(site.config(), site.ring(), check=True).warnings
    assert "root, targets, snapshot, timestamp, pilot, stable" in warning


@pytest.mark.parametrize("kind", keys.KINDS)
def test_both_kinds_of_key_work(empty: Site, kind: str) -> None:
    for name in (*store.TOP, "pilot", "stable"):
        empty.key(name, kind)
    empty.make()
    empty.publish()
    assert empty.fetch().version == "1.0"


def test_check_mode_writes_nothing(empty: Site) -> None:
    change = empty.repository().ensure(empty.config(), empty.ring(), check=True)
    assert change.changed
    assert not empty.path.exists()


def test_periods_are_kept_and_used(empty: Site) -> None:
    empty.make(periods={"timestamp": 2, "channels": 10})
    state = empty.repository().store.load()
    assert later(days=1.9) < state.timestamp.signed.expires < later(days=2.1)
    assert later(days=9.9) < state.channels["stable"].signed.expires < later(days=10.1)
    empty.publish()
    assert empty.repository().store.load().timestamp.signed.expires < later(days=2.1)


@pytest.mark.parametrize("name", ["root", "payloads", "approvals", "../x", "a/b", "", "a.b", "*"])
def test_a_channel_cannot_have_any_name(empty: Site, name: str) -> None:
    with pytest.raises(RepositoryError, match="cannot name a channel"):
        empty.make(channels={name: empty.holders("stable")})
    assert not empty.path.exists()


@pytest.mark.parametrize(("names", "threshold"), [(("a",), 2), (("a", "b"), 0), (("a", "b"), 3)])
def test_a_threshold_must_fit_its_keys(empty: Site, names: tuple[str, ...], threshold: int) -> None:
    with pytest.raises(RepositoryError, match="does not fit"):
        empty.make(channels={"stable": empty.holders(*names, threshold=threshold)})


def test_one_key_under_two_names_does_not_count_twice(empty: Site) -> None:
    key = keys.public(empty.key("a"))
    alias = type(key)("f" * 64, key.keytype, key.scheme, key.keyval)
    with pytest.raises(RepositoryError, match="same key is given twice"):
        empty.make(channels={"stable": Holders((key, alias), 2)})


def test_a_new_repository_needs_every_role(empty: Site) -> None:
    with pytest.raises(RepositoryError, match="needs keys for every role"):
        empty.make(roles={"root": empty.holders("root")})


def test_making_it_without_enough_keys_names_the_missing(empty: Site) -> None:
    config = empty.config(channels={"stable": empty.holders("anna", "ben", threshold=2)})
    ring = empty.ring(*store.TOP, "anna")
    with pytest.raises(RepositoryError, match=r"stable needs 2 of 2 signatures and 1 can be made.*ben") as caught:
        empty.repository().ensure(config, ring)
    assert caught.value.code == "THRESHOLD"
    assert not (empty.path / "metadata").exists()


# -- changing ---------------------------------------------------------------------------------------------------


def test_a_channel_is_added_and_others_stay(site: Site) -> None:
    site.publish()
    change = site.make(roles={}, channels={"beta": site.holders("beta")})
    assert change.changed
    assert sorted(site.repository().store.load().channels) == ["beta", "pilot", "stable"]
    assert site.fetch().version == "1.0"


@pytest.mark.parametrize("role", store.TOP)
def test_a_role_gets_other_keys_and_clients_follow(site: Site, role: str) -> None:
    site.publish()
    site.fetch()  # a client that has seen the old state
    roles = {**site.config().roles, role: site.holders("new-a", "new-b", threshold=2)}
    assert site.make(roles=roles).changed
    bundle = site.fetch()
    assert bundle.version == "1.0"
    assert len(bundle.root) == 1
    site.publish("2.0", 2)
    assert site.fetch().version == "2.0"


def test_a_channel_gets_other_keys(site: Site) -> None:
    site.publish()
    site.make(channels={"stable": site.holders("new")})
    assert site.fetch().version == "1.0"
    with pytest.raises(RepositoryError, match="stable needs 1 of 1"):
        site.repository().publish("stable", site.document("2.0", 2), site.ring("snapshot", "timestamp", "stable"))


def test_a_new_root_needs_the_old_keys(site: Site) -> None:
    roles = {**site.config().roles, "root": site.holders("new")}
    with pytest.raises(RepositoryError, match="root needs 1 of 1"):
        site.repository().ensure(site.config(roles=roles), site.ring("new", "targets", "snapshot", "timestamp"))


def test_a_lost_timestamp_key_is_replaced(site: Site) -> None:
    site.publish()
    site.key("timestamp").unlink()
    site.make(roles={**site.config().roles, "timestamp": site.holders("fresh")}, channels={})
    assert site.fetch().version == "1.0"


# -- publishing -------------------------------------------------------------------------------------------------


def test_a_release_is_listed_with_its_payload(site: Site) -> None:
    change = site.publish(channel="stable")
    release = change.release
    assert release is not None
    assert change.before == []
    assert change.after == [f"stable: gateway 1.0 (counter 1, digest {release.digest[:12]})"]
    document = site.path / "targets" / "stable" / "gateway" / f"{release.digest}.1.0.json"
    payload = json.loads(document.read_bytes())["payloads"][0]
    assert payload["type"] == "archive"
    sha256 = payload["files"][0]["sha256"]
    source = site.folder / "source-1.0" / "app.tar.gz"
    assert (site.path / "targets" / "payloads" / sha256).read_bytes() == source.read_bytes()
    entry: TargetFile = site.repository().store.load().channels["stable"].signed.targets["stable/gateway/1.0.json"]
    assert entry.custom == {"name": "gateway", "version": "1.0", "counter": 1}
    assert entry.hashes == {"sha256": release.digest}


def test_the_same_release_again_changes_nothing(site: Site) -> None:
    first = site.publish()
    before = tree(site.path)
    again = site.publish()
    assert (again.changed, again.release) == (False, first.release)
    assert tree(site.path) == before


def test_a_lost_payload_comes_back_with_the_same_release(site: Site) -> None:
    site.publish()
    (payload,) = (site.path / "targets" / "payloads").iterdir()
    good = payload.read_bytes()
    payload.write_bytes(b"\0" * len(good))
    assert not site.publish().changed
    assert payload.read_bytes() == good


def test_check_mode_publishes_nothing(site: Site) -> None:
    before = tree(site.path)
    change = site.repository().publish("stable", site.document(), site.ring(), check=True)
    assert change.changed
    assert tree(site.path) == before


@pytest.mark.parametrize(
    ("version", "counter", "code", "part"),
    [
        ("2.0", 3, "RELEASE", "published already with other content"),
        ("3.0", 2, "ROLLBACK", "counter 2 belongs to gateway 2.0"),
        ("1.5", 1, "ROLLBACK", "give it a counter above 2"),
    ],
)
def test_what_no_device_would_take_is_refused(site: Site, version: str, counter: int, code: str, part: str) -> None:
    site.publish("2.0", 2)
    before = tree(site.path)
    with pytest.raises(RepositoryError, match=part) as caught:
        site.publish(version, counter, content=b"other")
    assert caught.value.code == code
    assert {name: content for name, content in tree(site.path).items() if "payloads" not in name} == {
        name: content for name, content in before.items() if "payloads" not in name
    }


def test_one_version_cannot_differ_between_channels(site: Site) -> None:
    site.publish("2.0", 2, channel="pilot")
    for version, counter in (("2.0", 3), ("3.0", 2)):
        with pytest.raises(RepositoryError):
            site.publish(version, counter, channel="stable", content=b"other")


def test_an_unknown_channel_is_refused(site: Site) -> None:
    with pytest.raises(RepositoryError, match="no channel 'beta', only pilot, stable"):
        site.publish(channel="beta")


def test_a_missing_repository_is_refused(empty: Site) -> None:
    with pytest.raises(RepositoryError, match="does not exist"):
        empty.repository().publish("stable", empty.document(), empty.ring("stable"))
    assert not empty.path.exists()


@pytest.mark.parametrize("missing", ["stable", "snapshot", "timestamp"])
def test_publishing_needs_every_key_on_the_way(site: Site, missing: str) -> None:
    names = [name for name in ("stable", "snapshot", "timestamp") if name != missing]
    before = tree(site.path)
    with pytest.raises(RepositoryError, match=f"{missing} needs 1 of 1.*{missing}"):
        site.repository().publish("stable", site.document(), site.ring(*names))
    assert {name for name in tree(site.path) if "payloads" not in name} == set(before)


def test_a_threshold_of_two_takes_two(empty: Site) -> None:
    empty.make(channels={"stable": empty.holders("anna", "ben", "carla", threshold=2)})
    online = ("snapshot", "timestamp")
    with pytest.raises(RepositoryError, match=r"stable needs 2 of 3 signatures and 1 can be made.*ben.*carla"):
        empty.repository().publish("stable", empty.document(), empty.ring(*online, "anna"))
    empty.repository().publish("stable", empty.document(), empty.ring(*online, "anna", "carla"))
    assert len(empty.repository().store.load().channels["stable"].signatures) == 2
    assert empty.fetch().version == "1.0"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("format: 1\nformat: 1\n", "stands twice"),
        ("{", "not YAML"),
        ("- 1\n", "errors"),
        ("format: 1\nname: gateway\nversion: 2.0\ncounter: 1\npayloads: []\n", "version"),
    ],
)
def test_a_bad_document_is_told_before_anything_happens(site: Site, text: str, part: str) -> None:
    path = site.document()
    path.write_text(text)
    before = tree(site.path)
    with pytest.raises(RepositoryError, match=part) as caught:
        site.repository().publish("stable", path, site.ring())
    assert caught.value.code == "RELEASE"
    assert tree(site.path) == before


def test_a_missing_document_is_named(site: Site) -> None:
    with pytest.raises(RepositoryError, match=r"nowhere\.yml cannot be read"):
        site.repository().publish("stable", site.folder / "nowhere.yml", site.ring())


def test_a_missing_payload_is_named(site: Site) -> None:
    path = site.document()
    (path.parent / "app.tar.gz").unlink()
    with pytest.raises(RepositoryError, match=r"app\.tar\.gz"):
        site.repository().publish("stable", path, site.ring())


# -- promoting and renewing -------------------------------------------------------------------------------------


def test_promoting_lists_the_same_digest(site: Site) -> None:
    published = site.publish(channel="pilot").release
    promoted = site.repository().promote("gateway", "1.0", "stable", site.ring()).release
    assert published is not None
    assert promoted is not None
    assert (promoted.digest, promoted.channel) == (published.digest, "stable")
    assert site.fetch(channel="stable").digest == site.fetch(channel="pilot").digest
    assert not site.repository().promote("gateway", "1.0", "stable", site.ring()).changed


def test_promoting_below_the_newest_is_refused(site: Site) -> None:
    site.publish("1.0", 1, channel="pilot")
    site.publish("2.0", 2, channel="stable")
    with pytest.raises(RepositoryError, match="no device would take it"):
        site.repository().promote("gateway", "1.0", "stable", site.ring())


def test_promoting_what_nobody_published_is_refused(site: Site) -> None:
    with pytest.raises(RepositoryError, match="publish it first"):
        site.repository().promote("gateway", "9", "stable", site.ring())


def test_promoting_changed_bytes_is_refused(site: Site) -> None:
    site.publish(channel="pilot")
    (document,) = (site.path / "targets" / "pilot" / "gateway").iterdir()
    document.write_bytes(document.read_bytes().replace(b"755", b"777"))
    with pytest.raises(RepositoryError, match="not what was signed"):
        site.repository().promote("gateway", "1.0", "stable", site.ring())


@pytest.mark.parametrize(
    ("days", "renewed"),
    [
        (1, set()),
        (4, {"snapshot", "timestamp"}),
        (8, {"snapshot", "timestamp"}),  # expired already
        (70, {"snapshot", "timestamp", "pilot", "stable"}),
        (300, {"snapshot", "timestamp", "pilot", "stable", "targets", "root"}),
    ],
)
def test_renewal_signs_what_is_close_to_its_end(site: Site, days: int, renewed: set[str]) -> None:
    def versions() -> dict[str, int]:
        state = site.repository().store.load()
        roles: dict[str, t.Any] = {
            "root": state.roots[-1],
            "targets": state.targets,
            "snapshot": state.snapshot,
            "timestamp": state.timestamp,
        }
        return {name: metadata.signed.version for name, metadata in {**roles, **state.channels}.items()}

    before = versions()
    change = site.repository(later(days=days)).refresh(site.ring())
    assert change.changed == bool(renewed)
    assert {name for name, version in versions().items() if version > before[name]} == renewed


def test_renewal_names_what_it_has_no_keys_for(site: Site) -> None:
    change = site.repository(later(days=70)).refresh(site.ring("snapshot", "timestamp"))
    assert [warning.split()[0] for warning in change.warnings] == ["pilot", "stable"]


def test_renewal_with_check_writes_nothing(site: Site) -> None:
    before = tree(site.path)
    assert site.repository(later(days=4)).refresh(site.ring(), check=True).changed
    assert tree(site.path) == before


# -- what somebody else put there -------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["1.targets", "2.snapshot", "timestamp", "2.stable", "1.root"])
def test_nothing_is_signed_on_top_of_what_was_changed(site: Site, role: str) -> None:
    site.publish()
    path = site.path / "metadata" / f"{role}.json"
    metadata = Metadata.from_bytes(path.read_bytes())
    metadata.signed.unrecognized_fields["x-evil"] = 1
    path.write_bytes(metadata.to_bytes())
    with pytest.raises(RepositoryError, match="cannot be trusted") as caught:
        site.publish("2.0", 2)
    assert caught.value.code == "THRESHOLD"


def test_a_root_that_the_one_before_did_not_sign_is_refused(site: Site, tmp_path: pathlib.Path) -> None:
    evil = type(site)(tmp_path / "evil")
    evil.make()
    evil.make(roles={**evil.config().roles, "timestamp": evil.holders("other")})
    shutil.copy(evil.path / "metadata" / "2.root.json", site.path / "metadata")
    with pytest.raises(RepositoryError, match=r"2\.root\.json"):
        site.repository().store.load()


def test_what_clients_would_refuse_is_not_put_in_place(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.publish()
    before = tree(site.path)
    expired = site.repository(later(days=-30))
    # that it is behind is noticed before; this is about everything else that is wrong with what would be put in place
    monkeypatch.setattr(Edit, "_require_clock", lambda *_arguments: None)
    with pytest.raises(RepositoryError, match="would not be accepted by its own clients"):
        expired.publish("stable", site.document("2.0", 2), site.ring())
    assert tree(site.path) == before
    assert site.fetch().version == "1.0"


def test_a_replaced_repository_is_seen_with_the_pinned_root(site: Site, tmp_path: pathlib.Path) -> None:
    pinned = site.trust_root.read_bytes()
    shutil.rmtree(site.path)
    evil = type(site)(tmp_path / "evil")
    config = evil.config(channels={"stable": Holders((keys.public(site.key("stable")), keys.public(evil.key("x"))), 1)})
    evil.repository().ensure(config, evil.ring())
    shutil.copytree(evil.path, site.path)
    with pytest.raises(RepositoryError, match="cannot be trusted") as caught:
        Repository(site.path, trust_root=pinned).publish("stable", site.document(), site.ring())
    assert caught.value.code == "TRUST_ROOT"
    # its own root put back, what it lists is still signed by others
    (site.path / "metadata" / "1.root.json").write_bytes(pinned)
    with pytest.raises(RepositoryError, match="cannot be trusted") as caught:
        Repository(site.path, trust_root=pinned).publish("stable", site.document(), site.ring())
    assert caught.value.code == "THRESHOLD"


# -- crashes ----------------------------------------------------------------------------------------------------


class Crash(BaseException):
    """The machine stops here."""


def _crash_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    real = files.write
    count = 0

    def write(path: pathlib.Path, content: bytes, mode: int = 0o644) -> None:
        nonlocal count
        count += 1
        if count > number:
            raise Crash
        real(path, content, mode)

    monkeypatch.setattr(files, "write", write)


def _versions_seen(site: Site) -> str | None:
    try:
        return site.fetch().version
    except ControlError as error:
        assert "lists no gateway" in error.message
        return None


@pytest.mark.parametrize("number", range(5))
def test_a_publication_cut_short_is_whole_or_not_there(
    site: Site, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    site.publish()
    site.fetch()
    source = site.document("2.0", 2)
    with monkeypatch.context() as patch:
        _crash_at(patch, number)
        try:
            site.repository().publish("stable", source, site.ring())
        except Crash:
            assert number < 4
    assert site.fetch().version == ("1.0" if number < 4 else "2.0")
    site.repository().publish("stable", source, site.ring())
    assert site.fetch().version == "2.0"


@pytest.mark.parametrize("number", range(8))
def test_a_creation_cut_short_is_just_done_again(empty: Site, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    config, ring = empty.config(), empty.ring()
    with monkeypatch.context() as patch:
        _crash_at(patch, number)
        try:
            empty.repository().ensure(config, ring)
        except Crash:
            assert number < 7
    if number < 6:
        assert not empty.repository().store.exists
    empty.repository().ensure(config, ring)
    empty.publish()
    assert empty.fetch().version == "1.0"


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("lost", [False, True])
def test_a_key_change_cut_short_never_locks_clients_out(
    site: Site, monkeypatch: pytest.MonkeyPatch, number: int, lost: bool
) -> None:
    """With the old key at hand there is no moment without a valid repository; without it a second run heals."""
    site.publish()
    config = site.config(roles={**site.config().roles, "timestamp": site.holders("fresh")}, channels={})
    if lost:
        site.key("timestamp").unlink()
    with monkeypatch.context() as patch:
        _crash_at(patch, number)
        try:
            site.repository().ensure(config, site.ring())
        except Crash:
            pass
    if not lost:
        assert site.fetch().version == "1.0"
    site.repository().ensure(config, site.ring())
    assert site.fetch().version == "1.0"
    assert "fresh" in str(
        site.repository().store.load().root.keys[keys.public(site.key("fresh")).keyid].unrecognized_fields
    )


#: Publishes, and is killed when it has written the first piece of a payload.
KILLED = """
import os, pathlib, signal, sys
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base import files
from ansible_collections.fleet.ota.plugins.plugin_utils._control.keys.ring import Ring
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.repository import Repository
def pieces(path):
    yield path.read_bytes()[:10]
    os.kill(os.getpid(), signal.SIGKILL)
files.read_chunks = pieces
folder = pathlib.Path(sys.argv[1])
Repository(folder / "repository").publish("stable", pathlib.Path(sys.argv[2]), Ring.load([folder / "keys"]))
"""


def test_the_next_publication_clears_away_what_a_killed_one_left(site: Site) -> None:
    document = site.document()
    path = os.pathsep.join(sys.path)
    environment = {**os.environ, "PYTHONPATH": path}
    killed = subprocess.run([sys.executable, "-c", KILLED, site.folder, document], env=environment, check=False)
    assert killed.returncode == -9
    assert list(site.path.rglob(".new-*"))
    site.repository().publish("stable", document, site.ring())
    assert not list(site.path.rglob(".new-*"))
    assert site.fetch().version == "1.0"
