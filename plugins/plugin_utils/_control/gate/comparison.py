# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Comparisons of measured numbers, as settings write them: ``{at_most: 5}``, ``{at_most: 1.1, of: baseline}``.

No expression language: what must be computed is computed by who answers the query.
"""

from __future__ import annotations

import math
import operator
import typing as t

from ..base import expressions
from ..base.numbers import is_number
from ..base.plan import Condition

_OPERATORS: t.Mapping[str, t.Callable[[float, float], bool]] = {
    "equals": operator.eq,
    "at_most": operator.le,
    "at_least": operator.ge,
    "below": operator.lt,
    "above": operator.gt,
}


class Reading(t.TypedDict):
    """One measurement: ``value`` is the first of ``values``, ``baseline`` that of the devices not updated yet."""

    values: list[float]
    data: object
    value: float | None
    baseline: float | None


class Missing(Exception):
    """What would have to be compared is not there or is not a number; says what."""


def problem(condition: object) -> str | None:
    """What is wrong with a condition, with the next step; None if nothing is."""
    if isinstance(condition, str):
        return expressions.problem(condition)
    if not isinstance(condition, dict):
        return f"must be a JMESPath expression or a comparison such as {{at_most: 5}}, not {condition!r}"
    given = set(condition) & set(_OPERATORS)
    if len(given) != 1 or set(condition) - given - {"of"}:
        return f"a comparison has one of {', '.join(_OPERATORS)}, and perhaps of: baseline; not {condition!r}"
    number = condition[given.pop()]
    if not is_number(number):
        return f"{number!r} is not a number"
    return None if condition.get("of") in (None, "baseline") else f"of: can only be baseline, not {condition['of']!r}"


def needs_baseline(condition: Condition | None) -> bool:
    """Whether it compares with the baseline."""
    if isinstance(condition, str):
        return "baseline" in expressions.reads(condition)
    return condition is not None and condition.get("of") == "baseline"


def no_baseline(reading: Reading) -> bool:
    """Whether there is nothing to compare with."""
    return reading["baseline"] is None or math.isnan(reading["baseline"])


def holds(condition: Condition, reading: Reading, every: bool) -> bool:
    """Whether a condition is true of a reading ``{values, baseline, ...}``: of ``every`` value of it, or of any.

    Raises :class:`Missing`.
    """
    if isinstance(condition, str):
        return _expression_holds(condition, reading)
    [(name, number)] = _bounds(condition)
    values = reading["values"]
    if not values:
        raise Missing("no data")
    if not all(math.isfinite(value) or (math.isinf(value) and name != "equals") for value in values):
        raise Missing("not a number")
    if condition.get("of") == "baseline":
        base = reading["baseline"]
        if base is None or not math.isfinite(base):
            raise Missing("no baseline")
        number = number * base
    answers = [_OPERATORS[name](value, number) for value in values]
    return all(answers) if every else any(answers)


def _expression_holds(condition: str, reading: Reading) -> bool:
    """JMESPath takes null for false, for equal to nothing, and for unequal to everything: none of it is measured."""
    asked = expressions.reads(condition)
    # who asks how many values there are says itself what none of them means
    if not reading["values"] and asked & {"value", "values"} and "length(values)" not in asked:
        raise Missing("no data")
    if any(map(math.isnan, reading["values"])):
        raise Missing("not a number")
    if "baseline" in asked and no_baseline(reading):
        raise Missing("no baseline")
    try:
        answer = expressions.search(condition, reading)
    except ValueError as error:
        raise Missing(str(error)) from None
    if answer is None:
        raise Missing("no data")
    return expressions.true(answer)


def _bounds(condition: t.Mapping[str, float | str]) -> list[tuple[str, float]]:
    return [(key, t.cast(float, value)) for key, value in condition.items() if key != "of"]


def text(condition: Condition) -> str:
    """For people."""
    if isinstance(condition, str):
        return condition
    [(name, number)] = _bounds(condition)
    times = " times the baseline" if condition.get("of") else ""
    return f"{name.replace('_', ' ')} {number}{times}"
