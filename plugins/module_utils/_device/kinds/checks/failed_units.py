# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Check ``failed_units``: no systemd unit has failed that had not before."""

from __future__ import annotations

import typing as t

from ...base import schema
from ...system import units
from . import Context, Unhealthy

REQUIRED = ()
RULES: dict[str, schema.Rule] = {"except": schema.list_of(schema.text)}


def look(check: t.Mapping[str, t.Any], context: Context) -> dict[str, t.Any]:
    """Compare with the failed units of the baseline; without one, none may have failed."""
    if not context.is_real:
        raise Unhealthy("units can be checked on a whole machine only, not in a directory")
    found = units.failed()
    new = found - set(context.baseline.get("failed", [])) - set(check.get("except", []))
    if new and context.baseline.get("taken", True):
        raise Unhealthy("newly failed: %s" % ", ".join(sorted(new)))
    return {"failed": sorted(found)}
