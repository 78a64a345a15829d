# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""One step at a time: the device's own lock. The kernel gives it back when its holder dies, however it dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import typing as t

from ..base.errors import OtaError
from .layout import Layout


@contextlib.contextmanager
def hold(layout: Layout, wait: float = 0.0, name: str = "lock") -> t.Iterator[None]:
    """Hold the device's lock, or another of that ``name``; OtaError ``BUSY`` if it is not free in ``wait`` seconds."""
    fd = os.open(layout.file(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        end = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() >= end:
                    raise OtaError("BUSY", "another step is running on this device; try again later") from None
                time.sleep(0.05)
        yield
    finally:
        os.close(fd)


def is_free(layout: Layout) -> bool:
    """Whether the lock is free right now."""
    try:
        with hold(layout):
            return True
    except OtaError:
        return False
