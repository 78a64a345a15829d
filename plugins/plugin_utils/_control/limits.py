# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""How many failures a rollout bears (docs/reference/plan.md)."""

from __future__ import annotations

import typing as t

from .numbers import is_number, is_whole

DEFAULTS: t.Mapping[str, t.Any] = {"max_failures": 0, "max_failure_percent": None, "min_executed": 10}


def check(limits: t.Any, problems: list[str]) -> dict[str, t.Any]:
    """The limits with defaults; what is wrong with them is added to ``problems``, with the next step."""
    if not isinstance(limits, dict):
        problems.append(f"limits: must be a mapping such as {{max_failures: 0}}, not {limits!r}")
        return dict(DEFAULTS)
    bounds = {**DEFAULTS, **limits}
    known = ", ".join(sorted(DEFAULTS))
    problems += [f"limits.{key}: unknown; there are {known}" for key in limits if key not in DEFAULTS]
    if bounds["max_failures"] is not None and not is_whole(bounds["max_failures"], 0):
        problems.append(f"limits.max_failures: must be a whole number or null, not {bounds['max_failures']!r}")
    percent = bounds["max_failure_percent"]
    if percent is not None and not (is_number(percent) and 0 <= percent <= 100):
        problems.append(f"limits.max_failure_percent: must be a number from 0 to 100 or null, not {percent!r}")
    if not is_whole(bounds["min_executed"], 1):
        problems.append(f"limits.min_executed: must be a whole number of at least 1, not {bounds['min_executed']!r}")
    return bounds
