# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What the gate asks for beside the limits: soak, analysis, rules, breaker (docs/gates.md)."""

from __future__ import annotations

import typing as t

from ..base.numbers import from_text, is_number, is_whole
from ..base.plan import Breaker, Conditions
from . import analysis, rules

#: What a halt does beside stopping.
STOP, WAVE, ALL = "stop", "roll_back_wave", "roll_back_all"
_CHOICES = (STOP, WAVE, ALL)

DEFAULTS: Conditions = {
    "soak": 0,
    "on_halt": STOP,
    "analysis": [],
    "rules": [],
    "breaker": None,
}


def validate(conditions: object, problems: list[str]) -> Conditions:
    """The conditions with defaults; what is wrong with them is added to ``problems``, with the next step."""
    if not isinstance(conditions, dict):
        problems.append(f"conditions: must be a mapping such as {{soak: 600}}, not {conditions!r}")
        return DEFAULTS.copy()
    names = ", ".join(sorted(DEFAULTS))
    problems += [f"conditions.{key}: unknown; there are {names}" for key in conditions if key not in DEFAULTS]
    given = {key: value for key, value in conditions.items() if value is not None}
    settings = t.cast(Conditions, {**DEFAULTS, **given})
    soak = from_text(settings["soak"])
    settings["soak"] = t.cast(float, soak)
    if not (is_number(soak) and soak >= 0):
        problems.append(f"conditions.soak: must be seconds, 0 or more, not {soak!r}")
    if settings["on_halt"] not in _CHOICES:
        problems.append(f"conditions.on_halt: {settings['on_halt']!r} is none of {', '.join(_CHOICES)}")
    settings["analysis"] = analysis.validate(settings["analysis"], problems)
    settings["rules"] = rules.validate(settings["rules"], problems)
    settings["breaker"] = _breaker(settings["breaker"], problems)
    return settings


def lines(conditions: Conditions) -> list[str]:
    """For people; nothing about what is left at its default."""
    text = []
    if conditions["soak"]:
        text.append(f"each wave soaks for {conditions['soak']} seconds")
    if conditions["on_halt"] != STOP:
        which = "the wave" if conditions["on_halt"] == WAVE else "every device that it updated"
        text.append(f"takes back {which} when it halts")
    text += [f"analysis {metric['name']}: {analysis.line(metric)}" for metric in conditions["analysis"]]
    text += [f"{rule['decision']}s when {rule['when']}" for rule in conditions["rules"]]
    if conditions["breaker"]:
        text.append(f"nothing starts after {conditions['breaker']['halts']} halted rollouts of the channel in a row")
    return text


def _breaker(setting: object, problems: list[str]) -> Breaker | None:
    if setting is None:
        return None
    if not isinstance(setting, dict) or set(setting) != {"halts"} or not is_whole(setting["halts"], 1):
        problems.append(f"conditions.breaker: must be such as {{halts: 3}}, not {setting!r}")
        return None
    return {"halts": setting["halts"]}
