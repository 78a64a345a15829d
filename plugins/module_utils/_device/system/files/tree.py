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
from .entries import ABSENT, TYPES, Entry, Pair, order
from .paths import resolve

#: Looks at a directory until nobody exchanged it between two of them; then it counts as not there.
_ATTEMPTS = 100
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


def look(layout: Layout, selection: Selection, *, content: bool = True) -> t.Iterator[Pair]:
    """What is there now: an entry for every selected path, absent ones included, in :func:`entries.order`.

    With ``content`` every regular file is read and hashed; without it, sizes only. What is in memory is one directory's
    names and what is on the way to it, whatever is in the trees.
    """
    with Files(layout.root, selection.trees) as files:
        yield from look_by(files, selection, content=content)


def look_by(files: Files, selection: Selection, *, content: bool) -> t.Iterator[Pair]:
    """The same by ``files``: what the caller does by them with a path that it just got is done in the directory in
    which that was seen."""
    return _Look(files, selection, content).all()


def one(layout: Layout, path: str) -> Entry:
    """What ``path`` is now, without its content."""
    return dict(look(layout, Selection((path,), (), ()), content=False)).get(path, ABSENT)


def described(fd: int, info: os.stat_result) -> Entry:
    """What ``fd`` is, content aside; ``info`` is what fstat says of it."""
    kind = TYPES[stat.S_IFMT(info.st_mode)]
    entry: Entry = {"t": kind, "m": stat.S_IMODE(info.st_mode), "u": info.st_uid, "g": info.st_gid}
    entry["mt"] = info.st_mtime_ns
    if kind == "f":
        entry["s"] = info.st_size
        if info.st_blocks * 512 < info.st_size:
            entry["a"] = info.st_blocks * 512
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


class _Inside(t.NamedTuple):
    """What fstat said of a directory, and the names in it that were not looked at yet."""

    info: os.stat_result
    names: t.Iterator[str]


class _Look:
    """One observation; it remembers the first path of each group of hard links, with its digest."""

    def __init__(self, files: Files, selection: Selection, content: bool) -> None:
        self.files, self.selection, self.content = files, selection, content
        self.links: dict[tuple[int, int], tuple[str, str]] = {}
        self.exclude = frozenset(selection.exclude)

    def all(self) -> t.Iterator[Pair]:
        """Look at every path and tree."""
        trees = frozenset(self.selection.trees)
        singles = frozenset(path for path in self.selection.paths if not covers(self.exclude, path))
        above: set[str] = set()
        for path in (*singles, *trees):
            folder = os.path.dirname(path)
            while folder not in above and folder not in ("/", ""):
                above.add(folder)
                folder = os.path.dirname(folder)
        walked = ""
        for path in sorted({*singles, *trees, *above}, key=order):
            if walked and path.startswith(walked):
                continue
            if path in trees:
                walked = path + "/"
                if path not in self.exclude:
                    entry, inside = self._seen(path)
                    if entry is not None:
                        yield path, entry
                    if inside is not None:
                        yield from self._walk(path, inside)
                continue
            entry, _info = self._entry_of(path)
            if path in singles:
                if entry is not None:
                    yield path, entry
            elif entry is not None and entry["t"] == "d":
                yield path, {**entry, "up": 1}

    def _walk(self, tree: str, here: _Inside) -> t.Iterator[Pair]:
        """What is below ``tree``. What is mounted in it since it was selected, and subvolumes, do not count."""
        device, pending = here.info.st_dev, [(tree, here)]
        while pending:
            folder, here = pending[-1]
            name = next(here.names, None)
            if name is None or not self._is_still(folder, here.info):
                pending.pop()
                continue
            path = os.path.join(folder, name)
            if path in self.exclude:
                continue
            entry, inside = self._seen(path, device)
            if entry is not None:
                yield path, entry
            if inside is not None:
                pending.append((path, inside))

    def _seen(self, path: str, device: int | None = None) -> tuple[Entry | None, _Inside | None]:
        """``path``, and what is in it if it is a directory: of that very one, whatever others exchange meanwhile."""
        for _attempt in range(_ATTEMPTS):
            entry, info = self._entry_of(path, device)
            if info is None or not stat.S_ISDIR(info.st_mode):
                return entry, None
            self.files.forget(path)
            try:
                names = iter(self.files.names(path))
                if self._is_still(path, info):
                    return entry, _Inside(info, names)
            except (FileNotFoundError, NotADirectoryError, Crossing):
                continue
        return None, None

    def _is_still(self, folder: str, info: os.stat_result) -> bool:
        try:
            return os.path.samestat(os.fstat(self.files.folder(folder).fd), info)
        except (FileNotFoundError, NotADirectoryError, Crossing):
            return False

    def _entry_of(self, path: str, device: int | None = None) -> tuple[Entry | None, os.stat_result | None]:
        """``path`` and what fstat says of it; nothing for what is mounted there, or a directory of another file system
        than ``device``."""
        try:
            fd, info = self.files.handle(path)
        except Crossing:
            return None, None
        except (FileNotFoundError, NotADirectoryError):
            return {"t": "-"}, None
        try:
            if device is not None and stat.S_ISDIR(info.st_mode) and info.st_dev != device:
                return None, None
            return self._entry(path, fd, info), info
        finally:
            os.close(fd)

    def _entry(self, path: str, fd: int, info: os.stat_result) -> Entry:
        entry = described(fd, info)
        if entry["t"] == "f":
            self._file(path, fd, info, entry)
        return entry

    def _file(self, path: str, fd: int, info: os.stat_result, entry: Entry) -> None:
        known = self.links.get((info.st_dev, info.st_ino)) if info.st_nlink > 1 else None
        if known is not None:
            entry["hl"] = known[0]
        if self.content:
            entry["h"] = known[1] if known is not None else hashing.of_descriptor(fd)
        if info.st_nlink > 1 and known is None:
            self.links[info.st_dev, info.st_ino] = (path, entry.get("h", ""))
