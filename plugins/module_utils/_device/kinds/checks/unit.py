# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Check ``unit``: a systemd unit is active and does not restart."""

from __future__ import annotations

from ...base import schema
from ...system import units
from . import Check, Context, Measured, Unhealthy

REQUIRED = ("unit",)
RULES: dict[str, schema.Rule] = {
    "unit": schema.matching(schema.UNIT),
    "max_restarts": schema.whole(0),
}


def look(check: Check, context: Context) -> Measured:
    """Active now, or a one-shot that ended well; with ``renewed`` also not in the run of the baseline."""
    if not context.is_real:
        raise Unhealthy("units can be checked on a whole machine only, not in a directory")
    properties = units.show([check["unit"]])[check["unit"]]
    # The reason stands behind the name of the check.
    subject = "it" if check["unit"] in check["name"] else check["unit"]
    if properties.get("LoadState") != "loaded":
        raise Unhealthy("%s is %s" % (subject, properties.get("LoadState", "unknown")))
    renewed = bool(check.get("renewed"))
    if properties.get("ActiveState") != "active" and not units.ended_well(properties, started=renewed):
        raise Unhealthy("%s is %s (%s)" % (subject, properties.get("ActiveState"), properties.get("SubState")))
    # What drains still answers: health is that of processes of the change.
    invocation = properties.get("InvocationID", "")
    if renewed and invocation and invocation == context.baseline.get("invocation"):
        raise Unhealthy("%s still runs the process of before this change" % subject)
    # A restart between two looks must break the row of passes: the runner compares consecutive looks.
    restarts = int(properties.get("NRestarts") or 0)
    if restarts > check.get("max_restarts", restarts):
        message = "%s was restarted %d times, at most %d are allowed"
        raise Unhealthy(message % (subject, restarts, check["max_restarts"]))
    return {"restarts": restarts, "invocation": invocation}
