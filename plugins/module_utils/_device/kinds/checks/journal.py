# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Check ``journal``: how many messages of a priority, or worse, systemd's journal got lately."""

from __future__ import annotations

import json
import time

from ...base import schema
from ...system import command
from . import Check, Context, Measured, Unhealthy

REQUIRED = ()
RULES: dict[str, schema.Rule] = {
    "unit": schema.matching(schema.UNIT),
    "priority": schema.choice("emerg", "alert", "crit", "err", "warning", "notice"),
    "window": schema.number(1),
    "max": schema.whole(0),
    "above_baseline": schema.whole(0),
}
_MOST = 10000


def look(check: Check, context: Context) -> Measured:
    """Count those of the last ``window`` seconds (60) of this boot, by the monotonic clock.

    At most ``max`` (0) may be there; with ``above_baseline`` so many more than before the update are allowed.
    """
    if not context.is_real:
        raise Unhealthy("the journal can be read on a whole machine only, not in a directory")
    argv = ["journalctl", "--quiet", "--no-pager", "--boot", "--reverse", "--lines=%d" % _MOST, "--output=json"]
    argv += ["--output-fields=PRIORITY", "--priority=%s" % check.get("priority", "err")]
    argv += ["--unit=%s" % check["unit"]] if "unit" in check else []
    result = command.run(argv)
    if result.rc != 0:
        raise Unhealthy("inconclusive: journalctl ended with %d: %s" % (result.rc, result.tail))
    since = (time.monotonic() - float(check.get("window", 60))) * 1e6
    lines = [json.loads(line) for line in result.out.splitlines() if line.startswith("{")]
    count = sum(1 for line in lines if float(line["__MONOTONIC_TIMESTAMP"]) >= since)
    allowed = check.get("max", 0)
    if "above_baseline" in check:
        allowed = max(allowed, context.baseline.get("count", 0) + check["above_baseline"])
    if count > allowed:
        raise Unhealthy("%d messages in %s s, at most %d are allowed" % (count, check.get("window", 60), allowed))
    return {"count": count}
