# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Make a part of a file system what it was, from a manifest (:mod:`tree`) and the content that was kept."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import typing as t

from .. import durable
from ..layout import Layout
from ..mounts import within
from . import attributes, hashing
from .descriptors import Crossing, Files
from .entries import ABSENT, TYPES, Entry, Manifest
from .remove import remove
from .tree import Selection, Source

_BLOCK = 64 << 10
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
#: What a step says when names were exchanged under it.
_EXCHANGED = (
    *(errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENOTEMPTY),
    *(errno.ELOOP, errno.ESTALE, errno.EINVAL, errno.EXDEV),
)


def put_back(
    layout: Layout,
    before: Manifest,
    paths: t.Iterable[str],
    source: Source,
    *,
    trees: t.Iterable[str] = (),
    keep: t.Collection[str] = (),
) -> None:
    """Make each of ``paths`` what it is in ``before``; absent there means removed with all below, except ``keep``.

    Can be interrupted and run again any number of times. Removes first, so that it frees space before it needs some.
    Below ``trees`` no mount is entered.
    """
    with Files(layout.root, trees) as files:
        _Way(files, before, source, keep).back(sorted(paths))


def sweep(layout: Layout, selection: Selection, endings: t.Iterable[str] = ()) -> None:
    """Remove what an interrupted :func:`put_back` left beside single paths, and files that a package manager left
    there under names with ``endings``; in trees it shows as a difference."""
    with Files(layout.root, selection.trees) as files:
        for path in selection.paths:
            for left in (_temporary(path), *(path + ending for ending in endings)):
                if files.exists(left) and not files.is_directory(left):
                    remove(files, left)


def tidy(layout: Layout, paths: t.Iterable[str]) -> None:
    """fsync what :func:`put_back` changed: one flush for each file system that holds one of ``paths``."""
    devices = set()
    with Files(layout.root) as files:
        for folder in sorted({os.path.dirname(path) for path in paths}):
            while folder != "/" and not files.is_directory(folder):
                folder = os.path.dirname(folder)
            device = files.lstat(folder).st_dev
            if device not in devices:
                devices.add(device)
                fd, _info = files.handle(folder)
                try:
                    durable.sync_file_system(fd)
                finally:
                    os.close(fd)


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


def _temporary(path: str) -> str:
    """What a file is called before it takes the old one's place."""
    return os.path.join(os.path.dirname(path), ".fleet-ota.%s" % hashlib.sha256(os.fsencode(path)).hexdigest()[:16])


def _is_as_closed(info: os.stat_result, entry: Entry) -> bool:
    """Whether the directory that fstat says ``info`` of shows no more to others than ``entry`` does."""
    if info.st_uid != 0:
        return info.st_uid == entry["u"]
    return not info.st_mode & 0o077 & ~entry["m"]


