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


def extended(real: str) -> dict[str, str]:
    """Every extended attribute in base64; ACLs and capabilities are among them."""
    try:
        names = os.listxattr(real, follow_symlinks=False)
        return {
            name: base64.b64encode(os.getxattr(real, name, follow_symlinks=False)).decode() for name in sorted(names)
        }
    except OSError:  # a file system without them
        return {}


def set_extended(real: str, attributes: t.Mapping[str, str]) -> None:
    """Make the extended attributes of ``real`` be ``attributes`` and no others."""
    present = extended(real)
    for name in present:
        if name not in attributes:
            os.removexattr(real, name, follow_symlinks=False)
    for name, value in attributes.items():
        if present.get(name) != value:
            os.setxattr(real, name, base64.b64decode(value), follow_symlinks=False)


def flags(real: str, mode: int) -> int:
    """Which of :data:`LOCKING` are set; 0 on a file system without them. ``mode`` is what lstat said."""
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return 0
    try:
        fd = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOATIME)
    except OSError:
        return 0
    try:
        return _read(fd) & LOCKING
    except OSError:
        return 0
    finally:
        os.close(fd)


def set_flags(real: str, locking: int) -> None:
    """Set exactly the flags ``locking`` of :data:`LOCKING`; nothing happens when they are set already."""
    fd = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        present = _read(fd)
        if present & LOCKING != locking:
            fcntl.ioctl(fd, _SET, struct.pack("L", (present & ~LOCKING) | locking))
    finally:
        os.close(fd)


def unlock(real: str) -> None:
    """Take the flags away that keep ``real`` from being changed, if it is there and has any."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        mode = os.lstat(real).st_mode
        if flags(real, mode):
            set_flags(real, 0)


def _read(fd: int) -> int:
    return int(struct.unpack("L", fcntl.ioctl(fd, _GET, struct.pack("L", 0)))[0])
