# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""State files that outlast damage and a full disk: plain JSON, as ever, and a copy with a checksum in ``STATE/kept``.

The copy has two slots in a file whose blocks are there already: a new content is written over the older slot, so it
needs no free byte, no inode and no temporary file. It takes the file's place when the file is damaged, and when the
disk is so full that the file could not be replaced. It also knows when the file was written: one whose content is
another although nobody wrote it since is damaged too. What another version of the engine wrote, which knows no copies,
counts.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import typing as t

from ..base.errors import OtaError
from . import durable
from .layout import Layout

Value = t.Dict[str, t.Any]
#: A slot: checksum of what follows, a number that grows, which file it is a copy of or stands for, length, content.
_HEAD = re.compile(rb"\A([0-9a-f]{64}) (\d{20}) (\S+) (\d{12})\n")
_SLOT, _BLOCK = 8192, 4096
_RESERVE, _RESERVED = "reserve", 128 << 10
#: Errors of a disk (or a quota) that has no room.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Slot(t.NamedTuple):
    """What a copy holds.

    ``file`` is ``INODE:MTIME`` of the file that has the same content, or ``~INODE:MTIME`` of the one that it stands
    for. A file that is written anew is another one, although a file system gives the numbers of inodes again.
    """

    number: int
    file: str
    content: bytes


def write(layout: Layout, name: str, value: t.Mapping[str, object], *, cramped: bool = False) -> None:
    """Make ``value`` what :func:`read` finds under ``name``; on disk when this returns.

    ``cramped``: where there is no room to replace the file, its copy stands for it. What can wait does not do that.
    """
    path, copy = layout.file(name), _copy(layout, name)
    content = (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
    try:
        try:
            durable.write(path, content)
        except OSError as error:
            if not cramped or error.errno not in NO_ROOM:
                raise
            durable.remove(_copy(layout, _RESERVE))
            durable.write(path, content)
    except OSError as error:
        if not cramped or error.errno not in NO_ROOM or not os.path.exists(path):
            raise
        with contextlib.suppress(OSError):
            os.unlink(path + ".new")
        _write_slot(copy, content, "~" + _written(os.stat(path)))
        return
    try:
        _write_slot(copy, content, _written(os.stat(path)))
    except OSError:  # an old copy would be worse than none
        with contextlib.suppress(OSError):
            durable.remove(copy)


def reserve(layout: Layout) -> None:
    """Hold some room, and an inode, for what has to be written when there is none; OSError if there is none now."""
    path = _copy(layout, _RESERVE)
    durable.make_directory(os.path.dirname(path))
    if not os.path.exists(path):
        durable.write(path, bytes(_RESERVED))


def read(
    layout: Layout, name: str, *, valid: t.Callable[[Value], bool] | None = None, lasting: bool = False
) -> Value | None:
    """The value under ``name``; None if there is no such file.

    ``valid`` says whether a value can be what was written; ``lasting``: nobody removes this file by hand, so that one
    that is gone was lost. OtaError ``DAMAGED`` if there is neither a sound file nor a sound copy.
    """
    path = layout.file(name)
    content, written = None, ""
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as handle:
        content, written = handle.read(), _written(os.fstat(handle.fileno()))
    newest = _newest(_copy(layout, name))
    if content is None and (newest is None or not lasting):
        return None
    is_old = newest and newest.file == "~" + written
    is_rotten = newest and newest.file == written and newest.content != content
    if content is not None and not is_old and not is_rotten:
        value = _parse(content, valid)
        if value is not None:
            return value
    value = _parse(newest.content, valid) if newest else None
    if value is None:
        message = "the state file %s is damaged and has no sound copy in %s; put it back from a backup of this device,"
        message += " or remove it and enroll the device again"
        raise OtaError("DAMAGED", message % (path, layout.file("kept")))
    return value


def heal(layout: Layout, name: str) -> None:
    """Write the file for which its copy has stood, now that there may be room; the caller keeps others from writing."""
    newest = _newest(_copy(layout, name))
    value = _parse(newest.content, None) if newest else None
    if value is not None and is_behind(layout, name):
        with contextlib.suppress(OSError):
            write(layout, name, value)


def is_behind(layout: Layout, name: str) -> bool:
    """Whether the copy stands for a file that could not be written."""
    newest = _newest(_copy(layout, name))
    try:
        return newest is not None and newest.file == "~" + _written(os.stat(layout.file(name)))
    except OSError:
        return False


def _parse(content: bytes, valid: t.Callable[[Value], bool] | None) -> Value | None:
    """The value of a whole file; None if it is damaged."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and (valid is None or valid(value)) else None


def _written(info: os.stat_result) -> str:
    return "%d:%d" % (info.st_ino, info.st_mtime_ns)


def _copy(layout: Layout, name: str) -> str:
    return layout.file("kept", name)


def _newest(copy: str) -> Slot | None:
    try:
        with open(copy, "rb") as handle:
            return max(filter(None, _slots(handle.read())), default=None)
    except OSError:  # whatever is wrong with the copy, the file itself may be sound
        return None


def _slots(content: bytes) -> list[Slot | None]:
    half = len(content) // 2
    return [_slot(content[:half]), _slot(content[half:])]


def _slot(content: bytes) -> Slot | None:
    head = _HEAD.match(content)
    if head is None:
        return None
    end = head.end() + int(head.group(4))
    if hashlib.sha256(content[65:end]).hexdigest().encode() != head.group(1):
        return None
    return Slot(int(head.group(2)), head.group(3).decode(), content[head.end() : end])


def _write_slot(copy: str, content: bytes, file: str) -> None:
    """Write over the older slot; the file is made anew, with more room than is needed now, if both are too small."""
    old = b""
    with contextlib.suppress(FileNotFoundError), open(copy, "rb") as handle:
        old = handle.read()
    slots, half = _slots(old), len(old) // 2
    newest = max(filter(None, slots), default=None)
    number = newest.number + 1 if newest else 1
    rest = b"%020d %s %012d\n" % (number, file.encode(), len(content)) + content
    slot = hashlib.sha256(rest).hexdigest().encode() + b" " + rest
    if len(slot) > half:
        half = max(_SLOT, -(-2 * len(slot) // _BLOCK) * _BLOCK)
        durable.make_directory(os.path.dirname(copy))
        durable.write(copy, slot.ljust(half, b"\0") + bytes(half))
        return
    fd = os.open(copy, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        offset = half if newest is not None and slots[0] == newest else 0
        if os.pwrite(fd, slot, offset) != len(slot):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), copy)
        os.fsync(fd)
    finally:
        os.close(fd)
