# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nothing that others exchange or mount while root works leads it elsewhere."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.system.files import descriptors as module
from ansible_collections.fleet.ota.plugins.module_utils._device.system.files.descriptors import Crossing, Files
from ansible_collections.fleet.ota.plugins.module_utils._device.system.files.remove import remove, remove_members

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A device: `/srv/app` is protected, `/etc/profile.d` is what must not be reached through it."""
    for folder in ("srv/app/z/deep", "etc/profile.d"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "srv/app/z/file").write_text("old")
    (tmp_path / "etc/profile.d/file").write_text("system")
    return tmp_path


def exchange(top: Path) -> None:
    """What the owner of `/srv/app` does between two calls of root's."""
    (top / "srv/app/z").rename(top / "srv/app/aside")
    (top / "srv/app/z").symlink_to("/etc/profile.d" if top == Path("/") else top / "etc/profile.d")


def test_a_link_on_the_way_is_no_directory(top: Path) -> None:
    exchange(top)
    with Files(str(top), ["/srv/app"]) as files:
        remove(files, "/srv/app/z/file")  # there is nothing of that name
        for call in (files.open, files.lstat, files.names, files.unlink, files.mkdir, files.create):
            with pytest.raises(NotADirectoryError):
                call("/srv/app/z/file" if call != files.names else "/srv/app/z")
    assert (top / "etc/profile.d/file").read_text() == "system"


def test_a_directory_stays_the_one_that_was_opened(top: Path) -> None:
    with Files(str(top), ["/srv/app"]) as files:
        files.lstat("/srv/app/z/file")
        exchange(top)
        os.close(files.create("/srv/app/z/new"))
        files.unlink("/srv/app/z/file")
    assert os.listdir(top / "etc/profile.d") == ["file"]
    assert sorted(os.listdir(top / "srv/app/aside")) == ["deep", "new"]


def test_a_link_is_removed_and_not_what_it_leads_to(top: Path) -> None:
    exchange(top)
    with Files(str(top), ["/srv/app"]) as files:
        remove(files, "/srv/app/z")
        remove(files, "/srv/app")
        remove(files, "/srv/app")
    assert os.listdir(top / "etc/profile.d") == ["file"]
    assert not (top / "srv/app").exists()


def test_a_file_that_became_something_else_is_not_read(top: Path) -> None:
    (top / "srv/app/z/file").unlink()
    os.mkfifo(top / "srv/app/z/file")
    with Files(str(top)) as files, pytest.raises(Crossing, match="is no file any more"):
        files.open("/srv/app/z/file")


def test_attributes_go_to_what_is_open_and_not_to_what_has_its_name(top: Path) -> None:
    entry = {"t": "f", "u": os.geteuid(), "g": os.getegid(), "m": 0o640, "mt": 5}
    with Files(str(top)) as files:
        fd = files.create("/srv/app/new")
        (top / "srv/app/new").rename(top / "srv/app/moved")
        (top / "srv/app/new").symlink_to(top / "etc/profile.d/file")
        mode = (top / "etc/profile.d/file").stat().st_mode
        files.own(fd, entry)
        os.close(fd)
    assert (top / "etc/profile.d/file").stat().st_mode == mode
    assert stat.S_IMODE((top / "srv/app/moved").stat().st_mode) == 0o640
    assert (top / "srv/app/moved").stat().st_mtime_ns == 5


def test_attributes_of_a_link_are_its_own(top: Path) -> None:
    with Files(str(top)) as files:
        files.symlink("../../etc/profile.d/file", "/srv/app/link")
        before = (top / "etc/profile.d/file").stat()
        fd, info = files.handle("/srv/app/link")
        assert stat.S_ISLNK(info.st_mode)
        files.own(fd, {"t": "l", "u": os.geteuid(), "g": os.getegid(), "m": 0o777, "mt": 7})
        os.close(fd)
    assert (top / "srv/app/link").lstat().st_mtime_ns == 7
    assert (top / "etc/profile.d/file").stat() == before


def test_large_trees_need_few_descriptors(tmp_path: Path) -> None:
    for number in range(3 * module._OPEN_AT_MOST):
        (tmp_path / ("d%d/e" % number)).mkdir(parents=True)
        (tmp_path / ("d%d/e/f" % number)).touch()
    before = len(os.listdir("/proc/self/fd"))
    with Files(str(tmp_path), ["/"]) as files:
        seen = [folder for folder, _names in files.walk("/")]
        assert len(seen) == 1 + 6 * module._OPEN_AT_MOST
        assert len(os.listdir("/proc/self/fd")) <= before + module._OPEN_AT_MOST + 1
        remove(files, "/d7")
    assert len(os.listdir("/proc/self/fd")) == before
    assert not (tmp_path / "d7").exists()


