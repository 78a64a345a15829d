# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Processes of this machine, from ``/proc``: when they started, which files they run, and what started them."""

from __future__ import annotations

import glob
import os
import re
import signal
import stat
import time
import typing as t

from ..base.typed import TypedDict
from . import background, durable
from .boot import clock

#: In the environment of every program that is run for a change, and so of the daemons that it leaves behind.
TOKEN = "FLEET_OTA_TRANSACTION"  # noqa: S105
_INIT = "/init.scope"
_DELETED = " (deleted)"
_TICKS = os.sysconf("SC_CLK_TCK")


class Command(TypedDict):
    """How a process was started, to start it again, and the files that hold its number.

    ``stale``: it ran replaced files already.
    """

    pid: int
    started: float
    unit: str
    exe: str
    argv: list[str]
    cwd: str
    uid: int
    gid: int
    groups: list[int]
    environment: dict[str, str]
    pidfiles: list[str]
    stale: bool


class Process(t.NamedTuple):
    """One process. ``started`` is in seconds on the boot clock; ``unit`` belongs to user ``manager`` or the machine."""

    pid: int
    started: float
    parent: int
    terminal: int
    exe: str
    argv: tuple[str, ...]
    manager: int | None
    unit: str

    @property
    def is_deleted(self) -> bool:
        """Whether its program is not there any more, or another one by now."""
        return self.exe.endswith(_DELETED)

    @property
    def program(self) -> str:
        """The path of its program."""
        return self.exe[: -len(_DELETED)] if self.is_deleted else self.exe

    @property
    def files(self) -> set[str]:
        """See :func:`files_of`."""
        return set(files_of(self.program, self.argv))

    @property
    def key(self) -> str:
        """Which systemd its unit belongs to: a user's number, nothing for the machine's."""
        return "" if self.manager is None else str(self.manager)

    @property
    def shown(self) -> str:
        """For people."""
        return "%s (%d)" % (" ".join(self.argv), self.pid)


def files_of(program: str, argv: t.Sequence[str]) -> list[str]:
    """The program, and the script that an interpreter runs."""
    return [program, *(argument for argument in argv[:4] if argument.startswith("/"))]


def everything() -> list[Process]:
    """All processes that see this machine's root directory, but for the kernel's own."""
    first = durable.read_text("/proc/1/cgroup")
    found = (_look(int(name), first) for name in os.listdir("/proc") if name.isdigit())
    return [process for process in found if process is not None]


def outdated(process: Process) -> set[str]:
    """Paths of code that it runs and that were deleted or replaced since: of its program, libraries and script."""
    try:
        with open("/proc/%d/maps" % process.pid, encoding="utf-8", errors="surrogateescape") as handle:
            lines = [line.rstrip("\n").split(None, 5) for line in handle]
    except OSError:
        return set()
    mapped = {words[5] for words in lines if len(words) == 6 and "x" in words[1] and words[5].startswith("/")}
    paths = {path[: -len(_DELETED)] for path in mapped if path.endswith(_DELETED)}
    began = time.time() - (clock() - process.started) + 2 / _TICKS  # its start is known to a tick
    for path in process.files - {process.program}:
        try:
            if os.stat(path).st_ctime > began:
                paths.add(path)
        except OSError:
            paths.add(path)
    return paths


def written(pid: int) -> set[str]:
    """Files that it has open for writing."""
    paths = set()
    try:
        for number in os.listdir("/proc/%d/fd" % pid):
            path = os.readlink("/proc/%d/fd/%s" % (pid, number))
            if path.startswith("/") and not path.startswith(("/dev/", "/proc/")):
                with open("/proc/%d/fdinfo/%s" % (pid, number), encoding="ascii") as handle:
                    flags = re.search(r"^flags:\s*([0-7]+)", handle.read(), re.M)
                if flags and int(flags.group(1), 8) & os.O_ACCMODE:
                    paths.add(path)
    except OSError:
        return paths
    return paths


def environment(pid: int) -> dict[str, str]:
    """What it was started with."""
    try:
        with open("/proc/%d/environ" % pid, "rb") as handle:
            entries = os.fsdecode(handle.read()).split("\0")
    except OSError:
        return {}
    return dict(entry.partition("=")[::2] for entry in entries if "=" in entry)


