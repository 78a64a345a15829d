# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What a file has besides owner, mode and content: extended attributes, and the flags of chattr(1)."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import stat
import struct
import typing as t

#: Those flags that keep even root from changing a file (linux/fs.h): immutable, and append only.
LOCKING = 0x10 | 0x20
_GET, _SET = 0x80086601, 0x40086602  # FS_IOC_GETFLAGS, FS_IOC_SETFLAGS on 64 bits; the kernel reads an int
if struct.calcsize("l") == 4:
    _GET, _SET = 0x80046601, 0x40046602


def place(fd: int) -> str:
    """A path that leads to what ``fd`` is, whatever has its name by now; also to a link itself (``O_PATH``)."""
    return "/proc/self/fd/%d" % fd


def opened(found: int) -> int:
    """What ``found`` (``O_PATH``) is, a regular file or a directory, for reading: that and nothing that has its name by
    now. The place itself (a copy of ``found``) where reading is not allowed.

    A file that is leased (fcntl(2), Samba's oplocks) is waited for: its holder is asked to give that up.
    """
    with contextlib.suppress(PermissionError):
        try:
            return _opened(found, os.O_NOATIME)
        except PermissionError:  # not ours: its access time changes
            return _opened(found, 0)
    return os.dup(found)


def _opened(found: int, more: int) -> int:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | more
    try:
        return os.open(place(found), flags | os.O_NONBLOCK)
    except BlockingIOError:
        return os.open(place(found), flags)


def extended(fd: int) -> dict[str, str]:
    """Every extended attribute in base64; ACLs and capabilities are among them."""
    try:
        names = os.listxattr(place(fd))
        return {name: base64.b64encode(os.getxattr(place(fd), name)).decode() for name in sorted(names)}
    except OSError:  # a file system without them
        return {}


def set_extended(fd: int, wanted: t.Mapping[str, str]) -> None:
    """Make the extended attributes ``wanted`` and no others."""
    present = extended(fd)
    for name in present:
        if name not in wanted:
            os.removexattr(place(fd), name)
    for name, value in wanted.items():
        if present.get(name) != value:
            os.setxattr(place(fd), name, base64.b64decode(value))


def flags(fd: int, mode: int) -> int:
    """Which of :data:`LOCKING` are set; 0 on a file system without them. ``mode`` is what fstat says."""
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return 0
    try:
        return _read(fd) & LOCKING
    except OSError:
        return 0


def set_flags(fd: int, wanted: int) -> None:
    """Set exactly the ``wanted`` ones of :data:`LOCKING` on what is open for reading; nothing happens when they are."""
    present = _read(fd)
    if present & LOCKING != wanted:
        fcntl.ioctl(fd, _SET, struct.pack("L", (present & ~LOCKING) | wanted))


def _read(fd: int) -> int:
    return int(struct.unpack("L", fcntl.ioctl(fd, _GET, struct.pack("L", 0)))[0])