def test_what_is_kept_stays_when_a_tree_goes(top: Path) -> None:
    (top / "srv/app/z/deep/kept").touch()
    (top / "srv/app/z/deep/other").touch()
    with Files(str(top)) as files:
        remove(files, "/srv/app", keep=["/srv/app/z/deep/kept"])
    assert [str(path.relative_to(top)) for path in sorted((top / "srv").rglob("*")) if path.is_file()] == [
        "srv/app/z/deep/kept"
    ]


MOUNTED = """
import errno, os, subprocess, sys
sys.path.insert(0, sys.argv[1])
from _device.system.files.descriptors import Crossing, Files
from _device.system.files.remove import remove

top = sys.argv[2]
subprocess.run(["mount", "--bind", top + "/etc", top + "/srv/app/z/deep"], check=True)
with Files(top, ["/srv/app"]) as files:
    inside = lambda path: files.lstat(path + "/x"), lambda path: files.mkdir(path + "/x")
    for call in (files.names, lambda path: remove(files, path), *inside):
        try:
            call("/srv/app/z/deep")
        except Crossing as error:
            assert error.errno == errno.EBUSY, error
        else:
            raise SystemExit("entered the mount by %s" % call)
    try:
        remove(files, "/srv")
    except Crossing as error:
        assert "z/deep" in str(error), error
    else:
        raise SystemExit("removed around the mount")
assert os.path.exists(top + "/srv/app/z/file"), "removed before the mount was seen"
with Files(top) as files:
    assert files.names("/srv/app/z/deep") == ["profile.d"]
"""


@ROOT
def test_a_bind_mount_of_the_same_file_system_is_never_entered(top: Path) -> None:
    """Its device number is that of the tree around it."""
    utils = str(Path(module.__file__).resolve().parents[3])
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", MOUNTED, utils, str(top)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (top / "etc/profile.d/file").read_text() == "system"


def test_a_tree_of_any_depth_can_be_removed(top: Path) -> None:
    fd = os.open(top / "srv/app/z/deep", os.O_RDONLY)
    for _level in range(1100):  # more than Python's limit of recursion: who owns a tree says how deep it is
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    with Files(str(top), ["/srv/app"]) as files:
        remove(files, "/srv/app/z")
    assert os.listdir(top / "srv/app") == []


def test_who_holds_a_lease_is_waited_for(top: Path) -> None:
    code = "import fcntl,os,signal,sys; signal.signal(signal.SIGIO, lambda *a: sys.exit());"
    code += "fcntl.fcntl(os.open(sys.argv[1], os.O_RDWR), 1024, fcntl.F_WRLCK); print(flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", code, str(top / "srv/app/z/file")], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline()
        with Files(str(top), ["/srv/app"]) as files, files.open("/srv/app/z/file") as handle:
            assert handle.read() == b"old"


def test_what_took_the_place_of_a_directory_gets_nobodys_owner(top: Path) -> None:
    os.link(str(top / "etc/profile.d/file"), str(top / "srv/app/d"))
    entry = {"t": "d", "m": 0o755, "u": os.geteuid(), "g": os.getegid(), "mt": 0}
    with Files(str(top), ["/srv/app"]) as files:
        fd, _info = files.handle("/srv/app/d")
        with pytest.raises(Crossing):
            files.own(fd, entry)
        os.close(fd)
    assert stat.S_IMODE((top / "etc/profile.d/file").stat().st_mode) != 0o755


MOUNTED_OVER = """
import os, subprocess, sys
sys.path.insert(0, sys.argv[1])
from _device.system.files.descriptors import Crossing, Files

top = sys.argv[2]
subprocess.run(["mount", "--bind", top + "/etc", top + "/srv/app/z"], check=True)
with Files(top, ["/srv/app"]) as files:
    try:
        files.chmod("/srv/app/z", 0o777)
    except Crossing:
        raise SystemExit(0 if os.stat(top + "/etc").st_mode & 0o777 != 0o777 else "changed")
raise SystemExit("took what is mounted there for the directory")
"""


@ROOT
def test_what_is_mounted_over_a_directory_is_not_that_directory(top: Path) -> None:
    utils = str(Path(module.__file__).resolve().parents[3])
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", MOUNTED_OVER, utils, str(top)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_members_cache_is_all_that_goes_beside_members(top: Path) -> None:
    for name in ("__pycache__/one.pyc", "__pycache__/letter", "program"):
        (top / "srv/app/z" / name).parent.mkdir(exist_ok=True)
        (top / "srv/app/z" / name).write_text("x")
    with Files(str(top), ["/srv/app"]) as files:
        left = remove_members(files, "/srv/app/z", {"program", "file"})
    assert left == ["/srv/app/z/__pycache__/letter"]
    assert sorted(os.listdir(top / "srv/app/z")) == ["__pycache__"]
