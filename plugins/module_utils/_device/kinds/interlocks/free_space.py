# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Interlock ``free_space``: held while a file system has less room than it must keep."""

from __future__ import annotations

import os

from ...base import schema
from . import Context, Entry, Unknown

HARMLESS = True
REQUIRED = ("path", "min_bytes")
RULES: dict[str, schema.Rule] = {"path": lambda value: None if value == "/" else schema.absolute(value),
                                 "min_bytes": schema.whole(1)}  # fmt: skip


def look(entry: Entry, context: Context) -> str | None:
    """What others than root may still use of the file system that ``path`` is on."""
    try:
        disk = os.statvfs(context.real(entry["path"]))
    except OSError as error:
        raise Unknown("%s: %s" % (entry["path"], error.strerror)) from error
    free = disk.f_bavail * disk.f_frsize
    if free >= entry["min_bytes"]:
        return None
    return "%d bytes are free at %s, not %d" % (free, entry["path"], entry["min_bytes"])
