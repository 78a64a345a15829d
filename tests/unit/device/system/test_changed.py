# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What changed since a moment is found, through no link, and what is known is left out."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.system.files import changed


@pytest.fixture()
def root(tmp_path: Path) -> Path:
    for name in ("etc/app/conf", "etc/app/old", "etc/known/a", "etc/other/b", "home/user/c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "etc/link").symlink_to(tmp_path / "home")
    return tmp_path


def moment(root: Path) -> int:
    """Now, as the file system's clock has it; whatever was there is older."""
    mark = root / "mark"
    while True:
        mark.write_text("")
        now = mark.stat().st_ctime_ns
        if all(os.lstat(str(path)).st_ctime_ns < now for path in root.rglob("*") if path != mark):
            return now


def found(root: Path, since: int, known: t.Callable[[str], bool] = lambda path: path == "/etc/known") -> list[str]:
    return sorted(changed.since(str(root), ["/etc", "/usr"], since, known, 10).paths)


def test_nothing_changed(root: Path) -> None:
    assert found(root, moment(root)) == []


def test_new_changed_and_removed_are_named_and_what_is_known_is_not(root: Path) -> None:
    since = moment(root)
    (root / "etc/app/conf").write_text("y")
    os.utime(str(root / "etc/app/conf"), ns=(1, 1))  # no program can set the ctime
    (root / "etc/new").mkdir()
    (root / "etc/new/file").write_text("z")
    (root / "etc/known/a").write_text("y")
    (root / "etc/other/b").unlink()
    (root / "home/user/c").write_text("y")  # reached by a link only
    assert found(root, since) == ["/etc/app/conf", "/etc/new/file", "/etc/other/"]
    assert "/etc/other/" not in found(root, since, lambda path: path == "/etc/other/")


def test_the_time_is_bounded(root: Path) -> None:
    assert not changed.since(str(root), ["/etc"], 0, lambda path: False, -1).whole
