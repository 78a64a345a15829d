# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What the gate asks for beside the limits: soak, analysis, rules, approvals (docs/reference/plan.md)."""

from __future__ import annotations

import typing as t

DEFAULTS: t.Mapping[str, t.Any] = {"soak": 0}


def check(conditions: t.Any, problems: list[str]) -> dict[str, t.Any]:
    """The conditions with defaults; what is wrong with them is added to ``problems``, with the next step."""
    if not isinstance(conditions, dict):
        problems.append(f"conditions: must be a mapping such as {{soak: 600}}, not {conditions!r}")
        return dict(DEFAULTS)
    known = ", ".join(sorted(DEFAULTS))
    problems += [f"conditions.{key}: unknown; there are {known}" for key in conditions if key not in DEFAULTS]
    return {**DEFAULTS, **conditions}
