# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.
"""The settings of a plan that say when, how many and after whom, and whether two plans have the same ones."""

from __future__ import annotations

import dataclasses
import typing as t

from ..base.plan import BudgetEntry, Plan


@dataclasses.dataclass(frozen=True)
class Options:
    """The variables of docs/reference/plan.md beyond waves, limits and conditions, as they are given.

    ``windows``, ``freezes``, the minutes and ``urgent`` are for hosts that have no such variable of their own.
    """

    order: object = None
    together: object = None
    budget: object = None
    windows: object = None
    freezes: object = None
    expected_minutes: object = None
    back_minutes: object = None
    urgent: object = False


def difference(approved: Plan, plan: Plan) -> str | None:
    """What ``plan``, of the same devices or fewer, may do otherwise than ``approved``; None if nothing.

    What was approved for a device holds for that device: its windows, whom it comes after, its place in the budget. A
    budget reckons with targets, so that fewer of them may give smaller numbers, never bigger ones.
    """
    for key, words in (("order", "another order"), ("together", "others together"), ("urgent", "another urgency")):
        if approved.document.get(key) != plan.document.get(key):
            return f"was given with {words}"
    names = {name for wave in plan.waves for name in wave["hosts"]}
    if _schedules(approved, names) != _schedules(plan, names):
        return "was given for other windows or freezes"
    if _dependencies(approved, names) != _dependencies(plan, names):
        return "has these devices after others"
    fits = _budget_fits(approved.budget, plan.budget, names)
    return None if fits else "was given with another budget"


def _schedules(plan: Plan, names: set[str]) -> dict[str, dict[str, object]]:
    """What a device may do when, by device."""
    return {
        name: {key: value for key, value in schedule.items() if key != "hosts"}
        for schedule in plan.schedules
        for name in schedule["hosts"]
        if name in names
    }


def _dependencies(plan: Plan, names: set[str]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Whom each device comes after, and who is in the groups that this names."""
    dependencies = plan.document.get("dependencies") or {"after": {}, "groups": {}}
    after = {name: others for name, others in dependencies["after"].items() if name in names}
    named = {other for others in after.values() for other in others}
    return after, {name: sorted(members) for name, members in dependencies["groups"].items() if name in named}


def _budget_fits(approved: t.Sequence[BudgetEntry], budget: t.Sequence[BudgetEntry], names: set[str]) -> bool:
    if [_rule(entry) for entry in approved] != [_rule(entry) for entry in budget]:
        return False
    for before, now in zip(approved, budget, strict=True):
        most = {group["value"]: group["most"] for group in before["groups"]}
        if any(group["most"] > most.get(group["value"], 0) for group in now["groups"]):
            return False
        if _places(before, names) != _places(now, names):
            return False
    return True


def _places(entry: BudgetEntry, names: set[str]) -> dict[str, str | None]:
    """In which group of a budget's entry each device counts."""
    return {name: group["value"] for group in entry["groups"] for name in group["hosts"] or () if name in names}


def _rule(entry: BudgetEntry) -> dict[str, object]:
    return {key: value for key, value in entry.items() if key != "groups"}
