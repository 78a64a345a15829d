# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What is mounted where, from the kernel's own table (proc_pid_mountinfo(5))."""

from __future__ import annotations

import contextlib
import os
import re
import typing as t

from . import command, durable
from .layout import Layout

#: What a power cut empties. An overlay is as lasting as the file system of its upper directory.
#: What the kernel's command line says of such a root: overlayroot, raspi-config, live systems.
_VOLATILE_ROOTS = ("overlayroot=tmpfs", "boot=overlay", "boot=live")
_MNT_DETACH = 2  # linux/fs.h
_IN_MEMORY = ("tmpfs", "ramfs", "rootfs", "devtmpfs")


class Mount(t.NamedTuple):
    """One mounted file system: where, its type, its device, and its options (of the mount and of the file system)."""

    point: str
    kind: str
    source: str
    options: frozenset[str] = frozenset()


def table() -> list[Mount]:
    """Every mount of this process's namespace, later ones last."""
    mounts = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as handle:
        for line in handle:
            before, _separator, after = line.partition(" - ")
            words = after.split()
            fields = before.split()
            options = frozenset((*fields[5].split(","), *words[2].split(",")))
            mounts.append(Mount(_plain(fields[4]), words[0], _plain(words[1]), options))
    return mounts


def of(path: str) -> Mount:
    """The mount that holds the real path ``path``."""
    best = Mount("", "", "")
    for entry in table():
        if within(path, entry.point) and len(entry.point) >= len(best.point):
            best = entry
    return best


def below(path: str) -> list[str]:
    """The mount points strictly below the real path ``path``."""
    return sorted({entry.point for entry in table() if entry.point != path and within(entry.point, path)})


def detach(place: str) -> bool:
    """Take off what is mounted at ``place``, in use or not, and nothing of what it holds; False if that cannot be."""
    try:
        import ctypes
    except ImportError:  # a Python without it
        return command.run(["umount", "--lazy", os.path.realpath(place)]).rc == 0
    return bool(ctypes.CDLL(None).umount2(os.fsencode(place), _MNT_DETACH) == 0)


def within(path: str, tree: str) -> bool:
    """Whether ``path`` is ``tree`` or below it."""
    return path == tree or path.startswith(tree.rstrip("/") + "/")


def nearest(path: str) -> os.stat_result:
    """lstat of ``path``, or of what exists above it."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return os.lstat(path)


def volatile(path: str) -> str | None:
    """Why what is written to the real path ``path`` is gone after a power cut, for people; None if it stays."""
    mount = of(path)
    if mount.kind in _IN_MEMORY:
        return "%s is in memory (%s)" % (mount.point, mount.kind)
    if os.path.basename(mount.source).startswith(("zram", "ram")):
        return "%s is on %s, which is in memory" % (mount.point, mount.source)
    if mount.kind == "overlay":
        upper = [option[len("upperdir=") :] for option in mount.options if option.startswith("upperdir=")]
        if upper and mount.point != "/":
            return volatile(_plain(upper[0]))
        # That of the root itself was mounted before the root that is seen here: by its path it cannot be found.
        words = durable.read_text("/proc/cmdline").split()
        if mount.point == "/" and any(word.startswith(_VOLATILE_ROOTS) for word in words):
            return "the root is an overlay whose changes are in memory (the kernel was started so)"
        if upper and any(entry.kind in _IN_MEMORY and within(_plain(upper[0]), entry.point) for entry in table()):
            return "%s is an overlay whose changes are in memory (%s)" % (mount.point, upper[0])
    return None


def late(path: str) -> str | None:
    """Why the file system that holds the real path ``path`` is not there by itself after a boot; None if it is.

    Known of systemd only: what it mounts has a unit from a file or from fstab, and what others mount for it (the
    manager of a container, an initramfs) is there before it has mounted the rest.
    """
    mount = of(path)
    if mount.point == "/" or not command.has_systemd():
        return None
    unit = command.run(["systemd-escape", "--path", "--suffix=mount", mount.point]).out.strip()
    if not unit:
        return None
    properties = "--property=Id,FragmentPath,SourcePath,ActiveEnterTimestampMonotonic"
    text = command.run(["systemctl", "show", properties, "--", unit, "local-fs.target"]).out
    shown = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in text.split("\n\n")]
    is_known = [one.get("Id") for one in shown] == [unit, "local-fs.target"]
    if not is_known or shown[0].get("FragmentPath") or shown[0].get("SourcePath"):
        return None
    since, ready = (int(one.get("ActiveEnterTimestampMonotonic") or 0) for one in shown)
    return "%s was mounted by hand: /etc/fstab does not have it" % mount.point if 0 < ready < since else None


@contextlib.contextmanager
def writable(layout: Layout, *several: t.Iterable[str]) -> t.Iterator[None]:
    """While it lasts, what holds these paths of the device can be written; then it is again as it was.

    A file system that is mounted read-only, and that the device's package manager remounts for its own changes, is
    remounted for the way back of such a change too.
    """
    opened = []
    points = {of(layout.real(path)).point for paths in several for path in paths} if layout.is_real else set()
    for point in sorted(points):
        if "ro" in of(point).options and command.run(["mount", "-o", "remount,bind,rw", point]).rc == 0:
            opened.append((point, "remount,bind,ro"))
        if os.statvfs(point).f_flag & os.ST_RDONLY and command.run(["mount", "-o", "remount,rw", point]).rc == 0:
            opened.append((point, "remount,ro"))
    try:
        yield
    finally:
        for point, options in opened:
            command.run(["mount", "-o", options, point])


def _plain(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), text)


def identity(fd: int) -> str:
    """The id of the mount that ``fd`` lies on (proc(5), fdinfo)."""
    with open("/proc/self/fdinfo/%d" % fd, encoding="ascii") as handle:
        for line in handle:
            if line.startswith("mnt_id:"):
                return line.split()[1]
    return str(os.fstat(fd).st_dev)
