# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Lock files of package tools: who holds them, and holding them.

They are fcntl(2) locks of a process. Such a lock is lost when the process closes any descriptor of the file, so what
this process holds is kept here, and such a file is never opened a second time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import typing as t

#: What this process holds: descriptors by path.
_held: dict[str, int] = {}
#: Seconds between two tries; there is no event for a lock that comes free for one who may stop waiting.
_PAUSE = 0.5


def holder(paths: t.Sequence[str]) -> str | None:
    """The process that holds one of the locks ``paths``, for people; None if all are free, not there, or ours."""
    for path in paths:
        descriptor, reason = _lock(path)
        if descriptor is not None:
            os.close(descriptor)  # which gives the lock back
        if reason is not None:
            return reason
    return None


def take(paths: t.Sequence[str], wait: float) -> str | None:
    """Hold all of the locks ``paths`` until :func:`release`, or the end of this process.

    Waits ``wait`` seconds at most; then None is not returned but who holds one, and nothing is held.
    """
    end = time.monotonic() + wait
    while True:
        reason = _take(paths)
        if reason is None:
            return None
        release(paths)
        if time.monotonic() >= end:
            return reason
        time.sleep(_PAUSE)


def release(paths: t.Sequence[str]) -> None:
    """Give up those of ``paths`` that are held."""
    for path in paths:
        descriptor = _held.pop(path, None)
        if descriptor is not None:
            os.close(descriptor)


def _take(paths: t.Sequence[str]) -> str | None:
    for path in paths:
        descriptor, reason = _lock(path)
        if descriptor is not None:
            _held[path] = descriptor
        if reason is not None:
            return reason
    return None


def _lock(path: str) -> tuple[int | None, str | None]:
    """A descriptor that has the lock ``path``, or who has it; neither where it is ours already, or not there."""
    descriptor = None if path in _held else _open(path)
    if descriptor is None:
        return None, None
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        reason = _process(os.fstat(descriptor)) or "another process"
        os.close(descriptor)
        return None, reason
    return descriptor, None


def _open(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None


def _process(info: os.stat_result) -> str | None:
    """Its name and number, from ``/proc/locks`` (proc(5): ``... WRITE PID MAJOR:MINOR:INODE START END``)."""
    with contextlib.suppress(OSError, ValueError), open("/proc/locks", encoding="ascii") as handle:
        for line in handle:
            words = line.split()
            if "->" not in words and words[5].rpartition(":")[2] == str(info.st_ino) and int(words[4]) > 0:
                with open("/proc/%s/comm" % words[4], encoding="utf-8", errors="replace") as name:
                    return "%s (process %s)" % (name.read().strip(), words[4])
    return None
