# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Which SSH connection a request came over, seen from the device: when the server process that carries it started.

A confirm proves that the device can still be reached, which a connection from before the change does not. Sessions
that share a connection have the same server process; a new connection has a new one.
"""

from __future__ import annotations

import os

_SERVERS = ("sshd", "sshd-session", "dropbear")
#: What stands between the server and the engine when a request comes by SSH. Anything else (a controller that runs on
#: this very machine, a terminal session) says nothing about connections.
_BETWEEN = ("sh", "bash", "dash", "ash", "busybox", "sudo", "su", "doas", "env", "sftp-server")


def started() -> float | None:
    """Seconds on the boot clock at which the connection of this request was made, or None if it is not by SSH."""
    pid = os.getppid()
    for _generation in range(16):
        process = _look(pid)
        if process is None:
            return None
        name, parent, ticks = process
        if name in _SERVERS:
            return ticks / os.sysconf("SC_CLK_TCK")
        if name not in _BETWEEN:
            return None
        pid = parent
    return None


def _look(pid: int) -> tuple[str, int, int] | None:
    """Name, parent and start in clock ticks (proc(5)) of a process."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as handle:
            head, _bracket, tail = handle.read().rpartition(")")
    except OSError:
        return None
    fields = tail.split()
    return head.partition("(")[2], int(fields[1]), int(fields[19])
