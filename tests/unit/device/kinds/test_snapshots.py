# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots put back exactly what was there, whatever kind of file it was."""

from __future__ import annotations

import errno
import os
import re
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base.errors import OtaError
from ansible_collections.fleet.ota.plugins.module_utils._device.kinds import snapshots
from ansible_collections.fleet.ota.plugins.module_utils._device.system.files import tree
from ansible_collections.fleet.ota.plugins.module_utils._device.system.files.descriptors import Files
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout


@pytest.fixture()
def layout(tmp_path: Path) -> Layout:
    """A device with a little of everything in /etc."""
    found = Layout(str(tmp_path))
    found.prepare()
    etc = tmp_path / "etc"
    (etc / "sub").mkdir(parents=True)
    (etc / "plain").write_text("plain")
    (etc / "plain").chmod(0o640)
    (etc / "empty").write_text("")
    (etc / "link").symlink_to("plain")
    (etc / "dangling").symlink_to("/nowhere")
    os.link(str(etc / "plain"), str(etc / "sub" / "hard"))
    os.mkfifo(str(etc / "fifo"))
    (etc / os.fsdecode(b"caf\xe9")).write_text("not UTF-8")
    with open(str(etc / "sparse"), "wb") as handle:
        handle.truncate(1 << 20)
    return found


def take(layout: Layout, *trees: str) -> snapshots.Base:
    """A proven snapshot."""
    selection = tree.select(layout, (), trees or ("/etc",), ())
    found = snapshots.choose(layout, selection, "files")(layout, "one", selection)
    found.create()
    found.prove()
    return snapshots.load(layout, "one")


def spoil(layout: Layout) -> None:
    """Change everything that can be changed."""
    etc = Path(layout.real("/etc"))
    (etc / "plain").write_text("other")
    (etc / "empty").unlink()
    (etc / "link").unlink()
    (etc / "link").mkdir()
    (etc / "link" / "below").write_text("x")
    (etc / "new").mkdir()
    (etc / "new" / "file").write_text("x")
    (etc / "fifo").unlink()
    (etc / "fifo").write_text("a file now")
    (etc / os.fsdecode(b"caf\xe9")).unlink()
    (etc / "sub").chmod(0o700)


def test_everything_comes_back(layout: Layout) -> None:
    found = take(layout)
    before = dict(found.pairs())
    spoil(layout)
    assert found.remaining()
    changed = found.restore()
    assert "/etc/plain" in changed and "/etc/new" in changed and "/etc/sparse" not in changed
    assert found.remaining() == []
    assert dict(tree.look(layout, found.selection))["/etc/plain"]["mt"] == before["/etc/plain"]["mt"]
    etc = Path(layout.real("/etc"))
    assert (etc / "plain").stat().st_ino == (etc / "sub" / "hard").stat().st_ino, "still one file with two names"
    assert found.restore() == [], "a second time there is nothing to do"


def test_what_was_absent_is_removed(layout: Layout) -> None:
    selection = tree.select(layout, ("/opt/app/current",), ("/opt/app/releases/2",), ())
    found = snapshots.choose(layout, selection)(layout, "one", selection)
    found.create()
    releases = Path(layout.real("/opt/app/releases/2"))
    releases.mkdir(parents=True)
    (releases / "file").write_text("x")
    Path(layout.real("/opt/app/current")).symlink_to("releases/2")
    found.restore()
    assert not releases.exists() and not os.path.lexists(layout.real("/opt/app/current"))


def test_a_damaged_pack_is_noticed_before_anything_changes(layout: Layout) -> None:
    found = take(layout)
    content = Path(found.folder) / "content"
    data = bytearray(content.read_bytes())
    data[0] ^= 1
    content.write_bytes(bytes(data))
    with pytest.raises(OtaError) as error:
        found.prove()
    assert error.value.code == "RESTORE"


@pytest.mark.skipif(os.geteuid() != 0, reason="changing owners needs root")
def test_owner_and_set_id_bits_come_back(layout: Layout) -> None:
    path = Path(layout.real("/etc/plain"))
    os.chown(str(path), 12, 34)
    path.chmod(0o4750)
    found = take(layout)
    os.chown(str(path), 0, 0)
    found.restore()
    info = path.stat()
    assert (info.st_uid, info.st_gid, info.st_mode & 0o7777) == (12, 34, 0o4750)


def test_extended_attributes_come_back(layout: Layout) -> None:
    path = layout.real("/etc/plain")
    try:
        os.setxattr(path, "user.kept", b"1")
    except OSError:
        pytest.skip("the file system of the temporary directory has no extended attributes")
    found = take(layout)
    os.removexattr(path, "user.kept")
    os.setxattr(path, "user.new", b"2")
    assert found.remaining()
    found.restore()
    assert os.listxattr(path) == ["user.kept"]


def test_an_interrupted_restore_is_run_again(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    found = take(layout)
    spoil(layout)
    calls = {"left": 3}
    rename = os.rename

    def failing(source: t.Any, target: t.Any, **where: int) -> None:
        calls["left"] -= 1
        if calls["left"] < 0:
            raise KeyboardInterrupt
        rename(source, target, **where)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(KeyboardInterrupt):
        found.restore()
    monkeypatch.undo()
    found.restore()
    assert found.remaining() == []


def test_excluded_paths_are_left_alone(layout: Layout) -> None:
    selection = tree.select(layout, (), ("/etc",), ("/etc/sub",))
    found = snapshots.choose(layout, selection)(layout, "one", selection)
    found.create()
    (Path(layout.real("/etc/sub")) / "mine").write_text("x")
    assert found.restore() == []
    assert (Path(layout.real("/etc/sub")) / "mine").exists()


def test_without_a_free_inode_a_file_is_written_in_its_own_blocks(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else can take them then, as when it is removed first."""
    path = Path(layout.real("/etc/plain"))
    os.unlink(layout.real("/etc/sub/hard"))
    found = take(layout)
    before, inode = path.stat(), path.stat().st_ino
    path.write_text("another, longer text")
    monkeypatch.setattr(Files, "create", no_room)
    assert found.restore() == ["/etc/plain"]
    assert found.remaining() == []
    assert (path.read_text(), path.stat().st_ino, path.stat().st_mode) == ("plain", inode, before.st_mode)


@pytest.mark.parametrize("mode", [0o660, 0o4755])
def test_a_file_that_somebody_may_have_open_for_writing_is_not_written_over(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    path = Path(layout.real("/etc/plain"))
    os.unlink(layout.real("/etc/sub/hard"))
    found = take(layout)
    path.write_text("another, longer text")
    path.chmod(mode)
    monkeypatch.setattr(Files, "create", no_room)
    with pytest.raises(OSError, match="No space"):
        found.restore()
    monkeypatch.undo()
    assert found.restore() == ["/etc/plain"] and found.remaining() == []


def no_room(files: Files, path: str) -> t.NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def test_a_damaged_description_has_a_copy(layout: Layout) -> None:
    found = take(layout)
    about = Path(found.folder) / "snapshot.json"
    about.write_bytes(b"\0" * 20)
    assert snapshots.load(layout, "one").selection == found.selection
    (Path(found.folder) / "snapshot.copy.json").unlink()
    with pytest.raises(OtaError, match=re.escape(str(about))):
        snapshots.load(layout, "one")
