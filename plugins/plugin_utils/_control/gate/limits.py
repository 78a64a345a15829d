# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""How many failures a rollout bears, in all and of each kind (docs/reference/plan.md)."""

from __future__ import annotations

import fractions
import typing as t

from ..base.numbers import is_number, is_whole

DEFAULTS: t.Mapping[str, t.Any] = {"max_failures": 0, "max_failure_percent": None, "min_executed": 10, "kinds": {}}
#: What a failure may be limited by. ``broken`` is no kind: one of them halts whatever the limits are.
KINDS = ("lost", "refused", "restored", "timed_out", "unhealthy")
_KIND: t.Mapping[str, t.Any] = {"max": None, "max_percent": None}


def check(limits: t.Any, problems: list[str]) -> dict[str, t.Any]:
    """The limits with defaults; what is wrong with them is added to ``problems``, with the next step."""
    if not isinstance(limits, dict):
        problems.append(f"limits: must be a mapping such as {{max_failures: 0}}, not {limits!r}")
        return dict(DEFAULTS)
    bounds = {**DEFAULTS, **limits}
    known = ", ".join(sorted(DEFAULTS))
    problems += [f"limits.{key}: unknown; there are {known}" for key in limits if key not in DEFAULTS]
    _check_most("limits.max_failures", bounds["max_failures"], problems)
    _check_percent("limits.max_failure_percent", bounds["max_failure_percent"], problems)
    if not is_whole(bounds["min_executed"], 1):
        problems.append(f"limits.min_executed: must be a whole number of at least 1, not {bounds['min_executed']!r}")
    bounds["kinds"] = _check_kinds(bounds["kinds"], problems)
    return bounds


def exceeded(limits: t.Mapping[str, t.Any], kinds: t.Mapping[str, int], executed: int) -> str | None:
    """Which limit is exceeded by so many failures of each kind among ``executed`` devices; None if none is."""
    failed = sum(kinds.values())
    found = _exceeded(limits["max_failures"], limits["max_failure_percent"], failed, executed, limits["min_executed"])
    if found:
        return found
    for kind, bound in limits["kinds"].items():
        count = kinds.get(kind, 0)
        found = _exceeded(bound["max"], bound["max_percent"], count, executed, limits["min_executed"], kind)
        if found:
            return found
    return None


def lines(limits: t.Mapping[str, t.Any]) -> list[str]:
    """When they halt a rollout, for people, one condition each."""
    bounds = {
        "failed": {"max": limits["max_failures"], "max_percent": limits["max_failure_percent"]},
        **limits["kinds"],
    }
    text = []
    for kind, bound in bounds.items():
        if bound["max"] is not None:
            text.append(f"more than {bound['max']} {kind}")
        if bound["max_percent"] is not None:
            text.append(f"more than {bound['max_percent']} % {kind} of at least {limits['min_executed']}")
    return text


def _exceeded(
    most: int | None, percent: float | None, count: int, executed: int, least: int, kind: str = "failed"
) -> str | None:
    if most is not None and count > most:
        return f"{count} {kind}, {most} allowed"
    # through text, so that 33.3 % of 1000 is 333 and not 332.99999999999994
    allowed = None if percent is None else fractions.Fraction(str(percent)) / 100 * executed
    if allowed is not None and executed >= least and count > allowed:
        return f"{count} of {executed} executed {kind}, {percent} % allowed"
    return None


def _check_kinds(kinds: t.Any, problems: list[str]) -> dict[str, dict[str, t.Any]]:
    if not isinstance(kinds, dict):
        problems.append(f"limits.kinds: must be a mapping such as {{lost: {{max: 2}}}}, not {kinds!r}")
        return {}
    found = {}
    for kind, bound in kinds.items():
        where = f"limits.kinds.{kind}"
        if kind == "broken":
            problems.append(f"{where}: one broken device halts a rollout whatever the limits are; leave it out")
        elif kind not in KINDS:
            problems.append(f"{where}: unknown; there are {', '.join(KINDS)}")
        elif not isinstance(bound, dict) or not {"max", "max_percent"} & {k for k, v in bound.items() if v is not None}:
            problems.append(f"{where}: limits nothing; give max, max_percent or both")
        else:
            problems += [f"{where}.{key}: unknown; there are max, max_percent" for key in bound if key not in _KIND]
            found[kind] = {**_KIND, **bound}
            _check_most(f"{where}.max", found[kind]["max"], problems)
            _check_percent(f"{where}.max_percent", found[kind]["max_percent"], problems)
    return dict(sorted(found.items()))


def _check_most(where: str, value: t.Any, problems: list[str]) -> None:
    if value is not None and not is_whole(value, 0):
        problems.append(f"{where}: must be a whole number or null, not {value!r}")


def _check_percent(where: str, value: t.Any, problems: list[str]) -> None:
    if value is not None and not (is_number(value) and 0 <= value <= 100):
        problems.append(f"{where}: must be a number from 0 to 100 or null, not {value!r}")
