# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Check ``command``: a program ends with an exit code."""

from __future__ import annotations

from ...base import schema
from ...system import command
from . import Check, Context, Measured, Unhealthy

REQUIRED = ("argv",)
WAIT = 30.0
RULES: dict[str, schema.Rule] = {
    "argv": schema.list_of(schema.text, least=1),
    "rc": schema.whole(0, 255),
    "wait": schema.number(0.1),
}


def look(check: Check, context: Context) -> Measured:
    """Run it once, without a shell."""
    result = command.run(check["argv"], timeout=float(check.get("wait", WAIT)))
    expected = check.get("rc", 0)
    if result.rc != expected:
        raise Unhealthy("%s ended with %d, not %d: %s" % (" ".join(check["argv"]), result.rc, expected, result.tail))
    return {"rc": result.rc}
