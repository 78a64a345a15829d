# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The owner of a folder exchanges names in it between two steps of root's: what is root's there stays root's."""

from __future__ import annotations

import os
import stat
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.kinds import snapshots
from ansible_collections.fleet.ota.plugins.module_utils._device.kinds.snapshots import files as kept
from ansible_collections.fleet.ota.plugins.module_utils._device.system.files import put_back, tree
from ansible_collections.fleet.ota.plugins.module_utils._device.system.files.descriptors import Files
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
USER, SECRET = 4711, "secret of root"


@pytest.fixture
def device(tmp_path: Path) -> Layout:
    """A protected folder of a user's, in which root keeps a file and a folder that the user cannot read."""
    layout = Layout(str(tmp_path))
    layout.prepare()
    app = tmp_path / "srv/app"
    for folder in (app, app / "mine", app / "roots"):
        folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("mine/key", "mine"), ("roots/key", SECRET), ("a", "mine"), ("b", SECRET)):
        (app / name).write_text(text)
    for path in (app, app / "mine", app / "mine/key", app / "a"):
        os.chown(path, USER, USER)
    for name, mode in (("roots", 0o700), ("b", 0o600)):
        (app / name).chmod(mode)
    return layout


def swap(layout: Layout, one: str, other: str) -> None:
    """What renameat2(2) does with RENAME_EXCHANGE."""
    app = Path(layout.real("/srv/app"))
    (app / one).rename(app / "third")
    (app / other).rename(app / one)
    (app / "third").rename(app / other)


def take(layout: Layout) -> snapshots.Base:
    selection = tree.select(layout, (), ("/srv/app",), (layout.state_dir,))
    found = kept.Snapshot(layout, "one", selection)
    found.create()
    return found


def readable(folder: Path) -> list[str]:
    """The files below that the user can read."""
    found = []
    for path in folder.rglob("*"):
        ways = [path, *(above for above in path.parents if folder in (above, *above.parents))]
        if path.is_file() and all(_is_open(way) for way in ways):
            found.append(path.read_text())
    return sorted(found)


def _is_open(path: Path) -> bool:
    info = path.stat()
    return bool(info.st_uid == USER or info.st_mode & 0o4)


@pytest.mark.parametrize(("mine", "roots"), [("a", "b"), ("mine", "roots")])
def test_content_is_kept_with_the_owner_that_it_had(
    device: Layout, mine: str, roots: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = kept._copy

    def exchanged(files: Files, path: str, *more: t.Any) -> t.Any:
        swap(device, mine, roots)
        try:
            return copy(files, path, *more)
        finally:
            swap(device, mine, roots)

    monkeypatch.setattr(kept, "_copy", exchanged)
    snapshot = take(device)
    app = Path(device.real("/srv/app"))
    for path in (app / "a", app / "b", app / "mine/key", app / "roots/key"):
        path.unlink()
    snapshot.restore()
    assert SECRET not in readable(app)


def test_what_is_in_a_directory_is_kept_with_that_directory(device: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    names, times = Files.names, [0]

    def exchanged(self: Files, path: str) -> list[str]:
        if path == "/srv/app/mine" and not times[0]:
            times[0] += 1
            swap(device, "mine", "roots")
        return names(self, path)

    (Path(device.real("/srv/app/roots/key"))).chmod(0o644)
    monkeypatch.setattr(Files, "names", exchanged)
    entries = dict(tree.look(device, tree.Selection((), ("/srv/app",), ())))
    assert times == [1]
    size = entries["/srv/app/mine/key"]["s"]
    assert (size == len(SECRET)) == (entries["/srv/app/mine"]["u"] == 0), entries


def test_names_of_one_file_are_kept_with_the_owner_of_their_content(
    device: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Path(device.real("/srv/app"))
    os.link(app / "a", app / "c")
    copy = kept._copy

    def exchanged(files: Files, path: str, *more: t.Any) -> t.Any:
        if path == "/srv/app/a":
            swap(device, "a", "b")
            os.link(app / "a", app / "another")  # so that it has more names, as the one that was seen
        return copy(files, path, *more)

    monkeypatch.setattr(kept, "_copy", exchanged)
    snapshot = take(device)
    (app / "c").unlink()
    snapshot.restore()
    assert SECRET not in readable(app)


def test_a_directory_of_roots_in_the_place_of_another_stays_roots(
    device: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Path(device.real("/srv/app"))
    snapshot = take(device)
    os.chown(app / "mine", 0, 0)  # a release did that: it is to go back
    handle = Files.handle

    def opened(self: Files, path: str) -> tuple[int, os.stat_result]:
        if path == "/srv/app/mine":
            swap(device, "mine", "roots")
            try:
                return handle(self, path)
            finally:
                swap(device, "mine", "roots")
        return handle(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(Files, "handle", opened)
        put_back.put_back(device, snapshot.entries_of(["/srv/app/mine"]), ["/srv/app/mine"], snapshot._open)
    info = (app / "roots").stat()
    assert (info.st_uid, stat.S_IMODE(info.st_mode)) == (0, 0o700)
    assert snapshot.remaining() == ["/srv/app/mine"]
    snapshot.restore()  # nobody exchanges anything any more
    assert snapshot.remaining() == [] and (app / "mine").stat().st_uid == USER


def test_a_file_of_roots_is_not_written_over_in_the_place_of_another(
    device: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Path(device.real("/srv/app"))
    (app / "a").write_text("as long as it")
    snapshot = take(device)
    (app / "a").write_text("changed, and longer")
    overwrite = Files.overwrite

    def exchanged(self: Files, path: str) -> int:
        swap(device, "a", "b")
        return overwrite(self, path)

    with Files(device.root, ["/srv/app"]) as files, monkeypatch.context() as patch:
        patch.setattr(Files, "overwrite", exchanged)
        way = put_back._Way(files, snapshot.entries_of([]), snapshot._open, ())
        assert not way._is_written_over("/srv/app/a", way._was("/srv/app/a"))
    assert (app / "a").read_text() == SECRET and (app / "a").stat().st_uid == 0


def test_nothing_of_roots_is_put_into_a_directory_of_the_user(device: Layout) -> None:
    app = Path(device.real("/srv/app"))
    (app / "roots/key").chmod(0o644)
    snapshot = take(device)
    before = snapshot.entries_of(["/srv/app/roots", "/srv/app/roots/key"])
    swap(device, "mine", "roots")
    (app / "roots/key").unlink()
    with Files(device.root, ["/srv/app"]) as files:
        way = put_back._Way(files, before, snapshot._open, ())
        way._step("/srv/app/roots/key", way._put)  # it was exchanged after it was looked at
        assert SECRET not in readable(app)
    snapshot.restore()
    assert SECRET not in readable(app) and snapshot.remaining() == []


def test_what_a_user_exchanges_does_not_keep_the_rest_from_going_back(
    device: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Path(device.real("/srv/app"))
    snapshot = take(device)
    (app / "mine/key").write_text("x")
    (app / "a").write_text("x")
    create = Files.create

    def exchanged(self: Files, path: str) -> int:
        if path.startswith("/srv/app/mine"):
            raise NotADirectoryError(20, "exchanged", path)
        return create(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(Files, "create", exchanged)
        snapshot.restore()
    assert (app / "a").read_text() == "mine"
    assert snapshot.exchanged(snapshot.remaining()) == {"/srv/app/mine/key"}
    os.chown(app, 0, 0)
    os.chown(app / "mine", 0, 0)
    assert snapshot.exchanged(["/srv/app/mine/key"]) == set()
