# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What is mounted where, from the kernel's own table (proc_pid_mountinfo(5))."""

from __future__ import annotations

import os
import re
import typing as t


class Mount(t.NamedTuple):
    """One mounted file system: where, its type, its device, and its options (of the mount and of the file system)."""

    point: str
    kind: str
    source: str
    options: frozenset[str] = frozenset()


def table() -> list[Mount]:
    """Every mount of this process's namespace, later ones last."""
    mounts = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as handle:
        for line in handle:
            before, _separator, after = line.partition(" - ")
            words = after.split()
            fields = before.split()
            options = frozenset((*fields[5].split(","), *words[2].split(",")))
            mounts.append(Mount(_plain(fields[4]), words[0], _plain(words[1]), options))
    return mounts


def of(path: str) -> Mount:
    """The mount that holds the real path ``path``."""
    best = Mount("", "", "")
    for entry in table():
        if within(path, entry.point) and len(entry.point) >= len(best.point):
            best = entry
    return best


def below(path: str) -> list[str]:
    """The mount points strictly below the real path ``path``."""
    return sorted({entry.point for entry in table() if entry.point != path and within(entry.point, path)})


def within(path: str, tree: str) -> bool:
    """Whether ``path`` is ``tree`` or below it."""
    return path == tree or path.startswith(tree.rstrip("/") + "/")


def nearest(path: str) -> os.stat_result:
    """lstat of ``path``, or of what exists above it."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return os.lstat(path)


def _plain(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), text)
