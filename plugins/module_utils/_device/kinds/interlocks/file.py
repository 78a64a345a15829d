# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Interlock ``file``: held while a path is there (or, with ``absent``, while it is not)."""

from __future__ import annotations

import os

from ...base import schema
from . import Context, Entry, Unknown

HARMLESS = False
REQUIRED = ("path",)
RULES: dict[str, schema.Rule] = {"path": schema.absolute, "absent": schema.choice(True, False)}


def look(entry: Entry, context: Context) -> str | None:
    """A link that leads nowhere is there too."""
    path, there = entry["path"], True
    try:
        os.lstat(context.real(path))
    except (FileNotFoundError, NotADirectoryError):
        there = False
    except OSError as error:
        raise Unknown("%s: %s" % (path, error.strerror)) from error
    if entry.get("absent"):
        return None if there else "%s is not there" % path
    return "%s is there" % path if there else None
