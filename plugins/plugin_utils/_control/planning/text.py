# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.
"""A plan in lines, for people and for differences."""

from __future__ import annotations

from ..base.plan import Plan, Schedule, Wave
from ..gate import conditions, limits


def lines(plan: Plan) -> list[str]:
    """The plan for people, one line each."""
    release, document = plan.release, plan.document
    count = sum(len(wave["hosts"]) for wave in plan.waves)
    head = (
        f"release {release['name']} {release['version']} (counter {release['counter']}) from channel "
        f"{release['channel']}, digest {release['digest'][:12]}, {size(document['bytes_per_device'])} for each of "
        f"{count} devices"
    )
    text = [head]
    for wave in plan.waves:
        text.append(f"wave {wave['index'] + 1} {wave['name']}: {some(wave['hosts'])}{_extras(wave)}")
    text += [f"wave {name}: left out, no device is left for it" for name in document["empty"]]
    reasons: dict[str, list[str]] = {}
    for entry in document["skipped"]:
        reasons.setdefault(entry["reason"], []).append(entry["host"])
    text += [f"skipped, {reason}: {some(names)}" for reason, names in reasons.items()]
    text += _settings(plan)
    text.append(f"halts when {' or '.join([*limits.lines(plan.limits), 'one is broken'])}")
    return [*text, *conditions.lines(plan.conditions)]


def detail(plan: Plan | None) -> list[str]:
    """The plan with a line for each device, so that a difference shows who moved; empty for no plan."""
    if plan is None:
        return []
    devices = [f"{wave['name']}: {name}" for wave in plan.waves for name in wave["hosts"]]
    return [*lines(plan), *devices, *(f"skipped: {entry['host']}" for entry in plan.document["skipped"])]


def size(count: int) -> str:
    """Bytes for people."""
    value, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}" if value < 1000 else f"{value:.0f} {unit}"


def some(names: list[str], most: int = 8) -> str:
    """How many devices, and the first of their names."""
    shown = ", ".join(names[:most]) + (", ..." if len(names) > most else "")
    return f"{len(names)} device{'' if len(names) == 1 else 's'}: {shown}"


def _extras(wave: Wave) -> str:
    parts = [f"in {len(wave['turns'])} turns"] if len(wave["turns"]) > 1 else []
    parts += [f"soak {wave['soak']} s"] if "soak" in wave else []
    parts += ["after an approval"] if wave.get("approval") else []
    return f" ({', '.join(parts)})" if parts else ""


def _settings(plan: Plan) -> list[str]:
    text, document = [], plan.document
    if document.get("order"):
        text.append(f"in this order: {', then '.join(document['order'])}")
    if document.get("dependencies"):
        text.append(f"{len(document['dependencies']['after'])} devices wait for others to be as planned")
    if document.get("together"):
        text.append(f"each {document['together']} goes together")
    for entry in plan.budget:
        key, value = next((key, value) for key, value in entry.items() if key in ("max_unavailable", "min_available"))
        where = f"in each {entry['by']}" if entry["by"] else "in all"
        text.append(f"{key.replace('_', ' ')} {where}: {value}")
    for schedule in plan.schedules:
        text.append(_schedule(schedule))
    if plan.urgent:
        text.append("urgent: windows and freezes do not hold it back")
    return text


def _schedule(schedule: Schedule) -> str:
    entries = schedule["windows"].get("install", ())
    shown = " or ".join(
        f"{entry['length']} from {entry['cron']}"
        if "cron" in entry
        else f"{'/'.join(entry['days']) if len(entry['days']) < 7 else 'daily'} {entry['start']} for {entry['length']}"
        for entry in entries
    )
    parts = [shown or "at any time"]
    if entries and schedule["windows"]["at_end"] == "finish":
        parts.append("a device that began finishes")
    parts += [f"not in calendar {one['calendar']}" for one in schedule["freezes"] if "calendar" in one]
    parts += [f"not {one['from']} to {one['until']} ({one['reason']})" for one in schedule["freezes"] if "from" in one]
    return f"{some(schedule['hosts'], 3)}, {schedule['timezone']}: {', '.join(parts)}"
