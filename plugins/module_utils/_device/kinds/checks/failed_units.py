# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Check ``failed_units``: no systemd unit has failed that had not before."""

from __future__ import annotations

from ...base import schema
from ...system import units
from . import Check, Context, Measured, Unhealthy

REQUIRED = ()
RULES: dict[str, schema.Rule] = {"except": schema.list_of(schema.text)}


def look(check: Check, context: Context) -> Measured:
    """Compare with the failed units of the baseline; without one, none may have failed."""
    if not context.is_real:
        raise Unhealthy("units can be checked on a whole machine only, not in a directory")
    failed = units.failed()
    new = failed - set(context.baseline.get("failed", [])) - set(check.get("except", []))
    if new and context.baseline.get("taken", True):
        raise Unhealthy("newly failed: %s" % ", ".join(sorted(new)))
    return {"failed": sorted(failed)}
