# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""A part of a file system as data: observe it, compare it, put it back (:mod:`entries`)."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import typing as t

from . import attributes, durable, hashing, mounts
from .entries import ABSENT, Entry, Manifest
from .layout import Layout

#: Opens the content of an entry for reading.
Source = t.Callable[[str, Entry], t.IO[bytes]]
_BLOCK = 64 << 10
_TYPES = {
    stat.S_IFREG: "f",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFIFO: "p",
    stat.S_IFCHR: "c",
    stat.S_IFBLK: "b",
    stat.S_IFSOCK: "s",
}


class Selection(t.NamedTuple):
    """What to look at: ``paths`` one by one, ``trees`` with all below, and nothing at or below ``exclude``."""

    paths: tuple[str, ...]
    trees: tuple[str, ...]
    exclude: tuple[str, ...]

    def covers_tree(self, path: str) -> bool:
        """Whether ``path`` is in one of the trees, so that an unknown name there is an addition."""
        return any(_within(path, tree) for tree in self.trees)


def select(layout: Layout, paths: t.Iterable[str], trees: t.Iterable[str], exclude: t.Iterable[str]) -> Selection:
    """A selection with each path written one way: parents resolved (``/lib/x`` is ``/usr/lib/x`` on merged systems).

    What is mounted inside a tree does not belong to it and is left out, with its mount point: a snapshot of the file
    system shows what lies below the mount.
    """
    named = sorted({_normal(layout, path) for path in trees})
    outer = [tree for tree in named if not any(other != tree and _within(tree, other) for other in named)]
    single = {_normal(layout, path) for path in paths}
    return Selection(
        tuple(sorted(path for path in single if not any(_within(path, tree) for tree in outer))),
        tuple(outer),
        tuple(sorted({_normal(layout, path) for path in exclude} | _mounted(layout, outer))),
    )


def _mounted(layout: Layout, trees: t.Iterable[str]) -> set[str]:
    top = layout.root.rstrip("/")
    return {point[len(top) :] for path in trees for point in mounts.below(layout.real(path))}


def _normal(layout: Layout, path: str) -> str:
    parent, name = os.path.split(os.path.normpath(path))
    if layout.is_real:
        parent = os.path.realpath(parent)
    return os.path.join(parent, name)


def _within(path: str, tree: str) -> bool:
    return path == tree or path.startswith(tree.rstrip("/") + "/")


def observe(layout: Layout, selection: Selection, *, content: bool = True) -> Manifest:
    """What is there now: an entry for every selected path, absent ones included.

    With ``content`` every regular file is read and hashed; without it, sizes only.
    """
    manifest: Manifest = {}
    links: dict[tuple[int, int], str] = {}
    for path in selection.paths:
        if not any(_within(path, out) for out in selection.exclude):
            _add(layout, path, manifest, links, content)
    for tree in selection.trees:
        _walk(layout, tree, selection.exclude, manifest, links, content)
    return manifest


def _walk(
    layout: Layout,
    tree: str,
    exclude: tuple[str, ...],
    manifest: Manifest,
    links: dict[tuple[int, int], str],
    content: bool,
) -> None:
    device: int | None = None
    todo = [tree]
    while todo:
        path = todo.pop()
        if path in exclude:
            continue
        info = _add(layout, path, manifest, links, content)
        if info is None or not stat.S_ISDIR(info.st_mode):
            continue
        if device is None:
            device = info.st_dev
        if info.st_dev != device:
            continue  # mounted since, or a subvolume: its content does not count
        try:
            todo.extend(os.path.join(path, name) for name in sorted(os.listdir(layout.real(path)), reverse=True))
        except FileNotFoundError:
            continue


def _add(
    layout: Layout, path: str, manifest: Manifest, links: dict[tuple[int, int], str], content: bool
) -> os.stat_result | None:
    real = layout.real(path)
    try:
        info = os.lstat(real)
        kind = _TYPES[stat.S_IFMT(info.st_mode)]
        entry: Entry = {"t": kind, "m": stat.S_IMODE(info.st_mode), "u": info.st_uid, "g": info.st_gid}
        entry["mt"] = info.st_mtime_ns
        if kind == "f":
            entry["s"] = info.st_size
            if info.st_blocks * 512 < info.st_size:
                entry["a"] = info.st_blocks * 512
            first = links.setdefault((info.st_dev, info.st_ino), path) if info.st_nlink > 1 else path
            if first != path:
                entry["hl"] = first
            if content:
                entry["h"] = (
                    manifest[first]["h"] if first != path and "h" in manifest.get(first, {}) else hashing.of_file(real)
                )
        elif kind == "l":
            entry["l"] = os.readlink(real)
        elif kind in "cb":
            entry["r"] = info.st_rdev
        extended, flags = attributes.extended(real), attributes.flags(real, info.st_mode)
        if extended:
            entry["x"] = extended
        if flags:
            entry["fl"] = flags
    except (FileNotFoundError, NotADirectoryError):
        manifest[path] = ABSENT.copy()
        return None
    manifest[path] = entry
    return info


