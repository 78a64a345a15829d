# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.
"""When a device may be touched: the variables ``fleet_ota_windows`` and ``fleet_ota_timezone`` (docs/windows.md).

Two windows, to download and to install, are Flight Control's; the rules for changed clocks are stricter than those of
cron and Zincati, whose windows grow, shrink or vanish with them.
"""

from __future__ import annotations

import datetime
import heapq
import itertools
import re
import typing as t

from ..base import libraries
from ..base.plan import Schedule, WindowEntry, Windows
from . import clock
from .clock import Span

try:
    import cronsim
except ImportError:  # libraries.require() tells
    pass

KINDS = ("install", "download")
ENDS = ("stop", "finish")
#: Minutes that an update and a way back are expected to take unless the variables say otherwise.
MINUTES = 10

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_KEYS = frozenset({"days", "start", "cron", "length"})
_LONGEST = datetime.timedelta(days=14)
_DAY = datetime.timedelta(days=1)
#: How far ahead windows are looked at that follow each other without a gap.
_AHEAD = datetime.timedelta(days=35)


def validate(where: str, windows: object, needed: datetime.timedelta, problems: list[str]) -> Windows:
    """The windows as a plan keeps them: ``install`` and ``download``, lists of entries, and ``at_end``.

    An entry needs room for ``needed`` if nothing may begin that would not end in it. Mistakes go to ``problems``.
    """
    if not isinstance(windows, dict):
        problems.append(
            f"{where}: must be a mapping such as {{install: [{{days: [sat], start: '22:00', length: 4h}}]}}"
        )
        return {}
    unknown = sorted(map(str, set(windows) - {*KINDS, "at_end"}))
    problems += [f"{where}.{key}: unknown; there are {', '.join(KINDS)} and at_end" for key in unknown]
    at_end = windows.get("at_end") or "stop"
    if at_end not in ENDS:
        problems.append(f"{where}.at_end: must be {' or '.join(ENDS)}, not {at_end!r}")
    kinds: dict[str, list[WindowEntry]] = {}
    for kind in KINDS:
        entries = windows.get(kind)
        if entries is None:
            continue
        if not isinstance(entries, (list, tuple)) or not entries:
            problems.append(f"{where}.{kind}: must be a list with at least one window; leave it out for any time")
            continue
        room = needed if kind == "install" and at_end == "stop" else datetime.timedelta()
        kinds[kind] = [_entry(f"{where}.{kind}[{index}]", entry, problems) for index, entry in enumerate(entries)]
        right = [entry for entry in kinds[kind] if entry]
        if right and not any(map(_adjoin, right)) and _longest(right) < room:
            problems.append(
                f"{where}.{kind}: no window is as long as an update and the way back are expected to take "
                f"({room.total_seconds() / 60:g} minutes); make it longer or lower the expected minutes"
            )
    return t.cast(Windows, {**kinds, "at_end": at_end}) if kinds else {}


def spans(entries: t.Sequence[WindowEntry], zone: datetime.tzinfo, now: datetime.datetime) -> t.Iterator[Span]:
    """The windows that are open at ``now`` or later, in order; those that touch each other are one."""
    begin = now.astimezone(zone).replace(tzinfo=None) - _LONGEST - 2 * _DAY
    current: Span | None = None
    for span in heapq.merge(*(_source(entry, begin, zone) for entry in entries)):
        if current is None:
            current = span
        elif span.begin <= current.end:
            current = Span(current.begin, max(current.end, span.end))
        else:
            if current.end > now:
                yield current
            current = span
        if current.end - max(current.begin, now) > _AHEAD:  # windows without a gap have no end
            break
    if current is not None and current.end > now:
        yield current


def latest_start(span: Span, needed: datetime.timedelta) -> datetime.datetime:
    """The last moment of ``span`` at which something may begin that takes ``needed``; before its begin if none."""
    return span.end - needed


def closed(
    entries: t.Sequence[WindowEntry], zone: datetime.tzinfo, now: datetime.datetime, needed: datetime.timedelta
) -> str | None:
    """None if something that takes ``needed`` may begin ``now``; otherwise why not, and when it may next."""
    reason = "is outside its window"
    for span in itertools.islice(spans(entries, zone, now), 400):
        latest = latest_start(span, needed)
        if span.begin <= now <= latest and now < span.end:
            return None
        if span.holds(now):
            reason = f"could begin until {clock.shown(latest, zone)} only, to be done by the end of its window"
        elif latest >= span.begin:
            return f"{reason}; the next begins at {clock.shown(span.begin, zone)}"
    return f"{reason}, and there is none to come"


def may_download(schedule: Schedule | None, now: datetime.datetime) -> str | None:
    """None if a device with this ``schedule`` of a plan may be sent payloads ``now``, otherwise why not.

    Without a window to download in, any time will do: nothing is changed by it.
    """
    entries = schedule["windows"].get("download") if schedule else None
    if not schedule or not entries:
        return None
    return closed(entries, clock.zone(schedule["timezone"]), now, datetime.timedelta())


