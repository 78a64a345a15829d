# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Who holds a lock file: package tools lock by fcntl(2), and say so nowhere else."""

from __future__ import annotations

import contextlib
import fcntl
import os


def of(path: str) -> str | None:
    """The process that holds the fcntl lock of ``path``, for people; None if it is free or not there.

    Takes the lock for a moment: there is no portable way only to ask (``F_GETLK`` has a structure of its own on each
    machine).
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return None
    except OSError:
        return _process(os.fstat(descriptor)) or "another process"
    finally:
        os.close(descriptor)  # which gives the lock back


def _process(info: os.stat_result) -> str | None:
    """Its name and number, from ``/proc/locks`` (proc(5): ``... WRITE PID MAJOR:MINOR:INODE START END``)."""
    with contextlib.suppress(OSError, ValueError), open("/proc/locks", encoding="ascii") as handle:
        for line in handle:
            words = line.split()
            if "->" not in words and words[5].rpartition(":")[2] == str(info.st_ino) and int(words[4]) > 0:
                with open("/proc/%s/comm" % words[4], encoding="utf-8", errors="replace") as name:
                    return "%s (process %s)" % (name.read().strip(), words[4])
    return None