def put_back(layout: Layout, before: Manifest, paths: t.Iterable[str], source: Source) -> None:
    """Make each of ``paths`` what it is in ``before``; absent there means removed with all below.

    Can be interrupted and run again any number of times. Removes first, so that it frees space before it needs some.
    """
    changed = sorted(paths)
    with _unlocked(layout, {os.path.dirname(path) for path in changed} - set(changed)):
        for path in changed:  # also what is only changed inside: from the outside in, or nothing below can be reached
            attributes.unlock(layout.real(path))
        for path in reversed(changed):
            if before.get(path, ABSENT)["t"] == "-":
                _remove(layout.real(path))
        for path in changed:
            entry = before.get(path, ABSENT)
            if entry["t"] != "-":
                _put(layout, path, entry, source)
        for path in reversed(changed):  # from the inside out: filling a directory changes its time
            entry = before.get(path, ABSENT)
            if entry["t"] == "d":
                os.utime(layout.real(path), ns=(entry["mt"], entry["mt"]))
            if entry.get("fl"):
                attributes.set_flags(layout.real(path), entry["fl"])


@contextlib.contextmanager
def _unlocked(layout: Layout, folders: t.Iterable[str]) -> t.Iterator[None]:
    """Directories that do not change themselves, open for changes of what is in them."""
    locked: dict[str, int] = {}
    try:
        for real in sorted(layout.real(folder) for folder in folders):
            flags = attributes.flags(real, os.lstat(real).st_mode) if os.path.isdir(real) else 0
            if flags:
                locked[real] = flags
                attributes.set_flags(real, 0)
        yield
    finally:
        for real, flags in locked.items():
            if os.path.isdir(real):
                attributes.set_flags(real, flags)


def sweep(layout: Layout, selection: Selection) -> None:
    """Remove what an interrupted :func:`put_back` left beside single paths; in trees it shows as a difference."""
    for path in selection.paths:
        _remove(_temporary(layout.real(path)))


def _temporary(real: str) -> str:
    """What a file is called before it takes the old one's place."""
    return os.path.join(os.path.dirname(real), ".fleet-ota.%s" % hashlib.sha256(os.fsencode(real)).hexdigest()[:16])


def _remove(real: str) -> None:
    try:
        info = os.lstat(real)
    except (FileNotFoundError, NotADirectoryError):
        return
    if not stat.S_ISDIR(info.st_mode):
        attributes.unlock(real)
        os.unlink(real)
        return
    inside = [point for point in (real, *mounts.below(real)) if os.path.ismount(point)]
    if inside:  # never empty what is mounted there
        raise OSError(errno.EBUSY, "something is mounted there; unmount it", inside[0])
    for folder, _folders, names in os.walk(real):
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            attributes.unlock(path)
    shutil.rmtree(real)


def _put(layout: Layout, path: str, entry: Entry, source: Source) -> None:
    real = layout.real(path)
    kind = entry["t"]
    present = os.path.lexists(real) and _TYPES[stat.S_IFMT(os.lstat(real).st_mode)]
    if present and present != kind:
        _remove(real)
        present = False
    if kind == "d":
        if not present:
            os.mkdir(real)
    elif kind == "s":
        return  # a socket lives with its process; nothing of it can be kept
    else:
        temporary = _temporary(real)
        _remove(temporary)
        try:
            _make(layout, temporary, path, entry, source)
        except OSError:  # no space beside the old one: its own space must do
            _remove(temporary)
            _remove(real)
            _make(layout, temporary, path, entry, source)
        _own(temporary, entry)
        os.rename(temporary, real)
        return
    _own(real, entry)


def _make(layout: Layout, temporary: str, path: str, entry: Entry, source: Source) -> None:
    kind = entry["t"]
    if kind == "l":
        os.symlink(entry["l"], temporary)
    elif kind == "p":
        os.mkfifo(temporary)
    elif kind in "cb":
        os.mknod(temporary, entry["m"] | (stat.S_IFCHR if kind == "c" else stat.S_IFBLK), entry["r"])
    elif "hl" in entry and _same_content(layout.real(entry["hl"]), entry):
        os.link(layout.real(entry["hl"]), temporary)
    else:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with source(path, entry) as content, os.fdopen(fd, "wb") as copy:
            copy_sparse(content, copy) if "a" in entry else shutil.copyfileobj(content, copy, 1 << 20)


def copy_sparse(content: t.IO[bytes], copy: t.IO[bytes]) -> None:
    """Copy, leaving a hole wherever there are only zeros."""
    block = content.read(_BLOCK)
    while block:
        if block.count(0) == len(block):
            copy.seek(len(block), os.SEEK_CUR)
        else:
            copy.write(block)
        block = content.read(_BLOCK)
    copy.truncate(copy.tell())


def _same_content(real: str, entry: Entry) -> bool:
    try:
        return os.lstat(real).st_size == entry["s"] and hashing.of_file(real) == entry["h"]
    except OSError:
        return False


def _own(real: str, entry: Entry) -> None:
    """Owner, mode, attributes, time: in this order, for a change of owner clears set-id bits and capabilities."""
    info = os.lstat(real)
    if (info.st_uid, info.st_gid) != (entry["u"], entry["g"]):
        os.chown(real, entry["u"], entry["g"], follow_symlinks=False)
    if entry["t"] != "l":
        os.chmod(real, entry["m"])
    attributes.set_extended(real, entry.get("x", {}))
    os.utime(real, ns=(entry["mt"], entry["mt"]), follow_symlinks=False)


def tidy(layout: Layout, paths: t.Iterable[str]) -> None:
    """fsync what :func:`put_back` changed: one flush for each file system that holds one of ``paths``."""
    devices = set()
    for path in paths:
        real = layout.real(path)
        while not os.path.isdir(real) or os.path.islink(real):
            real = os.path.dirname(real)
        device = os.lstat(real).st_dev
        if device not in devices:
            devices.add(device)
            durable.sync_tree(real)
