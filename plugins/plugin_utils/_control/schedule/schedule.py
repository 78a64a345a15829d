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

from ..base.inventory import Inventory
from ..base.numbers import is_number
from ..base.plan import Plan, Schedule
from . import clock, freezes, windows

WINDOWS, FREEZES, TIMEZONE = "fleet_ota_windows", "fleet_ota_freezes", "fleet_ota_timezone"
URGENT = "fleet_ota_urgent"
#: How long the update and the way back are expected to take.
MINUTES = {"expected": "fleet_ota_expected_minutes", "back": "fleet_ota_back_minutes"}

_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def collect(
    hosts: t.Sequence[str],
    inventory: Inventory,
    *,
    default_windows: object,
    default_freezes: object,
    minutes: t.Mapping[str, object],
    read: freezes.Read | None,
    problems: list[str],
) -> list[Schedule]:
    """Entries of ``timezone``, ``windows``, ``freezes``, ``minutes`` and ``hosts``; none for who may go at any time.

    The defaults, ``minutes`` (``expected`` and ``back``) too, are for hosts whose variables have none; ``read`` gives
    the text of a calendar file. Mistakes go to ``problems``, each once, however many hosts share it.
    """
    defaults = {key: _minutes(f"{key}_minutes", minutes.get(key), windows.MINUTES, problems) for key in MINUTES}
    wrong: set[str] = set()
    schedules: dict[tuple[object, ...], Schedule | None] = {}
    for name in hosts:
        variables = inventory.get(name, {})
        spent = _spent(name, variables, defaults, wrong, problems)
        given = (
            variables.get(WINDOWS, default_windows),
            variables.get(FREEZES, default_freezes),
            t.cast(str, variables.get(TIMEZONE) or "UTC"),
        )
        if not given[0] and not given[1]:
            continue
        key = (json.dumps(given, sort_keys=True, default=str), *spent.values())
        if key not in schedules:
            schedules[key] = _schedule(name, *given, spent, read, problems)
        schedule = schedules[key]
        if schedule is not None:
            schedule["hosts"].append(name)
    return [schedule for schedule in schedules.values() if schedule is not None]


def urgent(hosts: t.Sequence[str], inventory: Inventory, default: object, problems: list[str]) -> bool:
    """Whether the release is urgent; ``default`` is for hosts whose variables do not say it.

    Mistakes, and hosts that differ, go to ``problems``.
    """
    if not isinstance(default, bool):
        problems.append(f"urgent: must be true or false, not {default!r}")
        default = False
    first: dict[bool, str] = {}
    wrong: set[str] = set()
    for name in hosts:
        value = inventory.get(name, {}).get(URGENT)
        truth = default if value in (None, "") else _truth(value)
        if truth is not None:
            first.setdefault(truth, name)
        elif repr(value) not in wrong:
            wrong.add(repr(value))
            problems.append(f"{URGENT} of {name}: must be true or false, not {value!r}; correct it")
    if len(first) > 1:
        problems.append(
            f"{URGENT}: a release is urgent for all or for none: it is true for {first[True]} and not for "
            f"{first[False]}; give it for all targets (-e {URGENT}=true), or roll out to those apart with --limit"
        )
    return first.get(True) is not None


def by_host(schedules: t.Sequence[Schedule], hosts: t.Collection[str]) -> dict[str, Schedule]:
    """The schedule of each of ``hosts`` that has one."""
    wanted = set(hosts)
    return {name: schedule for schedule in schedules for name in schedule["hosts"] if name in wanted}


def downloading(plan: Plan, now: datetime.datetime) -> list[str]:
    """The hosts of ``plan`` that may be sent payloads ``now``, in its order; an urgent release passes windows."""
    shut = {
        name
        for schedule in plan.schedules
        if not plan.urgent
        if windows.may_download(schedule, now) is not None
        for name in schedule["hosts"]
    }
    return [name for wave in plan.waves for name in wave["hosts"] if name not in shut]


def download_ends(plan: Plan, now: datetime.datetime) -> dict[str, str]:
    """Until when the hosts of ``plan`` may be sent payloads, of those whose window for it is open ``now``."""
    if plan.urgent:
        return {}
    ends = {}
    for schedule in plan.schedules:
        end = windows.download_end(schedule, now)
        if end is not None:
            ends.update(dict.fromkeys(schedule["hosts"], f"{end.astimezone(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"))
    return {name: ends[name] for wave in plan.waves for name in wave["hosts"] if name in ends}


def obstacle(schedule: Schedule, now: datetime.datetime) -> tuple[str, str] | None:
    """Why a device of this schedule must not be touched ``now``: a code and a sentence; None if it may be."""
    zone = clock.zone(schedule["timezone"])
    rules = schedule["windows"]
    needed = datetime.timedelta(minutes=sum(schedule["minutes"].values()))
    if rules.get("at_end") == "finish":
        needed = datetime.timedelta()
    reason = freezes.frozen(schedule["freezes"], zone, now, needed)
    if reason:
        return "FREEZE", reason
    reason = windows.closed(rules["install"], zone, now, needed) if rules.get("install") else None
    return ("WINDOW", reason) if reason else None


def _schedule(
    name: str,
    wanted: object,
    frozen: object,
    timezone: str,
    spent: t.Mapping[str, float],
    read: freezes.Read | None,
    problems: list[str],
) -> Schedule | None:
    before = len(problems)
    try:
        clock.zone(timezone)
    except ValueError as error:
        problems.append(f"{TIMEZONE} of {name}: {error}; correct it")
    needed = datetime.timedelta(minutes=sum(spent.values()))
    rules = windows.validate(f"windows of {name}", wanted, needed, problems) if wanted else {}
    times = freezes.validate(f"freezes of {name}", frozen, read, problems) if frozen else []
    if len(problems) > before:
        return None
    return {"timezone": timezone, "windows": rules, "freezes": times, "hosts": [], "minutes": dict(spent)}


def _spent(
    name: str, variables: t.Mapping[str, object], defaults: t.Mapping[str, float], wrong: set[str], problems: list[str]
) -> dict[str, float]:
    """The minutes of a host; ``wrong`` are the mistakes that another host made before."""
    spent: dict[str, float] = {}
    for key, variable in MINUTES.items():
        mistakes: list[str] = []
        value = variables.get(variable)
        spent[key] = _minutes(f"{variable} of {name}", value, defaults[key], mistakes)
        if mistakes and f"{variable} {value!r}" not in wrong:
            wrong.add(f"{variable} {value!r}")
            problems += mistakes
    return spent


def _minutes(where: str, value: object, default: float, problems: list[str]) -> float:
    """``default`` for None, and for what is wrong; surveys and INI inventories know texts only."""
    if value in (None, ""):
        return default
    try:
        minutes = float(value) if isinstance(value, str) or is_number(value) else 0
    except (ValueError, OverflowError):
        minutes = 0
    if 0 < minutes <= 24 * 60:
        return minutes
    problems.append(f"{where}: must be a number above 0 and up to 1440, not {value!r}")
    return default


def _truth(value: object) -> bool | None:
    """None for what is neither true nor false."""
    return _WORDS.get(str(value).strip().lower()) if isinstance(value, (bool, int, str)) else None
