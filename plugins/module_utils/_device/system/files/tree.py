# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""A part of a file system as data: select it and observe it (:mod:`put_back` makes it so again)."""

from __future__ import annotations

import os
import stat
import typing as t

from .. import mounts
from ..layout import Layout
from . import attributes, hashing
from .descriptors import Crossing, Files
from .entries import TYPES, Entry, Manifest
from .paths import resolve

#: Opens the content of an entry for reading.
Source = t.Callable[[str, Entry], t.IO[bytes]]


class Selection(t.NamedTuple):
    """What to look at: ``paths`` one by one, ``trees`` with all below, and nothing at or below ``exclude``."""

    paths: tuple[str, ...]
    trees: tuple[str, ...]
    exclude: tuple[str, ...]

    def covers_tree(self, path: str) -> bool:
        """Whether ``path`` is in one of the trees, so that an unknown name there is an addition."""
        return covers(frozenset(self.trees), path)


def select(layout: Layout, paths: t.Iterable[str], trees: t.Iterable[str], exclude: t.Iterable[str]) -> Selection:
    """A selection with each path written one way: parents resolved (``/lib/x`` is ``/usr/lib/x`` on merged systems).

    What is mounted inside a tree is somebody else's and left out, its mount point too: a snapshot of the file system
    shows what lies below the mount. OtaError ``UNSAFE_PATH`` where a link on the way can be exchanged by a user.
    """
    named = {_normal(layout, path) for path in trees}
    outer = frozenset(tree for tree in named if not covers(named - {tree}, os.path.dirname(tree)))
    single = {_normal(layout, path) for path in paths}
    return Selection(
        tuple(sorted(path for path in single if not covers(outer, path))),
        tuple(sorted(outer)),
        tuple(sorted({_normal(layout, path) for path in exclude} | _mounted(layout, outer))),
    )


def covers(trees: t.AbstractSet[str], path: str) -> bool:
    """Whether ``path`` is one of ``trees`` or below one; in steps of its depth, not of their number."""
    while path not in trees:
        parent = os.path.dirname(path)
        if parent == path:
            return False
        path = parent
    return True


def _mounted(layout: Layout, trees: t.AbstractSet[str]) -> set[str]:
    top = layout.root.rstrip("/")
    points = {point[len(top) :] for point in mounts.below(layout.root)}
    return {point for point in points if covers(trees, point) and point not in trees}


def _normal(layout: Layout, path: str) -> str:
    parent, name = os.path.split(os.path.normpath(path))
    return os.path.join(resolve(parent) if layout.is_real else parent, name)


def observe(layout: Layout, selection: Selection, *, content: bool = True) -> Manifest:
    """What is there now: an entry for every selected path, absent ones included.

    With ``content`` every regular file is read and hashed; without it, sizes only.
    """
    with Files(layout.root, selection.trees) as files:
        return _Look(files, selection, content).all()


class _Look:
    """One observation: the manifest as it grows, and the first path of each group of hard links."""

    def __init__(self, files: Files, selection: Selection, content: bool) -> None:
        self.files, self.selection, self.content = files, selection, content
        self.manifest: Manifest = {}
        self.links: dict[tuple[int, int], str] = {}
        self.exclude = frozenset(selection.exclude)

    def all(self) -> Manifest:
        """Look at every path and tree."""
        for path in self.selection.paths:
            if not covers(self.exclude, path):
                self._on_the_way(os.path.dirname(path))
                self._add(path)
        for tree in self.selection.trees:
            self._on_the_way(os.path.dirname(tree))
            self._walk(tree)
        return self.manifest

    def _on_the_way(self, folder: str) -> None:
        while folder not in ("/", "") and folder not in self.manifest:
            self._add(folder)
            if self.manifest[folder]["t"] == "d":
                self.manifest[folder]["up"] = 1
            else:
                del self.manifest[folder]
            folder = os.path.dirname(folder)

    def _walk(self, tree: str) -> None:
        """What is mounted in the tree since it was selected, and subvolumes, do not count."""
        info = self._add(tree) if tree not in self.exclude else None
        if info is None or not stat.S_ISDIR(info.st_mode):
            return
        device, pending = info.st_dev, [tree]
        while pending:
            folder = pending.pop()
            try:
                names = self.files.names(folder)
            except (FileNotFoundError, NotADirectoryError, Crossing):
                continue
            inside = []
            for name in names:
                path = os.path.join(folder, name)
                if path in self.exclude:
                    continue
                below = self._add(path, device)
                if below is not None and stat.S_ISDIR(below.st_mode):
                    inside.append(path)
            pending.extend(reversed(inside))

    def _add(self, path: str, device: int | None = None) -> os.stat_result | None:
        """Note ``path``; None if it is not there, or a directory of another file system than ``device``."""
        noted = self.manifest.get(path)
        if noted is not None and "up" not in noted:
            return None
        try:
            fd, info = self.files.handle(path)
        except Crossing:
            return None
        except (FileNotFoundError, NotADirectoryError):
            self.manifest[path] = {"t": "-"}
            return None
        try:
            if device is not None and stat.S_ISDIR(info.st_mode) and info.st_dev != device:
                return None
            self.manifest[path] = self._entry(path, fd, info)
            return info
        finally:
            os.close(fd)

    def _entry(self, path: str, fd: int, info: os.stat_result) -> Entry:
        kind = TYPES[stat.S_IFMT(info.st_mode)]
        entry: Entry = {"t": kind, "m": stat.S_IMODE(info.st_mode), "u": info.st_uid, "g": info.st_gid}
        entry["mt"] = info.st_mtime_ns
        if kind == "f":
            self._file(path, fd, info, entry)
        elif kind == "l":
            entry["l"] = os.readlink("", dir_fd=fd)
        elif kind in "cb":
            entry["r"] = info.st_rdev
        extended, flags = attributes.extended(fd), attributes.flags(fd, info.st_mode)
        if extended:
            entry["x"] = extended
        if flags:
            entry["fl"] = flags
        return entry

    def _file(self, path: str, fd: int, info: os.stat_result, entry: Entry) -> None:
        entry["s"] = info.st_size
        if info.st_blocks * 512 < info.st_size:
            entry["a"] = info.st_blocks * 512
        first = self.links.setdefault((info.st_dev, info.st_ino), path) if info.st_nlink > 1 else path
        if first != path:
            entry["hl"] = first
        if self.content:
            noted = self.manifest.get(first, {}) if first != path else {}
            entry["h"] = noted["h"] if "h" in noted else hashing.of_descriptor(fd)
