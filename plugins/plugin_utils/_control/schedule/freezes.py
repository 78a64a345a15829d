# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.
"""Times at which nothing is touched: the variable ``fleet_ota_freezes`` (docs/windows.md)."""

from __future__ import annotations

import datetime
import re
import typing as t

from ..base import libraries
from ..base.plan import Freeze
from . import clock
from .clock import Span

try:
    import icalendar
    import recurring_ical_events
except ImportError:  # libraries.require() tells
    pass

_KEYS = frozenset({"from", "until", "reason"})
#: What of an event says when and why; the rest of a calendar (attendees, alarms) is nobody's business in a plan.
_KEPT = ("UID", "DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID", "SEQUENCE", "SUMMARY")
#: What two events of a calendar do not share.
_IDENTITY = ("UID", "RECURRENCE-ID", "SEQUENCE")
_TIMES = ("DTSTART", "DTEND", "RDATE", "EXDATE", "RECURRENCE-ID")
#: Bytes of what is kept of one calendar: a plan travels to every device as part of an approval.
_MOST = 100_000
_DAY = datetime.timedelta(days=1)
#: Of ISO 8601 what shows whether it is a day or a time; 20261220 is read as midnight, which nobody means.
_DATE = re.compile(r"([0-9]{4})-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}.*)?")
#: Years with room on both sides for zones and for looking around.
_YEARS = range(1970, 9001)


#: A part of a calendar, as the library gives it.
Component = t.Any
#: Gives the text of a calendar file; raises OSError or ValueError.
Read = t.Callable[[str], str]


def validate(where: str, freezes: object, read: Read | None, problems: list[str]) -> list[Freeze]:
    """The freezes as a plan keeps them: ``from``, ``until``, ``reason``, or ``calendar`` and ``text``.

    ``read`` gives the text of a calendar file, of which is kept what says when and why. So a plan, once approved, does
    not change with the file. Mistakes go to ``problems``.
    """
    if not isinstance(freezes, (list, tuple)):
        problems.append(
            f"{where}: must be a list such as [{{from: '2026-12-20', until: '2027-01-02', reason: holidays}}]"
        )
        return []
    return [
        freeze
        for index, entry in enumerate(freezes)
        if (freeze := _freeze(f"{where}[{index}]", entry, read, problems)) is not None
    ]


def frozen(
    freezes: t.Sequence[Freeze], zone: datetime.tzinfo, now: datetime.datetime, needed: datetime.timedelta
) -> str | None:
    """None if something that takes ``needed`` may begin ``now``; otherwise which freeze is in its way, and until when.

    A freeze is in the way of what would not be done before it begins.
    """
    wanted = Span(now, now + max(needed, datetime.timedelta(seconds=1)))
    for entry in freezes:
        for span, reason in _around(entry, zone, now):
            if span.begin < wanted.end and wanted.begin < span.end:
                what = "is frozen" if span.holds(now) else f"would not be done before {clock.shown(span.begin, zone)}"
                return f"{what}: {reason}, until {clock.shown(span.end, zone)}"
    return None


def _around(entry: Freeze, zone: datetime.tzinfo, now: datetime.datetime) -> t.Iterator[tuple[Span, str]]:
    """The freezes of an entry that may matter within a few days of ``now``."""
    if "calendar" not in entry:
        yield Span(_edge(entry["from"], zone, False), _edge(entry["until"], zone, True)), entry["reason"]
        return
    libraries.require(libraries.SCHEDULING)
    for event in recurring_ical_events.of(_parsed(entry["text"])).between(now - 2 * _DAY, now + 16 * _DAY):
        if _cancelled(event):
            continue
        begin, end = event["DTSTART"].dt, event["DTEND"].dt
        if begin == end:
            end = begin + (datetime.timedelta() if isinstance(begin, datetime.datetime) else _DAY)
        yield Span(_instant(begin, zone), _instant(end, zone, True)), str(event.get("SUMMARY") or entry["calendar"])


def _parsed(text: str) -> Component:
    """A calendar by itself: the library remembers zones of earlier ones, and their names come again for others."""
    icalendar.use_zoneinfo()  # forgets them
    return icalendar.Calendar.from_ical(text)


def _cancelled(event: Component) -> bool:
    return str(event.get("STATUS", "")).upper() == "CANCELLED"


def _edge(text: str, zone: datetime.tzinfo, end: bool) -> datetime.datetime:
    """The moment of a date or time in a freeze; without an offset it is of the device's clocks."""
    match = _DATE.fullmatch(text)
    if not match or int(match[1]) not in _YEARS:
        raise ValueError(text)
    if len(text) > 10:
        return _instant(datetime.datetime.fromisoformat(text), zone, end)
    # a day that is named is part of it
    return _instant(datetime.date.fromisoformat(text) + (_DAY if end else 0 * _DAY), zone)