def download_end(schedule: Schedule, now: datetime.datetime) -> datetime.datetime | None:
    """When the window in which a device with this ``schedule`` may be sent payloads ``now`` ends; None without one."""
    entries = schedule["windows"].get("download")
    span = next(spans(entries, clock.zone(schedule["timezone"]), now), None) if entries else None
    return span.end if span and span.holds(now) else None


def _source(entry: WindowEntry, begin: datetime.datetime, zone: datetime.tzinfo) -> t.Iterator[Span]:
    """The windows of one entry, in order, from the local time ``begin`` on; their length is elapsed time."""
    length = clock.duration(entry["length"])
    for local in _locals(entry, begin):
        start = clock.moment(local, zone)
        yield Span(start, start + length)


def _locals(entry: WindowEntry, begin: datetime.datetime) -> t.Iterator[datetime.datetime]:
    """The local clock times at which an entry begins, after ``begin``."""
    if "cron" in entry:
        # without a zone, so that what clocks skip or show twice is for clocks.moment alone to say
        yield from cronsim.CronSim(entry["cron"], begin)
        return
    days = {_DAYS.index(day) for day in entry["days"]}
    hour, minute = map(int, entry["start"].split(":"))
    for number in itertools.count():
        day = begin.date() + number * _DAY
        if day.year >= datetime.MAXYEAR:
            return
        if day.weekday() in days:
            yield datetime.datetime.combine(day, datetime.time(hour, minute))


def _adjoin(entry: WindowEntry) -> bool:
    """Whether windows of this entry may touch each other, so that the length of one says nothing."""
    return "cron" in entry or len(entry.get("days", ())) > 1


def _longest(entries: t.Sequence[WindowEntry]) -> datetime.timedelta:
    """The length of the longest window of entries of one day each, where those that touch each other are one."""
    monday = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    weeks = itertools.islice(spans(entries, datetime.UTC, monday), 2 * len(entries))
    return max(span.end - span.begin for span in weeks)


def _entry(where: str, entry: object, problems: list[str]) -> WindowEntry:
    if not isinstance(entry, dict):
        problems.append(
            f"{where}: must be a mapping such as {{days: [sat], start: '22:00', length: 4h}}, not {entry!r}"
        )
        return {}
    names = ", ".join(sorted(_KEYS))
    mistakes = [f"{where}.{key}: unknown; a window has {names}" for key in sorted(map(str, set(entry) - _KEYS))]
    try:
        if clock.duration(entry.get("length")) > _LONGEST:
            mistakes.append(f"{where}.length: {entry['length']!r} is longer than 14d; give no window for any time")
    except ValueError as error:
        mistakes.append(f"{where}.length: {error}")
    if ("cron" in entry) == ("start" in entry) or ("cron" in entry and "days" in entry):
        mistakes.append(f"{where}: give either start (and days) or cron")
    elif "cron" in entry:
        mistakes += _cron_problems(f"{where}.cron", entry["cron"])
    else:
        mistakes += _weekly_problems(where, entry)
    problems += mistakes
    if mistakes:
        return {}
    if "cron" in entry:
        return {"cron": entry["cron"], "length": entry["length"]}
    days = [str(day).lower()[:3] for day in entry.get("days") or _DAYS]
    return {"days": [day for day in _DAYS if day in days], "start": entry["start"], "length": entry["length"]}


def _weekly_problems(where: str, entry: dict[str, object]) -> list[str]:
    mistakes = []
    if not (isinstance(entry["start"], str) and _TIME.fullmatch(entry["start"])):
        mistakes.append(f"{where}.start: must be a time such as '22:00' in quotes, not {entry['start']!r}")
    days = entry.get("days")
    if days is not None:
        if not isinstance(days, (list, tuple)) or not days:
            mistakes.append(f"{where}.days: must be a list such as [sat, sun]; leave it out for every day")
        else:
            wrong = [day for day in days if not isinstance(day, str) or day.lower() not in _DAYS]
            mistakes += [f"{where}.days: {day!r} is not one of {', '.join(_DAYS)}" for day in wrong]
    return mistakes


def _cron_problems(where: str, text: object) -> list[str]:
    wrong = f"{where}: must be five fields such as '0 22 * * 6' (minute hour day month weekday), not {text!r}"
    if not isinstance(text, str) or len(text.split()) != 5:
        return [wrong]
    libraries.require(libraries.SCHEDULING)
    try:
        next(cronsim.CronSim(text, datetime.datetime(2024, 1, 1)))
    except cronsim.CronSimError as error:
        return [f"{wrong} ({error})"]
    except StopIteration:
        return [f"{where}: {text!r} never comes; correct it"]
    return []
