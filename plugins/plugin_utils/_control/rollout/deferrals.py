# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.
"""Who of a turn must not be touched now, and why."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ..base.inventory import Inventory
from ..base.plan import Plan
from ..journal.outcomes import Standing
from ..planning import budget
from ..schedule.schedule import by_host, obstacle

HOLD = "fleet_ota_hold"


@dataclasses.dataclass(frozen=True)
class Deferral:
    """Why a device waits: a code of docs/reference/outcomes.md and a sentence with the next step."""

    code: str
    message: str


def find(
    plan: Plan,
    standings: t.Mapping[str, Standing],
    hosts: t.Sequence[str],
    inventory: Inventory,
    now: datetime.datetime,
) -> dict[str, Deferral]:
    """Those of ``hosts`` (one turn) that must wait at ``now`` (with a time zone), in their order.

    The plan that was approved says when and how many; of ``inventory`` counts alone who is held at the moment, and for
    a budget who there is beside the plan. An urgent release passes windows and freezes, and nothing else.
    """
    held: dict[str, Deferral] = {}
    for name in hosts:
        why = _held(inventory[name].get(HOLD)) if name in inventory else None
        if why:
            held[name] = Deferral("HOLD", f"{name} is held: {why}; take {HOLD} away and run the rollout again")
    if not plan.urgent:
        _untimely(plan, hosts, now, held)
    _unready(plan, standings, hosts, held)
    rest = [name for name in hosts if name not in held]
    planned = {name for wave in plan.waves for name in wave["hosts"]} if plan.budget else ()
    for name, why in budget.over(plan.budget, standings, rest, inventory, planned).items():
        held[name] = Deferral("BUDGET", f"no room for {name}: {why}; mend those, or wait, and run the rollout again")
    return {name: held[name] for name in hosts if name in held}


def _held(value: object) -> str | None:
    """What a maintenance flag says; None if it is not up."""
    if isinstance(value, str):
        # extra vars and INI inventories know texts only
        return None if value.strip().lower() in ("", "false", "no", "off", "0") else value.strip()
    return f"{HOLD} is set" if value else None


def _untimely(plan: Plan, hosts: t.Sequence[str], now: datetime.datetime, held: dict[str, Deferral]) -> None:
    reasons: dict[int, tuple[str, str] | None] = {}
    for name, schedule in by_host(plan.schedules, hosts).items():
        key = id(schedule)
        if key not in reasons:
            reasons[key] = obstacle(schedule, now)
        reason = reasons[key]
        if reason and name not in held:
            held[name] = Deferral(reason[0], f"{name} {reason[1]}; run the rollout again then")


def _unready(
    plan: Plan,
    standings: t.Mapping[str, Standing],
    hosts: t.Sequence[str],
    held: dict[str, Deferral],
) -> None:
    dependencies = plan.document.get("dependencies")
    if not dependencies:
        return
    unready: dict[str, list[str]] = {}
    for name in hosts:
        missing: list[str] = []
        for other in dependencies["after"].get(name, ()):
            if other not in unready:
                members = dependencies["groups"].get(other, [other])
                unready[other] = [_stands(one, standings) for one in members if not _ready(one, standings)]
            missing += [one for one in unready[other] if one not in missing]
        if missing and name not in held:
            shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
            message = f"{name} comes after {shown}; bring that to the release first, then run the rollout again"
            held[name] = Deferral("DEPENDENCY", message)


def _ready(name: str, standings: t.Mapping[str, Standing]) -> bool:
    return name in standings and standings[name].as_planned


def _stands(name: str, standings: t.Mapping[str, Standing]) -> str:
    standing = standings.get(name)
    if standing is None:
        return f"{name} (nothing is recorded)"
    return f"{name} ({standing.outcome if standing.healthy else 'unhealthy'})"