def _instant(value: datetime.date, zone: datetime.tzinfo, end: bool = False) -> datetime.datetime:
    """The moment of ``value``; of two that clocks show so, an end is the second: nothing is touched in between."""
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime.combine(value, datetime.time())
    if value.tzinfo is not None:
        return value.astimezone(datetime.UTC)
    first = clock.moment(value, zone)
    second = value.replace(tzinfo=zone, fold=1).astimezone(datetime.UTC)
    return max(first, second) if end else first


def _freeze(where: str, entry: object, read: Read | None, problems: list[str]) -> Freeze | None:
    if not isinstance(entry, dict):
        problems.append(f"{where}: must be a mapping with from and until, or with calendar, not {entry!r}")
        return None
    if "calendar" in entry:
        return _calendar(where, entry, read, problems)
    mistakes = [
        f"{where}.{key}: unknown; a freeze has from, until, reason" for key in sorted(map(str, set(entry) - _KEYS))
    ]
    edges: dict[str, str] = {}
    for key in ("from", "until"):
        value = entry.get(key)
        # YAML makes dates of what looks like one
        text = value.isoformat() if isinstance(value, datetime.date) else value
        try:
            _edge(text, datetime.UTC, False)  # type: ignore[arg-type]
            edges[key] = t.cast(str, text)
        except (TypeError, ValueError):
            mistakes.append(
                f"{where}.{key}: must be a date or a time such as 2026-12-20 or 2026-12-20T18:00, up to the year "
                f"{_YEARS[-1]}, not {value!r}"
            )
    if len(edges) == 2 and _edge(edges["from"], datetime.UTC, False) >= _edge(edges["until"], datetime.UTC, True):
        mistakes.append(f"{where}: ends at {edges['until']}, before it begins at {edges['from']}; correct one of them")
    reason = entry.get("reason", "freeze")
    if not isinstance(reason, str) or not reason:
        mistakes.append(f"{where}.reason: must be a text, not {reason!r}")
    problems += mistakes
    return None if mistakes else {**edges, "reason": reason}


def _calendar(where: str, entry: Freeze, read: Read | None, problems: list[str]) -> Freeze | None:
    unknown = sorted(map(str, set(entry) - {"calendar"}))
    problems += [f"{where}.{key}: unknown; a calendar's entry has calendar alone" for key in unknown]
    if unknown:
        return None
    libraries.require(libraries.SCHEDULING)
    name = entry["calendar"]
    try:
        if read is None or not isinstance(name, str):
            raise ValueError("no file is named")
        text = _reduced(_parsed(read(name)))
        calendar = _parsed(text)
        _require_zones(calendar)
        # whatever is wrong with a rule shows when it is asked for
        for _event in recurring_ical_events.of(calendar).between((2024, 1, 1), (2024, 2, 1)):
            pass
    except Exception as error:  # the libraries raise what they like for a broken calendar
        problems.append(f"{where}: {name} is not a calendar that can be read ({error}); export it as iCalendar again")
        return None
    if len(text) > _MOST:
        problems.append(f"{where}: {name} has {len(text)} bytes of events, more than {_MOST}; leave out what is over")
        return None
    return {"calendar": name, "text": text}


def _reduced(calendar: Component) -> str:
    """The calendar with its events' times and titles and the zones that they name, in a fixed order."""
    kept = icalendar.Calendar()
    kept.add("prodid", "-//fleet.ota//freezes//EN")
    kept.add("version", "2.0")
    parts = [part for part in calendar.walk() if part.name == "VEVENT"]
    happening = {str(part.get("UID")) for part in parts if not _cancelled(part)}
    if not happening:
        raise ValueError("it has no event")
    events: dict[tuple[object, ...], Component] = {}
    for part in parts:
        if str(part.get("UID")) not in happening:
            continue
        event = icalendar.Event()
        for key in _KEPT:
            if key in part:
                event[key] = part[key]
        if _cancelled(part):  # takes the place of one that would happen
            event["STATUS"] = part["STATUS"]
        if "DTSTART" not in event:
            raise ValueError("an event has no DTSTART")
        same = tuple(event[key].to_ical() if key in event else b"" for key in _IDENTITY)
        if same in events:
            raise ValueError(f"two events have the UID {event.get('UID', '')!s}, of which one would not count")
        events[same] = event
    for part in calendar.walk():
        if part.name == "VTIMEZONE":
            kept.add_component(part)
    for event in sorted(events.values(), key=lambda one: one.to_ical()):
        kept.add_component(event)
    return t.cast(str, kept.to_ical().decode())


def _require_zones(calendar: Component) -> None:
    """Raise ``ValueError`` for a time in a zone that is neither an IANA name nor in the calendar: it has no moment."""
    for event in calendar.walk("VEVENT"):
        for key in _TIMES:
            values = event.get(key, [])
            for value in values if isinstance(values, list) else [values]:
                zone = value.params.get("TZID")
                moments = [entry.dt for entry in value.dts] if hasattr(value, "dts") else [value.dt]
                # a period has two
                moments = [part for moment in moments for part in (moment if isinstance(moment, tuple) else (moment,))]
                if zone and any(isinstance(one, datetime.datetime) and one.tzinfo is None for one in moments):
                    raise ValueError(f"nothing says what the time zone {zone} is")
