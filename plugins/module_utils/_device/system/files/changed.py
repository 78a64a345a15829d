# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Which files of a tree changed since a moment, whoever changed them: by ctime, which no program can set."""

from __future__ import annotations

import os
import stat
import time
import typing as t

#: Asked of each directory and of each path that changed: whether it is known already; with a slash at the end, whether
#: it is known that something goes from that directory.
Known = t.Callable[[str], bool]
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
#: What interpreters keep beside their programs.
_SKIPPED = frozenset({"__pycache__"})


class Changed(t.NamedTuple):
    """``paths`` that changed, a directory from which something went with a slash at its end; ``whole`` unless the time
    was over before everything was seen.
    """

    paths: list[str]
    whole: bool


def since(root: str, trees: t.Iterable[str], moment: int, known: Known, seconds: float) -> Changed:
    """What changed below ``trees`` (seen from ``root``) at ``moment`` (nanoseconds) or later and is not ``known``.

    No link is followed and no other file system entered. Directories below a known one are not looked into.
    """
    paths: list[str] = []
    end = time.monotonic() + seconds
    for tree in trees:
        try:
            fd = os.open(root.rstrip("/") + tree, _OPEN)
        except OSError:  # a link (merged /usr), or not there
            continue
        try:
            if not _look(fd, tree, os.fstat(fd).st_dev, moment, known, end, paths):
                return Changed(paths, False)
        finally:
            os.close(fd)
    return Changed(paths, True)


def _look(fd: int, path: str, device: int, moment: int, known: Known, end: float, paths: list[str]) -> bool:
    """One directory and all below it; False if the time is over."""
    if time.monotonic() > end:
        return False
    explained = False
    try:
        with os.scandir(fd) as entries:
            children = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
    except OSError:  # it went meanwhile
        return True
    for name, info in children:
        child = path + "/" + name
        changed = info.st_ctime_ns >= moment
        explained = explained or changed
        if not stat.S_ISDIR(info.st_mode):
            if changed and not known(child):  # most files did not change, and to ask of each takes its time
                paths.append(child)
        elif info.st_dev == device and name not in _SKIPPED and not known(child):
            try:
                inner = os.open(name, _OPEN, dir_fd=fd)
            except OSError:
                continue
            try:
                if not _look(inner, child, device, moment, known, end, paths):
                    return False
            finally:
                os.close(inner)
    if not explained and os.fstat(fd).st_mtime_ns >= moment and not known(path + "/"):
        paths.append(path + "/")
    return True