class _Way:
    """One way back: every step by the descriptors of ``files``."""

    def __init__(self, files: Files, before: Manifest, source: Source, keep: t.Collection[str]) -> None:
        self.files, self.before, self.source, self.keep = files, before, source, keep

    def back(self, paths: t.Sequence[str]) -> None:
        """All steps, in the order that frees space first and links what is there already."""
        with self._unlocked(paths):
            for path in paths:  # also what is only changed inside: from the outside in, or nothing below can be reached
                self._step(path, self.files.unlock)
            for path in reversed(paths):
                if self._was(path)["t"] == "-":  # nor was anything mounted in it
                    self._step(path, lambda path: remove(self.files, path, keep=self.keep, unmounts=True))
            linked = []
            for path in paths:
                entry = self._was(path)
                if "hl" in entry:
                    linked.append(path)
                elif entry["t"] != "-":
                    self._step(path, self._put)
            for path in linked:
                self._step(path, self._put)
            for path in reversed(paths):  # from the inside out: filling a directory changes its time
                self._step(path, self._finish)

    def _step(self, path: str, step: t.Callable[[str], None]) -> None:
        """Do one step. What others exchange under it while it is done is left to the proof of the way back, which names
        it: they must not keep the rest from going back."""
        try:
            step(path)
        except OSError as error:
            if error.errno not in _EXCHANGED or self.files.closed(path):
                raise

    def _finish(self, path: str) -> None:
        entry = self._was(path)
        if entry["t"] == "d" and "up" not in entry:
            self._on(path, lambda fd: self._own(fd, path, entry))
        if entry.get("fl"):
            self.files.set_flags(path, entry["fl"])

    def _was(self, path: str) -> Entry:
        return self.before.get(path, ABSENT)

    @contextlib.contextmanager
    def _unlocked(self, paths: t.Iterable[str]) -> t.Iterator[None]:
        """The directories of ``paths`` that do not change themselves, open for changes of what is in them."""
        folders = {os.path.dirname(path) for path in paths}
        folders.difference_update(paths)
        locked: dict[str, int] = {}
        try:
            for folder in sorted(folders):
                if self.files.is_directory(folder):
                    flags = self._on(folder, lambda fd: attributes.flags(fd, os.fstat(fd).st_mode)) or 0
                    # one that was killed between these two lines and the last ones left it open: see before
                    locked[folder] = flags | self._was(folder).get("fl", 0)
                    if flags:
                        self.files.set_flags(folder, 0)
            yield
        finally:
            for folder, flags in locked.items():
                if flags and self.files.is_directory(folder):
                    self.files.set_flags(folder, flags)

    def _on(self, path: str, step: t.Callable[[int], int | None]) -> int | None:
        fd, _info = self.files.handle(path)
        try:
            return step(fd)
        finally:
            os.close(fd)

    def _own(self, fd: int, path: str, entry: Entry) -> None:
        """Give a directory that was there already its owner and mode, unless it is none of which ``before`` tells.

        Where others can exchange names, they can put a directory of root's there, for root to make it theirs; then the
        path stays different, which the proof of the way back says.
        """
        info = os.fstat(fd)
        is_same = (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (entry["u"], entry["g"], entry["m"])
        is_its_own = info.st_uid == entry["u"] != 0  # who could do that without us
        if is_same or is_its_own or self.files.closed(path) or self._is_known(fd, path):
            self.files.own(fd, entry)

    def _narrow(self, fd: int, path: str, entry: Entry) -> None:
        """Close a directory that is not as it was to all but root, while what was in it is put there."""
        info = os.fstat(fd)
        if not _is_as_closed(info, entry) and not self.files.closed(path):
            os.fchmod(fd, 0o700)
            os.fchown(fd, 0, 0)

    def _require_parent(self, path: str) -> None:
        """Nothing is put into a directory that lets others see more of it than the one in which it was."""
        above = os.path.dirname(path)
        was = self._was(above)
        if was["t"] == "d" and not self.files.closed(above):
            if not _is_as_closed(os.fstat(self.files.folder(above).fd), was):
                raise Crossing(errno.ESTALE, "was exchanged while it was put back", above)

    def _is_known(self, fd: int, path: str) -> bool:
        """Whether what is in the directory ``fd`` is what was in ``path``."""
        for name in os.listdir(fd):
            child = os.path.join(path, name)
            if any(within(one, child) for one in self.keep):
                continue
            was, info = self._was(child), os.stat(name, dir_fd=fd, follow_symlinks=False)
            kind = TYPES[stat.S_IFMT(info.st_mode)]
            rights = (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode))
            if was["t"] != kind or (was["u"], was["g"], was["m"]) != rights:
                return False
            if kind == "f" and (was["s"], was["mt"]) != (info.st_size, info.st_mtime_ns):
                return False
        return True

    def _put(self, path: str) -> None:
        files, entry = self.files, self._was(path)
        kind = entry["t"]
        self._make_parents(path)
        self._require_parent(path)
        present = files.exists(path) and TYPES[stat.S_IFMT(files.lstat(path).st_mode)]
        if present and present != kind:
            remove(files, path)
            present = False
        if kind == "s":
            return  # a socket lives with its process; nothing of it can be kept
        if kind == "d":
            if not present:
                files.mkdir(path)
            self._on(path, lambda fd: self._own(fd, path, entry) if not present else self._narrow(fd, path, entry))
            return  # one that is there gets its owner and mode when all in it is done
        temporary = _temporary(path)
        remove(files, temporary)
        try:
            self._make(temporary, path, entry)
        except OSError as error:  # no space beside the old one: its own space must do
            remove(files, temporary)
            if present and error.errno in _NO_ROOM and self._is_written_over(path, entry):
                return
            remove(files, path)
            self._make(temporary, path, entry)
        try:
            files.rename(temporary, path)
        except OSError as error:  # something is mounted on the file itself: it can only be written, not exchanged
            if error.errno != errno.EBUSY or kind != "f":
                raise
            remove(files, temporary)
            self._fill(files.overwrite(path), path, entry)

    def _is_written_over(self, path: str, entry: Entry) -> bool:
        """Whether a file got its content in its own blocks: nobody else can take them, as when it is removed first.

        It must be large enough for that, and nobody may run it or have it under another name, nor have it open who
        could not write what it is going to be.
        """
        if entry["t"] != "f" or "a" in entry or "hl" in entry:
            return False
        try:
            fd = self.files.overwrite(path)
        except OSError:
            return False
        info = os.fstat(fd)
        owners = (info.st_uid, info.st_gid) == (entry["u"], entry["g"])
        is_open = info.st_mode & 0o022 & ~entry["m"] or (info.st_mode | entry["m"]) & 0o6000
        has_holes = info.st_blocks * 512 < info.st_size  # which would have to be filled
        if not owners or is_open or has_holes or info.st_size < entry["s"]:
            os.close(fd)
            return False
        self._fill(fd, path, entry)
        return True

    def _make_parents(self, path: str) -> None:
        """Directories above that are gone, or something else by now."""
        missing = []
        folder = os.path.dirname(path)
        while folder != "/" and not self.files.is_directory(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for folder in reversed(missing):
            remove(self.files, folder)
            self.files.mkdir(folder, 0o755)
            entry = self.before.get(folder)
            if entry is not None and entry["t"] == "d":
                self._on(folder, lambda fd, folder=folder, entry=entry: self._own(fd, folder, entry))  # type: ignore[misc]

    def _make(self, temporary: str, path: str, entry: Entry) -> None:
        files, kind = self.files, entry["t"]
        if kind == "f" and "hl" in entry and self._has_content(entry["hl"], entry):
            files.link(entry["hl"], temporary)
            return
        if kind == "f":
            self._fill(files.create(temporary), path, entry)
            return
        if kind == "l":
            files.symlink(entry["l"], temporary)
        elif kind == "p":
            files.mknod(temporary, stat.S_IFIFO | 0o600)
        else:
            files.mknod(temporary, 0o600 | (stat.S_IFCHR if kind == "c" else stat.S_IFBLK), entry["r"])
        fd, info = files.handle(temporary)
        try:
            is_other = TYPES[stat.S_IFMT(info.st_mode)] != kind or info.st_rdev != entry.get("r", 0)
            if is_other or info.st_nlink != 1 or info.st_uid != os.geteuid():
                raise OSError("%s was exchanged while it was made" % temporary)
            files.own(fd, entry)
        finally:
            os.close(fd)

    def _fill(self, fd: int, path: str, entry: Entry) -> None:
        with os.fdopen(fd, "wb") as copy, self.source(path, entry) as content:
            if "a" in entry:
                copy.truncate(0)
                copy_sparse(content, copy)
            else:
                shutil.copyfileobj(content, copy, 1 << 20)
                copy.truncate()
            copy.flush()
            self.files.own(fd, entry)

    def _has_content(self, path: str, entry: Entry) -> bool:
        try:
            with self.files.open(path) as handle:
                return os.fstat(handle.fileno()).st_size == entry["s"] and hashing.of_stream(handle) == entry["h"]
        except OSError:
            return False
