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
from ..base.plan import KindLimit, Limits

DEFAULTS: Limits = {"max_failures": 0, "max_failure_percent": None, "min_executed": 10, "kinds": {}}
#: What a failure may be limited by. ``broken`` is no kind: one of them halts whatever the limits are.
KINDS = ("lost", "refused", "restored", "timed_out", "unhealthy")
_KIND: KindLimit = {"max": None, "max_percent": None}


def validate(limits: object, problems: list[str]) -> Limits:
    """The limits with defaults; what is wrong with them is added to ``problems``, with the next step."""
    if not isinstance(limits, dict):
        problems.append(f"limits: must be a mapping such as {{max_failures: 0}}, not {limits!r}")
        return DEFAULTS.copy()
    bounds = t.cast(Limits, {**DEFAULTS, **limits})
    names = ", ".join(sorted(DEFAULTS))
    problems += [f"limits.{key}: unknown; there are {names}" for key in limits if key not in DEFAULTS]
    _validate_most("limits.max_failures", bounds["max_failures"], problems)
    _validate_percent("limits.max_failure_percent", bounds["max_failure_percent"], problems)
    if not is_whole(bounds["min_executed"], 1):
        problems.append(f"limits.min_executed: must be a whole number of at least 1, not {bounds['min_executed']!r}")
    bounds["kinds"] = _validate_kinds(bounds["kinds"], problems)
    return bounds


def exceeded(limits: Limits, kinds: t.Mapping[str, int], executed: int) -> str | None:
    """Which limit is exceeded by so many failures of each kind among ``executed`` devices; None if none is."""
    failed = sum(kinds.values())
    reason = _exceeded(limits["max_failures"], limits["max_failure_percent"], failed, executed, limits["min_executed"])
    if reason:
        return reason
    for kind, bound in limits["kinds"].items():
        count = kinds.get(kind, 0)
        reason = _exceeded(bound["max"], bound["max_percent"], count, executed, limits["min_executed"], kind)
        if reason:
            return reason
    return None


def lines(limits: Limits) -> list[str]:
    """When they halt a rollout, for people, one condition each."""
    bounds: dict[str, KindLimit] = {
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


def _validate_kinds(kinds: object, problems: list[str]) -> dict[str, KindLimit]:
    if not isinstance(kinds, dict):
        problems.append(f"limits.kinds: must be a mapping such as {{lost: {{max: 2}}}}, not {kinds!r}")
        return {}
    limits: dict[str, KindLimit] = {}
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
            limits[kind] = t.cast(KindLimit, {**_KIND, **bound})
            _validate_most(f"{where}.max", limits[kind]["max"], problems)
            _validate_percent(f"{where}.max_percent", limits[kind]["max_percent"], problems)
    return dict(sorted(limits.items()))


def _validate_most(where: str, value: object, problems: list[str]) -> None:
    if value is not None and not is_whole(value, 0):
        problems.append(f"{where}: must be a whole number or null, not {value!r}")


def _validate_percent(where: str, value: object, problems: list[str]) -> None:
    if value is not None and not (is_number(value) and 0 <= value <= 100):
        problems.append(f"{where}: must be a number from 0 to 100 or null, not {value!r}")
