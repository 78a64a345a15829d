# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""How long an answer may take: at all, and compared with how long it took before the update."""

from __future__ import annotations

from ...base import schema
from . import Check, Context, Unhealthy

RULES: dict[str, schema.Rule] = {"max_seconds": schema.number(0), "baseline_factor": schema.number(1)}
#: Seconds below which twice as long is noise.
_NOISE = 0.05


def judge(check: Check, seconds: float, context: Context) -> None:
    """Unhealthy when it took too long; without a measurement from before there is nothing to compare with."""
    if "max_seconds" in check and not seconds <= check["max_seconds"]:
        raise Unhealthy("answers after %.3f s, at most %s are allowed" % (seconds, check["max_seconds"]))
    before = context.baseline.get("seconds")
    if "baseline_factor" in check and before is not None:
        allowed = max(before * check["baseline_factor"], _NOISE)
        if not seconds <= allowed:
            raise Unhealthy("answers after %.3f s, before the update after %.3f s" % (seconds, before))
