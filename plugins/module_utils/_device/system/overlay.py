# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Run programs on a throw-away copy of the whole device, and say what they touched.

The copy is an overlay over every file system of the device, with the changes in memory (a tmpfs), in namespaces of its
own: mounts, processes, IPC, host name, no network but an idle loopback. Nothing that runs in it can start a service of
the device, signal its processes, reach a disk or outlast it: when the first process ends, the kernel ends the rest and
the mounts are gone. Debian's own builders confine maintainer scripts the same way (policy-rc.d, stand-ins for
``systemctl`` and ``start-stop-daemon``).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import stat
import time
import typing as t

from . import command, interpreter, rootcopy
from .command import Result
from .rootcopy import Step, Unavailable

#: Seconds that a step of a rehearsal may take.
REHEARSAL_TIMEOUT = 900.0
#: What the share of free memory is that a copy may take for its changes.
_MEMORY_SHARE = 0.5


class Need(t.NamedTuple):
    """What the changes take on one mounted file system: bytes and inodes."""

    bytes: int
    inodes: int


class Outcome(t.NamedTuple):
    """The result of the last step that ran, the paths that all of them touched, what they need, seconds; why the engine
    does not run afterwards, if that is so."""

    result: Result
    touched: list[str]
    needs: dict[str, Need]
    seconds: float
    texts: dict[str, str]
    engine: str | None = None


def run(
    program: t.Sequence[str], folder: str, steps: t.Sequence[Step], size: int, collect: t.Iterable[str] = ()
) -> Outcome:
    """Run ``steps`` in a copy of this device until one fails; what they change may take ``size`` bytes. Of the
    files ``collect`` the outcome has what the steps made of them.

    ``program`` is how to start this engine, ``folder`` a new directory of ours. Raises :class:`Unavailable`.
    """
    room = _room(size)
    os.makedirs(os.path.join(folder, "stage"), 0o700)
    work = {"steps": [step._asdict() for step in steps], "room": room, "collect": list(collect)}
    with open(os.path.join(folder, "work.json"), "w", encoding="utf-8") as handle:
        json.dump(work, handle)
    spaces = ["--mount", "--pid", "--ipc", "--net", "--uts", "--fork", "--kill-child", "--propagation", "private"]
    if command.which("unshare") is None:
        raise Unavailable("there is no program unshare")
    patience = sum(step.timeout for step in steps) + 60
    done = command.run(["unshare", *spaces, *program, "inside", folder], timeout=patience)
    try:
        with open(os.path.join(folder, "outcome.json"), encoding="utf-8") as handle:
            value = json.load(handle)
    except (OSError, ValueError):
        raise Unavailable("the copy ended with %d: %s" % (done.rc, done.tail)) from None
    if "unavailable" in value:
        raise Unavailable(value["unavailable"])
    needs = {point: Need(*need) for point, need in value["needs"].items()}
    return Outcome(Result(*value["result"]), value["touched"], needs, value["seconds"], value["texts"], value["engine"])


def inside(folder: str) -> None:
    """The other side of :func:`run`: what runs first in the new namespaces."""
    try:
        value = _inside(folder)
    except Unavailable as error:
        value = {"unavailable": str(error)}
    temporary = os.path.join(folder, "outcome.new")
    with open(temporary, "w", encoding="utf-8") as handle:
        json.dump(value, handle)
    os.rename(temporary, os.path.join(folder, "outcome.json"))


def _room(size: int) -> int:
    """The most that the copy's memory may hold; refuses what would starve the device."""
    with open("/proc/meminfo", encoding="ascii") as handle:
        fields = dict(line.split(":", 1) for line in handle)
    free = int(fields.get("MemAvailable", fields["MemFree"]).split()[0]) * 1024
    room = int(free * _MEMORY_SHARE)
    if size > room:
        raise Unavailable("its changes take about %d bytes, and %d bytes of memory are free for them" % (size, room))
    return room


