# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots on real file systems: the cases that devices in the field bring."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base.errors import OtaError
from ansible_collections.fleet.ota.plugins.module_utils._device.kinds import snapshots
from ansible_collections.fleet.ota.plugins.module_utils._device.system.files import attributes, entries, tree
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting file systems needs root")
IMMUTABLE = 0x10
#: Program that makes each file system, and the Debian package that has it.
MAKERS = {
    "ext4": (["mkfs.ext4", "-q", "-F"], "e2fsprogs"),
    "xfs": (["mkfs.xfs", "-q"], "xfsprogs"),
    "btrfs": (["mkfs.btrfs", "-q"], "btrfs-progs"),
}


def run(*argv: str) -> str:
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.fixture(params=sorted(MAKERS))
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> t.Iterator[Path]:
    """A mounted file system of 400 MiB."""
    yield from mounted(request.param, tmp_path, 400)


def mounted(kind: str, folder: Path, size: int) -> t.Iterator[Path]:
    argv, package = MAKERS[kind]
    if shutil.which(argv[0]) is None:
        patience = ("-o", "DPkg::Lock::Timeout=600")  # other tests may be installing something
        run("apt-get", *patience, "install", "-y", "-q", "--no-install-recommends", package)
    image, place = folder / "image", folder / "mounted"
    with image.open("wb") as handle:
        handle.truncate(size << 20)
    run(*argv, str(image))
    place.mkdir()
    run("mount", "-o", "loop", str(image), str(place))
    try:
        yield place
    finally:
        run("umount", "--recursive", "--lazy", str(place))


def take(layout: Layout, *trees: str, kind: str = "auto", paths: t.Sequence[str] = ()) -> snapshots.Base:
    selection = tree.select(layout, paths, trees, (layout.state_dir,))
    found = snapshots.choose(layout, selection, kind)(layout, "one", selection)
    found.create()
    found.prove()
    return snapshots.load(layout, "one")


@pytest.fixture()
def layout(disk: Path) -> Layout:
    found = Layout(str(disk))
    found.prepare()
    return found


def set_flags(path: Path, flags: int) -> None:
    """Lock or unlock a file or directory, as chattr(1) does."""
    fd = os.open(str(path), os.O_RDONLY)
    attributes.set_flags(fd, flags)
    os.close(fd)


