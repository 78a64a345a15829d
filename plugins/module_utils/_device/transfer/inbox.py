# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.
"""Where payloads arrive: one writer per file, never more than there is room for.

A file that is still arriving (``SHA256.part``) belongs to the process that holds its lock and still finds it under
its name. A process that keeps an old one open can write to it for ever: it is not read any more, and it is
not the file that was checked.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import time
import typing as t

from ..base import schema
from ..base.errors import OtaError
from ..enrolment import sealed
from ..system import durable, lock
from ..system.files import hashing
from ..system.layout import Layout

#: On a sealed device: files that were not written to for so many seconds make room for others.
_STALE = 3600
_MOST_FILES = 1000
_BLOCK = 1 << 18
#: Seconds that another session may take to write a block, or to copy what it goes on with.
_PATIENCE = 60.0


def name(digest: object) -> str:
    """``digest`` as the name of a file in the inbox; OtaError ``METADATA`` if it is not a SHA-256."""
    if not isinstance(digest, str) or not schema.SHA256.match(digest):
        raise OtaError("METADATA", "%r is not a SHA-256" % (digest,))
    return digest


def part(layout: Layout, digest: str) -> str:
    """Where a payload lies while it arrives."""
    return layout.file("inbox", name(digest) + ".part")


class Handle(io.FileIO):
    """The part of a payload, while it arrives. What is written to it has room, also when several sessions write."""

    def __init__(self, layout: Layout, digest: str, descriptor: int) -> None:
        super().__init__(descriptor, "r+")
        self._layout, self._digest = layout, digest

    def write(self, block: t.Any) -> int:
        """Write ``block``; OtaError ``NO_SPACE`` without room, ``FETCH`` once another session took the part over."""
        with _alone(self._layout):
            if not _is_at(self, part(self._layout, self._digest)):
                raise _taken_over(self._digest)
            room(self._layout, self._digest, len(block))
            return super().write(block)


@contextlib.contextmanager
def own(layout: Layout, digest: str) -> t.Iterator[Handle]:
    """The part of a payload, for this process alone.

    If another process holds it (often a session whose link died unnoticed), this goes on with a copy in its place, and
    the other one finds its own emptied.
    """
    path = part(layout, digest)
    while True:
        with _alone(layout):
            if not os.path.lexists(path):
                room(layout, digest, 0, files=1)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            handle = Handle(layout, digest, os.open(path, flags, 0o600))
        with contextlib.closing(handle):
            if not _lock(handle):
                with _alone(layout):
                    if _is_at(handle, path):
                        _replace(layout, digest, handle)
            elif _is_at(handle, path):
                yield handle
                return


@contextlib.contextmanager
def _alone(layout: Layout) -> t.Iterator[None]:
    """What is counted stays so until it is written: on a sealed device one session at a time writes."""
    if sealed.load(layout) is None:
        yield
        return
    with lock.hold(layout, wait=_PATIENCE, name="inbox.lock"):
        yield


def complete(layout: Layout, digest: str, handle: Handle) -> bool:
    """Take the part over under its digest; False, and it is empty again, if it has other bytes."""
    path = part(layout, digest)
    handle.seek(0)
    if hashing.of_stream(handle) != digest and _is_at(handle, path):
        handle.seek(0)
        handle.truncate()
        return False
    if not _is_at(handle, path):
        raise _taken_over(digest)
    os.rename(path, layout.file("inbox", digest))
    durable.sync_directory(layout.file("inbox"))
    return True


def is_ours_alone(path: str, info: os.stat_result) -> bool:
    """Whether the file with this lstat is ours, has no second name, and no other process has it locked."""
    if info.st_uid != os.geteuid() or info.st_nlink != 1 or not os.path.isfile(path) or os.path.islink(path):
        return False
    with contextlib.closing(io.FileIO(os.open(path, os.O_RDWR | os.O_NOFOLLOW), "r+")) as handle:
        return _lock(handle)


def room(layout: Layout, digest: str, needed: int, files: int = 0) -> None:
    """OtaError ``NO_SPACE`` unless ``needed`` more bytes of ``digest``, and so many more ``files``, have room.

    A sealed device also keeps to its settings, and a twentieth of the file system stays free.
    """
    settings = sealed.load(layout)
    info = os.statvfs(layout.file("inbox"))
    free = info.f_bavail * info.f_frsize
    if settings is not None:
        _within(layout, settings.inbox_bytes, digest, needed, files)
        free -= info.f_blocks * info.f_frsize // 20
    if free < needed:
        raise OtaError("NO_SPACE", "%d bytes are needed in %s, %d are free" % (needed, layout.state, max(free, 0)))


def _within(layout: Layout, most: int, digest: str, needed: int, files: int) -> None:
    held = []
    for entry in os.scandir(layout.file("inbox")):
        with contextlib.suppress(FileNotFoundError):
            info = entry.stat(follow_symlinks=False)
            held.append((info.st_mtime, info.st_size, entry.name))
    total = sum(size for _time, size, _name in held)
    for written, size, entry_name in sorted(held):
        if total + needed <= most and len(held) + files <= _MOST_FILES:
            break
        if written < time.time() - _STALE and not entry_name.startswith(digest):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(layout.file("inbox", entry_name))
            held.pop()
            total -= size
    if total + needed > most or len(held) + files > _MOST_FILES:
        message = "the inbox of this sealed device holds %d bytes in %d files and takes %d bytes in %d files; what is"
        message += " older than an hour makes room, and every update that ends empties it"
        raise OtaError("NO_SPACE", message % (total, len(held), most, _MOST_FILES))


def _lock(handle: io.FileIO) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(handle: Handle, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(handle.fileno()), os.lstat(path))
    except FileNotFoundError:
        return False


def _replace(layout: Layout, digest: str, held: Handle) -> None:
    """Put what another process holds into a file of this one, from its end on: it takes no room for that.

    The held one is emptied: what has no name would still take room. Killed in the middle, its begin is still there.
    """
    path = part(layout, digest)
    fresh = "%s.%d" % (path, os.getpid())
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)
    end = os.fstat(held.fileno()).st_size
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with io.FileIO(descriptor, "w") as copy:
        while end > 0:
            begin = max(0, end - _BLOCK)
            block = os.pread(held.fileno(), end - begin, begin)
            if os.pwrite(copy.fileno(), block, begin) != end - begin:
                raise OtaError("NO_SPACE", "the disk that holds %s is full" % layout.file("inbox"))
            held.truncate(begin)
            end = begin
    os.rename(fresh, path)


def _taken_over(digest: str) -> OtaError:
    return OtaError("FETCH", "another process is transferring payload %s too; try again" % digest[:12])