def _inside(folder: str) -> dict[str, t.Any]:
    began = time.monotonic()
    with open(os.path.join(folder, "work.json"), encoding="utf-8") as handle:
        work = json.load(handle)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as handle:
        handle.write("1000")  # when memory runs out it is this that goes
    table = rootcopy.system_mounts()
    stage = os.path.join(folder, "stage")
    rootcopy.mount("tmpfs", stage, "tmpfs", "size=%d,mode=0700" % work["room"])
    copies = rootcopy.Copies(stage)
    uppers = rootcopy.layers(stage, table, copies)
    root = os.path.join(stage, "root")
    rootcopy.furnish(root)
    rootcopy.restrict(root, table)
    result = Result(0, "", "")
    for step in work["steps"]:
        result = rootcopy.run(root, Step(**step), work["room"])
        if result.rc != 0:
            break
    _end_others()
    touched, needs = _changes(uppers, root)
    touched = sorted({*touched, *copies.changed()})
    if result.rc != 0 and copies.fixed and "Read-only file system" in result.out + result.err:
        raise Unavailable("the kernel lays no overlay over %s" % ", ".join(copies.fixed))
    if result.rc != 0 and _is_full(stage):
        raise Unavailable("its changes take more than %d bytes of memory" % work["room"])
    engine = None
    if result.rc == 0 and interpreter.is_among(touched):
        engine = interpreter.lost(lambda argv: rootcopy.run(root, Step(argv, {}, interpreter.TIMEOUT), work["room"]))
    texts = {path: text for path in work["collect"] for text in _text(root + path)}
    shown = {"texts": texts, "result": result, "touched": touched, "needs": needs, "engine": engine}
    return {**shown, "seconds": time.monotonic() - began}


def _end_others() -> None:
    """Daemons that the steps left behind: what they change is no part of the change, and must hold still to be seen."""
    if os.getpid() != 1:  # only the first process of these namespaces may: elsewhere it would be everybody
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def _text(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as handle:
            return [handle.read()]
    except OSError:
        return []


def _is_full(stage: str) -> bool:
    info = os.statvfs(stage)
    return info.f_bavail * info.f_frsize < (1 << 20) or info.f_favail < 16


# -- what they did ---------------------------------------------------------------------------------------------------


def _changes(uppers: t.Mapping[str, str], root: str) -> tuple[list[str], dict[str, Need]]:
    """Every path whose entry the overlays hold: changed, made or (as a whiteout) removed."""
    touched: list[str] = []
    needs: dict[str, Need] = {}
    for point, upper in uppers.items():
        size = inodes = 0
        pending = [""]
        while pending:
            below = pending.pop()
            for entry in os.scandir(os.path.join(upper, below)):
                name = os.path.join(below, entry.name)
                path = os.path.join(point, name)
                info = entry.stat(follow_symlinks=False)
                if rootcopy.is_stand_in(entry.path):
                    continue
                if stat.S_ISDIR(info.st_mode):
                    pending.append(name)
                    if not _is_copied_up(entry.path, path, info):
                        touched.append(path)
                        inodes += 1
                    if _mark(entry.path, "redirect"):  # it was renamed: its content comes from elsewhere
                        touched.extend(below[len(root) :] for below in _all_below(root + path))
                    if _mark(entry.path, "opaque") == b"y":
                        touched.extend(_all_below(path))
                    continue
                touched.append(path)
                touched.extend(_all_below(path))  # a directory that is gone now, or a link or file in its place
                if not (stat.S_ISCHR(info.st_mode) and info.st_rdev == 0):
                    size += info.st_blocks * 512
                    inodes += 1
        needs[point] = Need(size, inodes)
    return sorted(set(touched)), needs


def _is_copied_up(upper: str, path: str, info: os.stat_result) -> bool:
    """Whether a directory is in the upper layer only because something in it is: it is what it was."""
    try:
        before = os.lstat(path)
    except OSError:
        return False
    keys = ("st_mode", "st_uid", "st_gid")
    return all(getattr(before, key) == getattr(info, key) for key in keys) and _attributes(upper) == _attributes(path)


def _attributes(path: str) -> dict[str, bytes]:
    try:
        names = [name for name in os.listxattr(path) if not name.startswith("trusted.overlay.")]
        return {name: os.getxattr(path, name) for name in names}
    except OSError:
        return {}


def _mark(path: str, name: str) -> bytes:
    """What overlay keeps of a directory: ``opaque`` is ``y`` for one that was removed and made anew, so that nothing of
    the lower one shows through; ``redirect`` is what one that was renamed was called."""
    try:
        return os.getxattr(path, "trusted.overlay." + name)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return b""
        raise


def _all_below(path: str) -> list[str]:
    paths: list[str] = []
    if os.path.islink(path):
        return paths
    for folder, folders, names in os.walk(path):
        paths.extend(os.path.join(folder, name) for name in (*folders, *names))
    return paths
