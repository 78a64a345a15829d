# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Running the engine's own work apart from the SSH session that asked for it, or apart from its caller's time.

On systemd a transient unit: it survives the session, the restart of sshd and of the network, and can be ended with
all its children. Elsewhere a session of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import typing as t

from ..base.errors import OtaError
from . import command
from .layout import Layout

T = t.TypeVar("T")


def program(engine: str | None = None) -> list[str]:
    """How to start an engine: the zipapp ``engine`` if it is still there, else the one that is running now."""
    path = engine if engine and engine.endswith(".pyz") and os.path.exists(engine) else os.path.abspath(sys.argv[0])
    if not path.endswith(".pyz"):
        raise OtaError("ENGINE", "the engine does not run from its zipapp (%s)" % path)
    return [sys.executable, "-I", "-S", "-B", path]


def by_systemd(layout: Layout) -> bool:
    """Whether systemd can run work for this device."""
    return layout.is_real and os.geteuid() == 0 and command.has_systemd() and command.which("systemd-run") is not None


def start(layout: Layout, name: str, arguments: t.Sequence[str], log: str, engine: str | None = None) -> int | None:
    """Start the engine with ``arguments`` as ``name``; the pid where there is no unit. ``log`` gets its output.

    ``engine`` is the program to take, by default this one.
    """
    argv = [*program(engine), *arguments]
    with contextlib.suppress(OSError):  # for root only; and no room for a log must not stop a way back
        os.close(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600))
    if by_systemd(layout):
        unit = ["systemd-run", "--quiet", "--collect", "--no-block", "--unit=%s.service" % name]
        result = command.run(
            [
                *unit,
                "--property=StandardOutput=append:%s" % log,
                "--property=KillMode=control-group",
                *(word.replace("$", "$$") for word in argv),  # systemd puts variables in
            ]
        )
        if result.rc != 0:
            raise OtaError("ENGINE", "systemd-run could not start %s: %s" % (name, result.tail))
        return None
    with open(log, "ab") as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            start_new_session=True,
            env={"PATH": command.PATH, "LC_ALL": "C", "HOME": "/root"},
        )
    return process.pid


def end(layout: Layout, name: str, pid: int | None, token: str) -> None:
    """Kill the work ``name`` with everything it started.

    ``token`` must stand in the command line of ``pid``: the number may have been reused by another process.
    """
    if by_systemd(layout) and command.run(["systemctl", "kill", "--signal=KILL", name + ".service"]).rc == 0:
        return
    if pid is None or token not in _arguments(pid):
        return
    for child in reversed(family(pid)):
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _arguments(pid: int) -> list[str]:
    """The command line of a process; empty if it is gone."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as handle:
            return os.fsdecode(handle.read()).split("\0")
    except OSError:
        return []


def outlast_others() -> None:
    """Be the last process that the kernel ends when memory is short; programs that this one runs are not."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as handle:
        handle.write("-900")


def is_engine(pid: int) -> bool:
    """Whether a process is an engine, of whatever version."""
    return any(word.endswith(".pyz") for word in _arguments(pid))


def family(pid: int) -> list[int]:
    """``pid`` and every process below it."""
    found = [pid]
    for entry in found:
        for line in lines("/proc/%d/task/%d/children" % (entry, entry)):
            found.extend(int(number) for number in line.split())
    return found


def stat(pid: int) -> list[str]:
    """The fields of proc_pid_stat(5) from the state on; empty if the process is gone."""
    text = "".join(lines("/proc/%d/stat" % pid))
    return text.rpartition(")")[2].split()


def lines(path: str) -> list[str]:
    """The lines of a file of the kernel's; none if there is no such file."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as handle:
            return handle.readlines()
    except OSError:
        return []


def within(seconds: float, function: t.Callable[[], T]) -> T:
    """What ``function`` returns or raises, if it does so in ``seconds``; TimeoutError otherwise.

    Whatever it hangs on then, a mount whose server is gone or a peer that sends a byte now and then, hangs nobody else:
    its thread is given up and ends with this process.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:  # it is raised where it was asked for
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError("no answer within %g s" % seconds)
    return results[0]