def how_started(process: Process, numbers: t.Mapping[str, int]) -> Command | None:
    """What is needed to have it again, with ``numbers`` of :func:`pidfiles`; None if it is gone."""
    try:
        with open("/proc/%d/status" % process.pid, encoding="utf-8", errors="replace") as handle:
            status = dict(line.partition(":")[::2] for line in handle)
        cwd = os.readlink("/proc/%d/cwd" % process.pid)
    except OSError:
        return None
    return {
        "pid": process.pid,
        "started": process.started,
        "unit": process.unit,
        "exe": process.program,
        "argv": list(process.argv),
        "cwd": cwd,
        "uid": int(status["Uid"].split()[1]),
        "gid": int(status["Gid"].split()[1]),
        "groups": [int(group) for group in status.get("Groups", "").split()],
        "environment": environment(process.pid),
        "pidfiles": [path for path, pid in numbers.items() if pid == process.pid],
        "stale": bool(outdated(process) & process.files),
    }


def pidfiles() -> dict[str, int]:
    """The files below ``/run`` in which daemons keep their numbers, where only root can exchange them."""
    found = {}
    for path in [*glob.glob("/run/*.pid"), *glob.glob("/run/*/*.pid")]:
        try:
            with open(_open_pidfile(path, os.O_RDONLY), "rb") as handle:
                found[path] = int(handle.read(32))
        except (OSError, ValueError):
            continue
    return found


def note_pid(path: str, pid: int) -> None:
    """Have a file of :func:`pidfiles` hold another number; OSError if it is not that any more."""
    with open(_open_pidfile(path, os.O_WRONLY), "wb") as handle:
        handle.truncate()  # once it is known to be none other
        handle.write(b"%d\n" % pid)


def _open_pidfile(path: str, flags: int) -> int:
    folder = os.lstat(os.path.dirname(path))
    if folder.st_uid not in (0, os.geteuid()) or folder.st_mode & 0o022:
        raise PermissionError("others than root can exchange %s" % path)
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1:
        os.close(descriptor)
        raise PermissionError("%s is no file of its own" % path)
    return descriptor


def of_change(token: str, scope: str) -> list[Process]:
    """The processes that were started for the change ``token``, or are in a unit whose name begins with ``scope``."""
    mine = os.getpid()
    return [
        process
        for process in everything()
        if process.pid != mine and (process.unit.startswith(scope) or environment(process.pid).get(TOKEN) == token)
    ]


def end(find: t.Callable[[], list[Process]], patience: float) -> list[Process]:
    """End what ``find`` finds, with force after ``patience`` seconds; returns all that it was."""
    ended: dict[tuple[int, float], Process] = {}
    limit = clock() + patience
    asked: set[tuple[int, float]] = set()
    while True:
        left = find()
        if not left or clock() > limit + patience:
            return list(ended.values())
        for process in left:
            key = (process.pid, process.started)
            ended[key] = process
            force = clock() > limit
            if force or key not in asked:
                asked.add(key)
                try:
                    os.kill(process.pid, signal.SIGKILL if force else signal.SIGTERM)
                except (ProcessLookupError, PermissionError):
                    continue
        time.sleep(0.05)


def _look(pid: int, first: str) -> Process | None:
    fields = background.stat(pid)
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as handle:
            argv = tuple(os.fsdecode(handle.read()).rstrip("\0").split("\0"))
        exe = os.readlink("/proc/%d/exe" % pid)
        root, own = os.stat("/proc/%d/root" % pid), os.stat("/")
        with open("/proc/%d/cgroup" % pid, encoding="utf-8", errors="replace") as handle:
            manager, unit = _unit(handle.read(), first)
    except OSError:  # gone, or a thread of the kernel
        return None
    if (root.st_dev, root.st_ino) != (own.st_dev, own.st_ino) or not fields or fields[0] == "Z":
        return None  # a container's: its paths are of another tree
    return Process(pid, int(fields[19]) / _TICKS, int(fields[1]), int(fields[4]), exe, argv, manager, unit)


def _unit(groups: str, first: str = "") -> tuple[int | None, str]:
    """The user and the unit of a process by its control groups; no unit is an empty name.

    ``first`` are those of process 1: a container may see all that its host put it into.
    """
    outside = {}
    for line in first.splitlines():
        hierarchy, _name, path = line.split(":", 2)
        outside[hierarchy] = (path[: -len(_INIT)] if path.endswith(_INIT) else path).rstrip("/")
    for line in groups.splitlines():
        hierarchy, _name, path = line.split(":", 2)
        prefix = outside.get(hierarchy, "")
        if (path + "/").startswith(prefix + "/"):
            path = path[len(prefix) :]
        inner = re.match(r"^.*?/user@(\d+)\.service/(?:.*/)?([^/]+\.(?:service|scope))(?:/|$)", path)
        if inner:
            return int(inner.group(1)), inner.group(2)
        outer = re.search(r"/([^/]+\.(?:service|scope))(?:/|$)", path)
        if outer:
            return None, outer.group(1)
    return None, ""