def everything(etc: Path) -> None:
    """A file of every kind that a device may have."""
    (etc / "sub").mkdir(parents=True)
    (etc / "plain").write_text("plain")
    os.link(str(etc / "plain"), str(etc / "sub/hard"))
    (etc / os.fsdecode(b"caf\xe9")).write_text("not UTF-8")
    os.mkfifo(str(etc / "fifo"))
    os.mknod(str(etc / "null"), 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(str(etc))  # the name of a socket is short
        listener.bind("socket")
        os.chdir(here)
    with (etc / "big").open("wb") as handle:
        handle.seek(64 << 20)
        handle.write(b"end")
    (etc / "tool").write_text("#!/bin/sh\n")
    (etc / "locked").write_text("locked")
    os.setxattr(str(etc / "plain"), "user.kept", b"1")
    # An ACL (version 2; u::rw- u:12:r-- g::r-- m::r-- o::---) and a capability (version 2, cap_net_raw+ep).
    entry = b"".join(
        tag.to_bytes(2, "little") + mode.to_bytes(2, "little") + who.to_bytes(4, "little")
        for tag, mode, who in (
            (1, 6, 0xFFFFFFFF),
            (2, 4, 12),
            (4, 4, 0xFFFFFFFF),
            (16, 4, 0xFFFFFFFF),
            (32, 0, 0xFFFFFFFF),
        )
    )
    os.setxattr(str(etc / "plain"), "system.posix_acl_access", (2).to_bytes(4, "little") + entry)
    capability = (0x02000001).to_bytes(4, "little") + (1 << 13).to_bytes(4, "little") + bytes(12)
    os.setxattr(str(etc / "tool"), "security.capability", capability)
    set_flags(etc / "locked", IMMUTABLE)
    set_flags(etc / "sub", IMMUTABLE)


def test_every_kind_of_file_comes_back_on_every_file_system(layout: Layout) -> None:
    etc = Path(layout.real("/etc"))
    everything(etc)
    found = take(layout, "/etc")
    before = dict(found.pairs())
    assert before["/etc/locked"]["fl"] == IMMUTABLE
    for name in ("locked", "sub"):
        set_flags(etc / name, 0)
    shutil.rmtree(str(etc))
    etc.mkdir()
    (etc / "plain").mkdir()
    (etc / "new").write_text("x")
    set_flags(etc / "new", IMMUTABLE)
    set_flags(etc, IMMUTABLE)

    found.restore()
    assert found.remaining() == []
    assert (etc / "plain").stat().st_ino == (etc / "sub/hard").stat().st_ino
    assert (etc / "big").stat().st_size == (64 << 20) + 3 and (etc / "big").stat().st_blocks * 512 < 1 << 20
    now = dict(tree.look(layout, found.selection))
    for name in ("locked", "sub", "tool", "plain", "null", "fifo"):
        assert entries.same(now["/etc/" + name], before["/etc/" + name]), name
    with pytest.raises(PermissionError):
        (etc / "locked").write_text("x")
    assert not (etc / "new").exists()
    for name in ("locked", "sub"):
        set_flags(etc / name, 0)


@pytest.mark.long
def test_a_file_over_4_gib_on_a_disk_of_400_mib(layout: Layout) -> None:
    big = Path(layout.real("/etc")) / "big"
    big.parent.mkdir()
    with big.open("wb") as handle:
        handle.seek(5 << 30)
        handle.write(b"end")
    found = take(layout, "/etc", kind="files")
    big.unlink()
    assert found.restore() == ["/etc/big"]
    assert found.remaining() == []
    assert big.stat().st_size == (5 << 30) + 3 and big.stat().st_blocks * 512 < 1 << 20


def test_a_mount_inside_the_tree_is_left_alone(layout: Layout) -> None:
    etc = Path(layout.real("/etc"))
    (etc / "mine").mkdir(parents=True)
    run("mount", "-t", "tmpfs", "tmpfs", str(etc / "mine"))
    (etc / "mine/other").write_text("theirs")
    found = take(layout, "/etc")
    assert "/etc/mine" not in dict(found.pairs())
    (etc / "plain").write_text("new")
    (etc / "mine/other").write_text("still theirs")
    (etc / "mine").chmod(0o711)
    assert found.restore() == ["/etc/plain"]
    assert (etc / "mine/other").read_text() == "still theirs"
    # Nothing was mounted in what was absent: it is taken off, and nothing of what it holds.
    later, data = etc / "later/below", Path(layout.real("/data"))
    later.mkdir(parents=True)
    data.mkdir()
    (data / "precious").write_text("theirs")
    (later / "own").write_text("under it")
    for _twice in range(2):
        run("mount", "--bind", str(data), str(later))
    with (later / "precious").open():  # in use
        found.restore()
    assert (data / "precious").read_text() == "theirs"
    assert not (etc / "later").exists()


def test_too_big_says_how_much_and_full_while_growing_leaves_nothing(layout: Layout) -> None:
    etc = Path(layout.real("/etc"))
    etc.mkdir()
    with (etc / "big").open("wb") as handle:
        for _number in range(220):
            handle.write(os.urandom(1 << 20))
    selection = tree.select(layout, (), ("/etc",), ())
    found = snapshots.choose(layout, selection, "files")(layout, "one", selection)
    assert found.estimate() > 440 << 20
    with pytest.raises(OtaError) as error:
        found.create()
    assert error.value.code == "NO_SPACE"
    assert not os.path.exists(found.folder)


def test_a_snapshot_that_went_bad_changes_nothing(layout: Layout) -> None:
    etc = Path(layout.real("/etc"))
    etc.mkdir()
    (etc / "one").write_text("one")
    (etc / "two").write_text("two")
    found = take(layout, "/etc", kind="files")
    content = Path(found.folder) / "content"
    content.write_bytes(b"one" + b"x" * 3)
    (etc / "one").write_text("new")
    (etc / "two").write_text("new")
    with pytest.raises(OtaError) as error:
        found.restore()
    assert error.value.code == "RESTORE"
    assert (etc / "one").read_text() == "new", "half of the way back is worse than none of it"


def test_a_file_that_goes_away_while_the_snapshot_is_taken(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    etc = Path(layout.real("/etc"))
    etc.mkdir()
    for name in "abc":
        (etc / name).write_text(name)
    os.link(str(etc / "a"), str(etc / "z"))
    real = tree.look_by
    seen: list[int] = []

    def racing(files: t.Any, selection: t.Any, *, content: bool) -> t.Iterator[entries.Pair]:
        result = list(real(files, selection, content=content))
        if not seen:
            (etc / "a").unlink()
            (etc / "b").unlink()
            (etc / "b").mkdir()
            (etc / "c").write_text("grown")
        seen.append(1)
        return iter(result)

    monkeypatch.setattr(tree, "look_by", racing)
    selection = tree.select(layout, (), ("/etc",), ())
    found = snapshots.choose(layout, selection, "files")(layout, "one", selection)
    found.create()
    monkeypatch.undo()
    found.prove()
    manifest = dict(found.pairs())
    assert [manifest["/etc/" + name]["t"] for name in "abcz"] == ["-", "d", "f", "f"]
    (etc / "c").write_text("other")
    (etc / "z").unlink()
    found.restore()
    assert ((etc / "c").read_text(), (etc / "z").read_text()) == ("grown", "a")


def test_what_lies_outside_the_root_volume_goes_back_with_it(tmp_path: Path) -> None:
    for place in mounted("btrfs", tmp_path, 400):
        root = place / "root"
        run("btrfs", "-q", "subvolume", "create", str(root))
        layout = Layout(str(root))
        layout.prepare()
        for name in ("boot", "etc", "home"):
            (root / name).mkdir()
        run("btrfs", "-q", "subvolume", "create", str(root / "home/sub"))
        run("mount", "-t", "tmpfs", "tmpfs", str(root / "boot"))
        for name in ("boot/kernel", "etc/conf", "home/sub/app"):
            (root / name).write_text("old")
        found = take(layout, "/etc", "/boot", "/home/sub")
        assert found.kind == "btrfs"
        for name in ("boot/kernel", "etc/conf", "home/sub/app", "boot/new"):
            (root / name).write_text("new")
        assert found.restore() == ["/boot/kernel", "/boot/new", "/etc/conf", "/home/sub/app"]
        assert found.remaining() == []
        assert (root / "boot/kernel").read_text() == (root / "home/sub/app").read_text() == "old"
        # Left by a killed run: nobody wrote down what it is.
        (Path(found.folder) / "snapshot.json").unlink()
        found.create()
        (Path(found.folder) / "snapshot.json").unlink()
        snapshots.remove(layout, "one")
        assert not os.path.exists(found.folder)
        assert "snapshots" not in run("btrfs", "subvolume", "list", str(place))
