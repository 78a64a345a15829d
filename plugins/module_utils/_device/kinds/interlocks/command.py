# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Interlock ``command``: a program of the device decides by its exit code."""

from __future__ import annotations

from ...base import schema
from ...system import command
from . import TIMEOUT, Context, Entry, Unknown

HARMLESS = False
REQUIRED = ("argv",)
RULES: dict[str, schema.Rule] = {"argv": schema.list_of(schema.text, least=1)}
#: sysexits(3): temporary failure, the user is invited to retry.
NOT_NOW = 75


def look(entry: Entry, context: Context) -> str | None:
    """0 is go, 75 (``EX_TEMPFAIL``) not now; any other end says nothing. The last line that it prints is the reason."""
    argv, seconds = entry["argv"], entry.get("timeout", TIMEOUT)
    result = command.run(argv, timeout=seconds, environment={"FLEET_OTA_ROOT": context.root})
    if result.rc == 0:
        return None
    last_line = result.tail.splitlines()[-1:]
    if result.rc == NOT_NOW:
        return "%s says %s" % (argv[0], last_line[0] if last_line else "not now")
    raise Unknown("%s ended with %d%s" % (argv[0], result.rc, ": " + last_line[0] if last_line else ""))
