# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""One step at a time: the device's own lock. The kernel gives it back when its holder dies, however it dies.

A holder that is stopped, frozen or hangs dies of nothing, so the guard may end it (:func:`end_holders`). One that even
then keeps the lock, because it hangs in the kernel or is no engine, keeps a file that is not the lock any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
import typing as t

from ..base.errors import OtaError
from . import background
from .layout import Layout

_NAME = "lock"
#: Seconds in which a killed holder gives the lock back, unless it hangs in the kernel.
_DIES = 5.0


class Holder(t.NamedTuple):
    """A process that holds the lock, and what it and all that it started have done so far: seconds of CPU, in ticks."""

    pid: int
    ticks: int


@contextlib.contextmanager
def hold(layout: Layout, wait: float = 0.0, name: str = _NAME) -> t.Iterator[None]:
    """Hold the device's lock, or another of that ``name``; OtaError ``BUSY`` if it is not free in ``wait`` seconds."""
    path = layout.file(name)
    fd = _open(path)
    try:
        end = time.monotonic() + wait
        while not _is_taken(fd, path):
            if time.monotonic() >= end:
                raise OtaError("BUSY", "another step is running on this device; try again later")
            if not _is_current(fd, path):
                os.close(fd)
                fd = _open(path)
                continue
            time.sleep(0.05)
        _HELD.add(fd)
        yield
    finally:
        _HELD.discard(fd)
        os.close(fd)


def is_free(layout: Layout) -> bool:
    """Whether the lock is free right now."""
    try:
        with hold(layout):
            return True
    except OtaError:
        return False


def holders(layout: Layout) -> list[Holder]:
    """Who holds the lock, as the kernel knows it: also a child of somebody who is gone."""
    path = layout.file(_NAME)
    try:
        info = os.stat(path)
    except OSError:
        return []
    place = "%02x:%02x:%d" % (os.major(info.st_dev), os.minor(info.st_dev), info.st_ino)
    pids = {int(words[4]) for words in map(str.split, background.lines("/proc/locks")) if words[5:6] == [place]}
    for name in os.listdir("/proc"):
        if name.isdigit() and _has_locked(name, path):
            pids.add(int(name))
    own = {os.getpid(), os.getppid()}
    return [Holder(pid, _ticks(pid)) for pid in sorted(pids - own) if pid > 0 and os.path.isdir("/proc/%d" % pid)]


def is_stopped(pid: int) -> bool:
    """Whether a process does nothing because somebody stopped it, or froze its control group."""
    status = background.stat(pid)
    if status and status[0] == "T":
        return True
    for line in background.lines("/proc/%d/cgroup" % pid):
        group = line.rstrip("\n").split(":", 2)[-1]
        events = background.lines("/sys/fs/cgroup%s/cgroup.events" % group.rstrip("/"))
        states = background.lines("/sys/fs/cgroup/freezer%s/freezer.state" % group.rstrip("/"))
        if "frozen 1" in map(str.strip, events) or "FROZEN" in map(str.strip, states):
            return True
    return False


def end_holders(layout: Layout, pids: t.Iterable[int]) -> None:
    """Kill those of ``pids`` that are engines, with what they started; then the lock is free, whatever they do.

    The caller has found that they hold it and do nothing with it.
    """
    for pid in pids:
        if background.is_engine(pid):
            for one in reversed(background.family(pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one, signal.SIGKILL)
    end = time.monotonic() + _DIES
    while not is_free(layout):
        if time.monotonic() >= end:  # what is killed and still there never comes back from the kernel to do anything
            with contextlib.suppress(FileNotFoundError):
                os.rename(layout.file(_NAME), layout.file(_NAME + ".left"))
            return
        time.sleep(0.05)


#: Descriptors of locks that this process holds; a child that goes on without being another program closes them.
_HELD: set[int] = set()


def _close_held() -> None:
    for fd in _HELD:
        with contextlib.suppress(OSError):
            os.close(fd)
    _HELD.clear()


os.register_at_fork(after_in_child=_close_held)


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _is_taken(fd: int, path: str) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return _is_current(fd, path)


def _is_current(fd: int, path: str) -> bool:
    """Whether the file that was opened is the lock still."""
    try:
        info, mine = os.stat(path, follow_symlinks=False), os.fstat(fd)
    except FileNotFoundError:
        return False
    return (info.st_dev, info.st_ino) == (mine.st_dev, mine.st_ino)


def _has_locked(pid: str, path: str) -> bool:
    """Whether a process has a descriptor by which the lock ``path`` is held."""
    try:
        for fd in os.listdir("/proc/%s/fd" % pid):
            if os.readlink("/proc/%s/fd/%s" % (pid, fd)) == path:
                if any(line.startswith("lock:") for line in background.lines("/proc/%s/fdinfo/%s" % (pid, fd))):
                    return True
    except OSError:  # it is gone, or not ours to look at
        return False
    return False


def _ticks(pid: int) -> int:
    """CPU time of ``pid``, all that it started and all that these waited for."""
    return sum(int(number) for one in background.family(pid) for number in background.stat(one)[11:15])
