# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.
"""Windows, freezes and zone of each device, as a plan keeps them (docs/windows.md).

They are variables of each host, because sites differ; devices with the same ones share an entry of the plan.
"""

from __future__ import annotations

import datetime
import json
import typing as t

from . import clocks, freezes, windows
from .numbers import is_number
from .selection import Inventory

WINDOWS, FREEZES, TIMEZONE = "fleet_ota_windows", "fleet_ota_freezes", "fleet_ota_timezone"

Schedule = t.Mapping[str, t.Any]


def collect(
    hosts: t.Sequence[str],
    inventory: Inventory,
    *,
    default_windows: t.Any,
    default_freezes: t.Any,
    minutes: t.Mapping[str, t.Any],
    read: freezes.Read | None,
    problems: list[str],
) -> list[dict[str, t.Any]]:
    """Entries of ``timezone``, ``windows``, ``freezes``, ``minutes`` and ``hosts``; none for who may go at any time.

    The defaults are for hosts whose variables have none. ``minutes`` has ``expected`` and ``back``, how long an update
    and the way back are expected to take, ``read`` gives the text of a calendar file. Mistakes go to ``problems``, each
    once, however many hosts share it.
    """
    spent = {key: windows.MINUTES if minutes.get(key) is None else minutes[key] for key in ("expected", "back")}
    for key, value in spent.items():
        if not (is_number(value) and 0 < value <= 24 * 60):
            problems.append(f"{key}_minutes: must be a number above 0 and up to 1440, not {value!r}")
            spent[key] = windows.MINUTES
    needed = datetime.timedelta(minutes=sum(spent.values()))
    found: dict[str, dict[str, t.Any] | None] = {}
    for name in hosts:
        variables = inventory.get(name, {})
        given = (
            variables.get(WINDOWS, default_windows),
            variables.get(FREEZES, default_freezes),
            variables.get(TIMEZONE) or "UTC",
        )
        if not given[0] and not given[1]:
            continue
        key = json.dumps(given, sort_keys=True, default=str)
        if key not in found:
            found[key] = _checked(name, *given, needed, read, problems)
        schedule = found[key]
        if schedule is not None:
            schedule["hosts"].append(name)
    return [{**schedule, "minutes": spent} for schedule in found.values() if schedule is not None]


def by_host(schedules: t.Sequence[Schedule], hosts: t.Collection[str]) -> dict[str, Schedule]:
    """The schedule of each of ``hosts`` that has one."""
    wanted = set(hosts)
    return {name: schedule for schedule in schedules for name in schedule["hosts"] if name in wanted}


def downloading(plan: t.Mapping[str, t.Any], now: datetime.datetime) -> list[str]:
    """The hosts of ``plan`` that may be sent payloads ``now``, in its order."""
    shut = {
        name
        for schedule in plan.get("schedules", ())
        if windows.may_download(schedule, now) is not None
        for name in schedule["hosts"]
    }
    return [name for wave in plan["waves"] for name in wave["hosts"] if name not in shut]


def obstacle(schedule: Schedule, now: datetime.datetime) -> tuple[str, str] | None:
    """Why a device of this schedule must not be touched ``now``: a code and a sentence; None if it may be."""
    zone = clocks.zone(schedule["timezone"])
    rules = schedule["windows"]
    needed = datetime.timedelta(minutes=sum(schedule["minutes"].values()))
    if rules.get("at_end") == "finish":
        needed = datetime.timedelta()
    reason = freezes.frozen(schedule["freezes"], zone, now, needed)
    if reason:
        return "FREEZE", reason
    reason = windows.closed(rules["install"], zone, now, needed) if rules.get("install") else None
    return ("WINDOW", reason) if reason else None


def _checked(
    name: str,
    wanted: t.Any,
    frozen: t.Any,
    timezone: t.Any,
    needed: datetime.timedelta,
    read: freezes.Read | None,
    problems: list[str],
) -> dict[str, t.Any] | None:
    before = len(problems)
    try:
        clocks.zone(timezone)
    except ValueError as error:
        problems.append(f"{TIMEZONE} of {name}: {error}; correct it")
    rules = windows.check(f"windows of {name}", wanted, needed, problems) if wanted else {}
    times = freezes.check(f"freezes of {name}", frozen, read, problems) if frozen else []
    if len(problems) > before:
        return None
    return {"timezone": timezone, "windows": rules, "freezes": times, "hosts": []}
