# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults at the n-th call of a program to the file system, by strace's tampering (strace(1), ``-e inject``)."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import typing as t
from pathlib import Path

#: Everything that changes a file system, or makes a change durable.
CALLS = [
    "chmod",
    "chown",
    "fallocate",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "fdatasync",
    "fsetxattr",
    "fsync",
    "ftruncate",
    "lchown",
    "link",
    "linkat",
    "lsetxattr",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "openat",
    "pwrite64",
    "removexattr",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "setxattr",
    "symlink",
    "symlinkat",
    "sync_file_range",
    "syncfs",
    "truncate",
    "unlink",
    "unlinkat",
    "utimensat",
    "write",
    "writev",
]
_LINE = re.compile(r"^(\w+)\((.*)$")


class Point(t.NamedTuple):
    """The ``number``-th call (from 1) of ``call`` in a program's run; ``what`` is what it was, for people."""

    call: str
    number: int
    what: str


class Program:
    """Something to run in a process of its own, forked from this one with all that is imported already.

    That takes a tenth of the time that starting it anew under strace does, and the n-th call is always the same one.
    """

    def __init__(self, run: t.Callable[[], object]) -> None:
        self.run = run

    def points(self, below: Path) -> list[Point]:
        """Run it unharmed and list every call that changes something below ``below``, in their order."""
        log = below.parent / "trace"
        self._traced(["-y", "-s", "64", "-o", str(log), "-e", "trace=" + ",".join(CALLS)])
        seen: dict[str, int] = {}
        found = []
        for line in log.read_text(errors="replace").splitlines():
            match = _LINE.match(line)
            if match is None:
                continue
            call, rest = match.groups()
            seen[call] = seen.get(call, 0) + 1
            if str(below) in rest and (call != "openat" or "O_CREAT" in rest):
                found.append(Point(call, seen[call], rest[:160].replace(str(below), "")))
        log.unlink()
        return found

    def killed_at(self, point: Point) -> bool:
        """Run it, killed as it enters ``point``; whether it came that far."""
        inject = "inject=%s:signal=KILL:when=%d" % (point.call, point.number)
        return self._traced(["-o", "/dev/null", "-e", "trace=" + point.call, "-e", inject]) == signal.SIGKILL

    def failing_at(self, point: Point, error: str, *, on: bool) -> None:
        """Run it with ``error`` at ``point``, and with ``on`` at every such call after it."""
        inject = "inject=%s:error=%s:when=%d%s" % (point.call, error, point.number, "+" if on else "")
        self._traced(["-o", "/dev/null", "-e", "trace=" + point.call, "-e", inject])

    def _traced(self, options: list[str]) -> int:
        """Run it under strace; the signal that ended it, or 0."""
        waiting, go = os.pipe()
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                os.close(go)
                os.read(waiting, 1)
                self.run()
            os._exit(0)
        os.close(waiting)
        pipe = subprocess.PIPE
        with subprocess.Popen(["strace", *options, "-p", str(child)], stderr=pipe, text=True) as strace:
            assert strace.stderr is not None
            said = strace.stderr.readline()  # "strace: Process N attached"
            os.write(go, b"x")
            os.close(go)
            _pid, status = os.waitpid(child, 0)
            assert "attached" in said, said + strace.stderr.read()
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
