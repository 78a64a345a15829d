# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Windows and freezes: local clocks through two years of changes, latest safe start, calendars, every wrong entry."""

from __future__ import annotations

import datetime
import typing as t
import zoneinfo

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.plan import Plan, Schedule, WindowEntry
from ansible_collections.fleet.ota.plugins.plugin_utils._control.schedule import clock, freezes, windows
from ansible_collections.fleet.ota.plugins.plugin_utils._control.schedule import schedule as schedules

UTC = datetime.UTC
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
NONE = datetime.timedelta()
HOUR = datetime.timedelta(hours=1)
SATURDAY: WindowEntry = {"days": ["sat"], "start": "22:00", "length": "4h"}


def at(text: str, zone: datetime.tzinfo = BERLIN) -> datetime.datetime:
    """A local time; with an offset in the text, that moment."""
    found = datetime.datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)


def spans(entry: t.Any, now: str, count: int = 3, zone: datetime.tzinfo = BERLIN) -> list[tuple[str, str]]:
    """The first windows from a moment on, in local time."""
    entries = entry if isinstance(entry, list) else [entry]
    found = [span for span, _number in zip(windows.spans(entries, zone, at(now, zone)), range(count), strict=False)]
    return [
        (
            span.begin.astimezone(zone).isoformat(timespec="minutes"),
            span.end.astimezone(zone).isoformat(timespec="minutes"),
        )
        for span in found
    ]


# -- a table of two years ----------------------------------------------------------------------------------------------

#: zone, year -> what clocks skip and show twice, as local times from and to (excluded); from the zones' own rules.
CHANGES: dict[str, list[tuple[str, str, str]]] = {
    "Europe/Berlin": [
        ("skipped", "2026-03-29T02:00", "2026-03-29T03:00"),
        ("doubled", "2026-10-25T02:00", "2026-10-25T03:00"),
        ("skipped", "2027-03-28T02:00", "2027-03-28T03:00"),
        ("doubled", "2027-10-31T02:00", "2027-10-31T03:00"),
    ],
    "America/New_York": [
        ("skipped", "2026-03-08T02:00", "2026-03-08T03:00"),
        ("doubled", "2026-11-01T01:00", "2026-11-01T02:00"),
        ("skipped", "2027-03-14T02:00", "2027-03-14T03:00"),
        ("doubled", "2027-11-07T01:00", "2027-11-07T02:00"),
    ],
    "Australia/Lord_Howe": [  # half an hour
        ("doubled", "2026-04-05T01:30", "2026-04-05T02:00"),
        ("skipped", "2026-10-04T02:00", "2026-10-04T02:30"),
        ("doubled", "2027-04-04T01:30", "2027-04-04T02:00"),
        ("skipped", "2027-10-03T02:00", "2027-10-03T02:30"),
    ],
    "America/Santiago": [  # at midnight: a day begins at one o'clock, and another ends twice
        ("doubled", "2026-04-04T23:00", "2026-04-05T00:00"),
        ("skipped", "2026-09-06T00:00", "2026-09-06T01:00"),
        ("doubled", "2027-04-03T23:00", "2027-04-04T00:00"),
        ("skipped", "2027-09-05T00:00", "2027-09-05T01:00"),
    ],
    "Africa/Cairo": [
        ("skipped", "2026-04-24T00:00", "2026-04-24T01:00"),
        ("doubled", "2026-10-29T23:00", "2026-10-30T00:00"),
        ("skipped", "2027-04-30T00:00", "2027-04-30T01:00"),
        ("doubled", "2027-10-28T23:00", "2027-10-29T00:00"),
    ],
    "Pacific/Auckland": [
        ("doubled", "2026-04-05T02:00", "2026-04-05T03:00"),
        ("skipped", "2026-09-27T02:00", "2026-09-27T03:00"),
        ("doubled", "2027-04-04T02:00", "2027-04-04T03:00"),
        ("skipped", "2027-09-26T02:00", "2027-09-26T03:00"),
    ],
    "America/St_Johns": [
        ("skipped", "2026-03-08T02:00", "2026-03-08T03:00"),
        ("doubled", "2026-11-01T01:00", "2026-11-01T02:00"),
        ("skipped", "2027-03-14T02:00", "2027-03-14T03:00"),
        ("doubled", "2027-11-07T01:00", "2027-11-07T02:00"),
    ],
    "Asia/Kathmandu": [],
    "America/Sao_Paulo": [],  # had summer time until 2019
    "UTC": [],
}
YEARS = (datetime.datetime(2026, 1, 1), datetime.datetime(2028, 1, 1))
STEP = datetime.timedelta(minutes=30)


def changes_of(zone: zoneinfo.ZoneInfo) -> list[tuple[str, str, str]]:
    """What the zone skips and shows twice, found by walking through UTC minute by minute around each change."""
    found = []
    moment = YEARS[0].replace(tzinfo=UTC)
    while moment < YEARS[1].replace(tzinfo=UTC):
        after = moment + STEP
        before_offset, after_offset = moment.astimezone(zone).utcoffset(), after.astimezone(zone).utcoffset()
        assert before_offset is not None and after_offset is not None
        if before_offset != after_offset:
            edge = after  # every change lies on a half hour of UTC or is found minute by minute
            for minute in range(30):
                candidate = moment + datetime.timedelta(minutes=minute)
                if candidate.astimezone(zone).utcoffset() == after_offset:
                    edge = candidate
                    break
            old, new = ((edge + offset).replace(tzinfo=None) for offset in (before_offset, after_offset))
            kind = "skipped" if new > old else "doubled"
            found.append((kind, *(min(old, new), max(old, new))))
        moment = after
    return [(kind, *(value.isoformat(timespec="minutes") for value in edges)) for kind, *edges in found]  # type: ignore[misc]


@pytest.mark.parametrize("name", CHANGES)
def test_every_half_hour_of_two_years_is_found_once_and_at_the_first_time(name: str) -> None:
    """Each local half hour as a window's start: it exists, is moved to the end of the gap, or is the first of two."""
    zone = zoneinfo.ZoneInfo(name)
    assert changes_of(zone) == CHANGES[name]
    gaps = [tuple(map(datetime.datetime.fromisoformat, edges)) for kind, *edges in CHANGES[name] if kind == "skipped"]
    local, last = YEARS[0], None
    skipped = doubled = 0
    while local < YEARS[1]:
        found = clock.moment(local, zone)
        shown = found.astimezone(zone).replace(tzinfo=None)
        gap = next((edges for edges in gaps if edges[0] <= local < edges[1]), None)
        assert shown == (gap[1] if gap else local), local
        earlier = (found - 1 * HOUR).astimezone(zone), (found - STEP).astimezone(zone)
        assert local not in [moment.replace(tzinfo=None) for moment in earlier] or gap, f"{local} was shown before"
        assert last is None or last <= found
        skipped += gap is not None
        doubled += (found + HOUR).astimezone(zone).replace(tzinfo=None) == local
        doubled += (found + STEP).astimezone(zone).replace(tzinfo=None) == local
        last, local = found, local + STEP
    halves = 1 if name == "Australia/Lord_Howe" else 2
    assert (skipped, doubled) == ((2 * halves, 2 * halves) if CHANGES[name] else (0, 0))


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("start", ["00:00", "01:30", "02:00", "02:15", "02:30", "23:30"])
@pytest.mark.parametrize("form", ["weekly", "cron"])
def test_a_daily_window_comes_once_on_every_day_of_two_years_and_is_as_long_as_it_says(
    name: str, start: str, form: str
) -> None:
    zone = zoneinfo.ZoneInfo(name)
    hour, minute = start.split(":")
    entry: WindowEntry = {"start": start, "days": list(windows._DAYS), "length": "2h"}
    if form == "cron":
        entry = {"cron": f"{int(minute)} {int(hour)} * * *", "length": "2h"}
    begin = YEARS[0].replace(tzinfo=zone)
    days = set()
    for span in windows.spans([entry], zone, begin.astimezone(UTC)):
        local = span.begin.astimezone(zone)
        if local.year > 2027:
            break
        assert span.end - span.begin == 2 * HOUR
        if local.year >= 2026:
            assert local.date() not in days
            days.add(local.date())
    assert len(days) == 730


def test_a_skipped_day_begins_with_the_next_one() -> None:
    """Samoa had no 30 December 2011."""
    zone = zoneinfo.ZoneInfo("Pacific/Apia")
    found = clock.moment(datetime.datetime(2011, 12, 30, 22, 0), zone)
    assert found.astimezone(zone).isoformat() == "2011-12-31T00:00:00+14:00"


# -- windows -----------------------------------------------------------------------------------------------------------


def test_a_weekly_window_goes_over_midnight() -> None:
    assert spans(SATURDAY, "2026-11-24T12:00", 2) == [
        ("2026-11-28T22:00+01:00", "2026-11-29T02:00+01:00"),
        ("2026-12-05T22:00+01:00", "2026-12-06T02:00+01:00"),
    ]
    # and is open after midnight
    assert spans(SATURDAY, "2026-11-29T01:00", 1) == [("2026-11-28T22:00+01:00", "2026-11-29T02:00+01:00")]


def test_length_is_elapsed_time_when_clocks_change_in_the_window() -> None:
    assert spans(SATURDAY, "2026-03-28T12:00", 1) == [("2026-03-28T22:00+01:00", "2026-03-29T03:00+02:00")]
    assert spans({**SATURDAY, "length": "6h"}, "2026-10-24T12:00", 1) == [
        ("2026-10-24T22:00+02:00", "2026-10-25T03:00+01:00")
    ]


def test_cron_and_weekly_windows_that_touch_are_one() -> None:
    entries = [SATURDAY, {"cron": "0 2 * * 0", "length": "90m"}]
    assert spans(entries, "2026-11-24T12:00", 1) == [("2026-11-28T22:00+01:00", "2026-11-29T03:30+01:00")]


def test_a_yearly_window_and_one_without_an_end() -> None:
    assert spans({"cron": "0 6 24 12 *", "length": "1d"}, "2026-12-26T00:00", 1) == [
        ("2027-12-24T06:00+01:00", "2027-12-25T06:00+01:00")
    ]
    [(begin, end)] = spans({"start": "00:00", "days": list(windows._DAYS), "length": "1d"}, "2026-11-24T12:00")
    assert begin < "2026-11-24" and end > "2026-12-20"


@pytest.mark.parametrize(
    ("now", "needed", "reason"),
    [
        ("2026-11-28T21:59", NONE, "is outside its window; the next begins at 2026-11-28T22:00+01:00 (Europe/Berlin)"),
        ("2026-11-28T22:00", NONE, None),
        ("2026-11-29T01:59", NONE, None),
        ("2026-11-29T02:00", NONE, "is outside its window; the next begins at 2026-12-05T22:00+01:00 (Europe/Berlin)"),
        ("2026-11-29T01:00", HOUR, None),
        (
            "2026-11-29T01:01",
            HOUR,
            (
                "could begin until 2026-11-29T01:00+01:00 (Europe/Berlin) only, to be done by the end of its window; "
                "the next begins at 2026-12-05T22:00+01:00 (Europe/Berlin)"
            ),
        ),
        ("2026-11-28T23:00", 5 * HOUR, "could begin until 2026-11-28T21:00+01:00"),
    ],
)
def test_latest_safe_start(now: str, needed: datetime.timedelta, reason: str | None) -> None:
    found = windows.closed([SATURDAY], BERLIN, at(now), needed)
    assert found == reason or (reason and found and found.startswith(reason))


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ("22:00", "must be a mapping"),
        ({"instal": []}, "w.instal: unknown"),
        ({"install": []}, "at least one window"),
        ({"install": ["sat"]}, "w.install[0]: must be a mapping"),
        ({"install": [SATURDAY], "at_end": "kill"}, "at_end: must be stop or finish"),
        ({"install": [{**SATURDAY, "days": ["sonnabend"]}]}, "'sonnabend' is not one of mon"),
        ({"install": [{**SATURDAY, "days": "sat"}]}, "days: must be a list"),
        ({"install": [{**SATURDAY, "start": 1320}]}, "start: must be a time such as '22:00' in quotes"),
        ({"install": [{**SATURDAY, "start": "24:00"}]}, "start: must be a time"),
        ({"install": [{**SATURDAY, "length": "4"}]}, "length: must be a length"),
        ({"install": [{**SATURDAY, "length": "0h"}]}, "length: must be a length"),
        ({"install": [{**SATURDAY, "length": "99999999999d"}]}, "length: must be a length"),
        ({"install": [{**SATURDAY, "length": 10**15}]}, "length: must be a length"),
        ({"install": [{**SATURDAY, "length": "9" * 5000 + "m"}]}, "length: must be a length"),
        ({"install": [{**SATURDAY, "length": "15d"}]}, "longer than 14d"),
        ({"install": [{**SATURDAY, "cron": "0 22 * * 6"}]}, "either start (and days) or cron"),
        ({"install": [{"length": "1h"}]}, "either start (and days) or cron"),
        ({"install": [{"days": ["sat"], "cron": "0 22 * * 6", "length": "1h"}]}, "either start (and days) or cron"),
        ({"install": [{"cron": "0 22 * *", "length": "1h"}]}, "must be five fields"),
        ({"install": [{"cron": 5, "length": "1h"}]}, "must be five fields"),
        ({"install": [{"cron": "61 22 * * 6", "length": "1h"}]}, "Bad minute"),
        ({"install": [{"cron": "0 0 30 2 *", "length": "1h"}]}, "Bad day-of-month"),
        ({"install": [{**SATURDAY, "zone": "UTC"}]}, "w.install[0].zone: unknown"),
        ({"install": [{**SATURDAY, "length": "30m"}]}, "no window is as long as an update and the way back"),
        ({"download": [{"length": "1h"}]}, "w.download[0]"),
    ],
)
def test_wrong_windows_are_refused(given: t.Any, part: str) -> None:
    found: list[str] = []
    windows.validate("w", given, HOUR, found)
    assert [problem for problem in found if part in problem], found


def test_what_is_no_list_is_one_mistake() -> None:
    found: list[str] = []
    windows.validate("w", {"install": "sat"}, HOUR, found)
    assert found == ["w.install: must be a list with at least one window; leave it out for any time"]


@pytest.mark.parametrize("entry", [{"cron": "0 * * * *", "length": "1h"}, {"start": "00:00", "length": "1d"}])
def test_windows_that_may_follow_each_other_need_not_be_long_each(entry: dict[str, t.Any]) -> None:
    found: list[str] = []
    windows.validate("w", {"install": [entry]}, 30 * HOUR, found)
    assert found == []


@pytest.mark.parametrize(
    ("second", "fits"),
    [("22:10", True), ("22:05", False), ("22:11", False)],  # touches the first, lies in it, comes after it
)
def test_windows_of_one_day_that_touch_are_as_long_as_both(second: str, fits: bool) -> None:
    found: list[str] = []
    entries = [{**SATURDAY, "length": "10m"}, {"days": ["sat"], "start": second, "length": "15m"}]
    windows.validate("w", {"install": entries}, datetime.timedelta(minutes=25), found)
    assert [problem.partition(":")[0] for problem in found] == ([] if fits else ["w.install"])


def test_days_end_with_the_calendar() -> None:
    assert 0 < len(spans(SATURDAY, "9998-12-12T00:00", 10, UTC)) < 10


def test_right_windows_are_kept_in_one_form() -> None:
    found: list[str] = []
    given = {
        "install": [{"days": ["SUN", "Sat"], "start": "22:00", "length": "4h"}],
        "download": [{"start": "00:00", "length": 60}],
    }
    kept = windows.validate("w", given, HOUR, found)
    assert found == []
    assert kept["install"] == [{"days": ["sat", "sun"], "start": "22:00", "length": "4h"}]
    assert kept["download"] == [{"days": list(windows._DAYS), "start": "00:00", "length": 60}]
    assert kept["at_end"] == "stop"
    # a short window is fine for who may finish after it
    windows.validate("w", {"install": [{**SATURDAY, "length": "5m"}], "at_end": "finish"}, HOUR, found)
    assert found == []


# -- freezes -----------------------------------------------------------------------------------------------------------

CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//plant//EN
BEGIN:VEVENT
UID:1@plant
DTSTAMP:20200101T000000Z
DTSTART;VALUE=DATE:20261224
DTEND;VALUE=DATE:20261227
SUMMARY:Christmas
ATTENDEE:mailto:somebody@plant.example
END:VEVENT
BEGIN:VEVENT
UID:2@plant
DTSTAMP:20200101T000000Z
DTSTART;TZID=Europe/Berlin:20260105T080000
DTEND;TZID=Europe/Berlin:20260105T120000
RRULE:FREQ=WEEKLY;BYDAY=MO
EXDATE;TZID=Europe/Berlin:20261130T080000
SUMMARY:Stocktaking
END:VEVENT
BEGIN:VEVENT
UID:3@plant
DTSTAMP:20200101T000000Z
DTSTART:20261201T000000Z
DTEND:20261202T000000Z
STATUS:CANCELLED
SUMMARY:Cancelled
END:VEVENT
END:VCALENDAR
"""


def kept(*entries: t.Any, text: str = CALENDAR) -> list[dict[str, t.Any]]:
    found: list[str] = []
    made = freezes.validate("f", list(entries), lambda _path: text, found)
    assert found == []
    return made


@pytest.mark.parametrize(
    ("entry", "now", "until"),
    [
        ({"from": "2026-12-20", "until": "2027-01-02"}, "2026-12-19T23:59", None),
        ({"from": "2026-12-20", "until": "2027-01-02"}, "2026-12-20T00:00", "2027-01-03T00:00+01:00"),
        ({"from": "2026-12-20", "until": "2027-01-02"}, "2027-01-02T23:59", "2027-01-03T00:00+01:00"),
        ({"from": "2026-12-20", "until": "2027-01-02"}, "2027-01-03T00:00", None),
        ({"from": "2026-12-20T18:00", "until": "2026-12-20T20:00"}, "2026-12-20T19:00", "2026-12-20T20:00+01:00"),
        ({"from": "2026-12-20T18:00Z", "until": "2026-12-20T20:00Z"}, "2026-12-20T18:59", None),
        ({"from": datetime.date(2026, 12, 20), "until": datetime.date(2026, 12, 20)}, "2026-12-20T12:00", "2026-12-21"),
        ({"calendar": "plant.ics"}, "2026-12-23T23:59", None),
        ({"calendar": "plant.ics"}, "2026-12-24T00:00", "2026-12-27T00:00+01:00"),
        ({"calendar": "plant.ics"}, "2026-11-23T09:00", "2026-11-23T12:00+01:00"),
        ({"calendar": "plant.ics"}, "2026-07-06T08:00", "2026-07-06T12:00+02:00"),  # of the same clocks in summer
        ({"calendar": "plant.ics"}, "2026-11-30T09:00", None),  # left out this time
        ({"calendar": "plant.ics"}, "2026-12-01T12:00", None),  # cancelled
    ],
)
def test_a_freeze_holds_from_its_beginning_to_its_end(entry: t.Any, now: str, until: str | None) -> None:
    reason = freezes.frozen(kept(entry), BERLIN, at(now), NONE)
    assert (reason is None) == (until is None), reason
    assert until is None or f"until {until}" in (reason or "")
    assert until is None or (reason or "").startswith("is frozen: ")


def test_who_would_not_be_done_before_a_freeze_does_not_begin() -> None:
    entries = kept({"from": "2026-12-20", "until": "2027-01-02", "reason": "holidays"})
    assert freezes.frozen(entries, BERLIN, at("2026-12-19T23:00"), HOUR) is None
    reason = freezes.frozen(entries, BERLIN, at("2026-12-19T23:01"), HOUR)
    assert reason == (
        "would not be done before 2026-12-20T00:00+01:00 (Europe/Berlin): holidays, until 2027-01-03T00:00+01:00 "
        "(Europe/Berlin)"
    )


def test_a_calendar_is_kept_without_what_is_nobody_s_business_and_the_same_every_time() -> None:
    [entry] = kept({"calendar": "plant.ics"})
    assert "somebody" not in entry["text"]
    assert "Cancelled" not in entry["text"]
    assert kept({"calendar": "plant.ics"}) == [entry]
    for line in ("PRODID:-//fleet.ota//freezes//EN", "VERSION:2.0"):
        assert f"{line}\r\n" in entry["text"]
    zone = "BEGIN:VTIMEZONE\nTZID:Plant\nBEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:+0530\n"
    zone += "TZOFFSETTO:+0530\nEND:STANDARD\nEND:VTIMEZONE\n"
    text = event("DTSTART;TZID=Plant:20261210T100000", "DTEND;TZID=Plant:20261210T110000", before=zone)
    assert "TZID:Plant" in kept({"calendar": "x.ics"}, text=text)[0]["text"]


def event(*lines: str, before: str = "") -> str:
    """A calendar with one event."""
    told = "".join(f"{line}\n" for line in ("UID:1", "DTSTAMP:20200101T000000Z", *lines))
    head = "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\n"
    return f"{head}{before}BEGIN:VEVENT\n{told}END:VEVENT\nEND:VCALENDAR\n"


def test_an_event_without_an_end_is_its_day_or_nothing() -> None:
    day = kept({"calendar": "x.ics"}, text=event("DTSTART;VALUE=DATE:20261210"))
    assert freezes.frozen(day, BERLIN, at("2026-12-10T23:00"), NONE)
    assert freezes.frozen(day, BERLIN, at("2026-12-11T00:00"), NONE) is None
    moment = kept({"calendar": "x.ics"}, text=event("DTSTART:20261210T100000Z"))
    assert freezes.frozen(moment, BERLIN, at("2026-12-10T12:00"), NONE) is None


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (event("SUMMARY:when?"), "an event has no DTSTART"),
        (event("DTSTART:20261210T100000Z", "STATUS:CANCELLED"), "it has no event"),
        (event("DTSTART:20261210T100000Z", f"SUMMARY:{'x' * 100_001}"), "bytes of events, more than 100000"),
    ],
)
def test_a_calendar_that_says_nothing_or_too_much_is_refused(text: str, part: str) -> None:
    found: list[str] = []
    assert freezes.validate("f", [{"calendar": "x.ics"}], lambda _path: text, found) == []
    assert len(found) == 1
    assert part in found[0]


ZONE = (
    "BEGIN:VTIMEZONE\nTZID:Customized Time Zone\nBEGIN:STANDARD\nDTSTART:16010101T000000\nTZOFFSETFROM:{0}\n"
    "TZOFFSETTO:{0}\nEND:STANDARD\nEND:VTIMEZONE\n"
)


def frozen(entries: list[dict[str, t.Any]], now: str) -> str | None:
    return freezes.frozen(entries, datetime.UTC, at(now, datetime.UTC), datetime.timedelta())


def test_a_zone_of_one_calendar_is_not_that_of_another_by_the_same_name() -> None:
    times = "DTSTART;TZID=Customized Time Zone:20261201T100000", "DTEND;TZID=Customized Time Zone:20261201T110000"
    east, west = (kept({"calendar": "x.ics"}, text=event(*times, before=ZONE.format(o))) for o in ("+0100", "-0500"))
    for _again in range(2):
        assert frozen(east, "2026-12-01T09:30") and not frozen(east, "2026-12-01T15:30")
        assert frozen(west, "2026-12-01T15:30") and not frozen(west, "2026-12-01T09:30")


def events(*each: tuple[str, ...]) -> str:
    """A calendar of events."""
    told = "".join("BEGIN:VEVENT\n" + "".join(f"{line}\n" for line in lines) + "END:VEVENT\n" for lines in each)
    return f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\n{told}END:VCALENDAR\n"


DAILY = ("UID:a", "DTSTART:20261201T100000Z", "DTEND:20261201T120000Z", "RRULE:FREQ=DAILY;COUNT=5")


def test_one_time_of_many_may_be_cancelled() -> None:
    third = ("UID:a", "RECURRENCE-ID:20261203T100000Z", "DTSTART:20261203T100000Z", "DTEND:20261203T120000Z")
    found = kept({"calendar": "x.ics"}, text=events(DAILY, (*third, "STATUS:CANCELLED")))
    assert [day for day in range(1, 7) if frozen(found, f"2026-12-0{day}T11:00")] == [1, 2, 4, 5]
    found = kept(
        {"calendar": "x.ics"}, text=events(DAILY, (*DAILY, "SEQUENCE:1", "STATUS:CANCELLED"), ("UID:b", *third[2:]))
    )
    assert [day for day in range(1, 7) if frozen(found, f"2026-12-0{day}T11:00")] == [3]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (events(DAILY, ("UID:a", "DTSTART:20261210T100000Z", "DTEND:20261210T120000Z")), "two events have the UID a"),
        (events(("UID:a", "DTSTART;TZID=Plant/Ost:20261201T100000")), "what the time zone Plant/Ost is"),
        (events((*DAILY, "EXDATE;TZID=Plant/Ost:20261201T100000")), "what the time zone Plant/Ost is"),
        (events((*DAILY, "STATUS:CANCELLED")), "it has no event"),
    ],
)
def test_a_calendar_of_which_a_part_would_be_lost_is_refused(text: str, part: str) -> None:
    found: list[str] = []
    assert freezes.validate("f", [{"calendar": "x.ics"}], lambda _path: text, found) == []
    assert part in found[0]


def test_an_end_that_clocks_show_twice_is_the_second() -> None:
    (entry,) = kept({"from": "2026-10-24", "until": "2026-10-25T02:30"})
    held = [
        freezes.frozen([entry], BERLIN, at(f"2026-10-25T0{hour}:29", datetime.UTC), datetime.timedelta())
        for hour in (0, 1)
    ]
    assert all(held)
    assert freezes.frozen([entry], BERLIN, at("2026-10-25T01:30", datetime.UTC), datetime.timedelta()) is None


def test_a_calendar_that_nobody_can_read_is_refused() -> None:
    found: list[str] = []
    assert freezes.validate("f", [{"calendar": "x.ics"}], None, found) == []
    assert "no file is named" in found[0]


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"from": "2026-12-20"}, "must be a list"),
        (["2026-12-20"], "must be a mapping"),
        ([{"from": "2026-12-20"}], "f[0].until: must be a date"),
        ([{"from": "soon", "until": "2026-12-20"}], "f[0].from: must be a date"),
        ([{"from": "2026-12-21", "until": "2026-12-20"}], "before it begins"),
        ([{"from": "2026-12-20", "until": "2026-12-21", "why": "x"}], "f[0].why: unknown"),
        ([{"from": "2026-12-20", "until": "2026-12-21", "reason": 5}], "reason: must be a text"),
        ([{"from": "20261220", "until": "2027-01-02"}], "f[0].from: must be a date or a time"),
        ([{"from": "2026-12-20", "until": "2027-W01"}], "f[0].until: must be a date or a time"),
        ([{"from": "2026-12-20", "until": "9999-12-31"}], "up to the year 9000"),
        ([{"from": "0001-01-01T00:00", "until": "2026-12-31"}], "f[0].from: must be"),
        ([{"calendar": "broken.ics"}], "broken.ics is not a calendar that can be read"),
        ([{"calendar": 5}], "is not a calendar that can be read"),
        ([{"calendar": "x.ics", "zone": "UTC"}], "f[0].zone: unknown"),
    ],
)
def test_wrong_freezes_are_refused(given: t.Any, part: str) -> None:
    found: list[str] = []
    assert freezes.validate("f", given, lambda _path: "BEGIN:NONSENSE", found) == []
    assert [problem for problem in found if part in problem], found


def test_a_calendar_with_an_unknown_key_is_refused_however_good_it_is() -> None:
    found: list[str] = []
    good = event("DTSTART;VALUE=DATE:20261210")
    assert freezes.validate("f", [{"calendar": "x.ics", "until": "2026-12-20"}], lambda _path: good, found) == []
    assert found == ["f[0].until: unknown; a calendar's entry has calendar alone"]


def test_a_calendar_that_is_not_there_is_refused() -> None:
    found: list[str] = []

    def read(path: str) -> str:
        raise FileNotFoundError(2, "No such file or directory", path)

    freezes.validate("f", [{"calendar": "none.ics"}], read, found)
    assert "none.ics" in found[0] and "No such file" in found[0]


# -- schedules ---------------------------------------------------------------------------------------------------------


def collect(inventory: t.Any, **given: t.Any) -> tuple[list[Schedule], list[str]]:
    found: list[str] = []
    made = schedules.collect(
        sorted(inventory),
        inventory,
        default_windows=given.get("windows"),
        default_freezes=given.get("freezes"),
        minutes={"expected": given.get("expected"), "back": given.get("back")},
        read=None,
        problems=found,
    )
    return made, found


def test_hosts_with_the_same_times_share_an_entry_and_their_own_come_before_the_default() -> None:
    mine = {"install": [{"start": "03:00", "length": "2h"}]}
    made, found = collect(
        {
            "d1": {},
            "d2": {"fleet_ota_timezone": "Asia/Kathmandu"},
            "d3": {"fleet_ota_windows": mine},
            "d4": {"fleet_ota_windows": {}},
            "d5": {},
        },
        windows={"install": [SATURDAY]},
        expected=5,
    )
    assert found == []
    assert [(entry["timezone"], entry["hosts"]) for entry in made] == [
        ("UTC", ["d1", "d5"]),
        ("Asia/Kathmandu", ["d2"]),
        ("UTC", ["d3"]),
    ]
    assert made[0]["minutes"] == {"expected": 5, "back": 10}
    assert made[2]["windows"]["install"][0]["start"] == "03:00"


def test_minutes_are_those_of_each_host() -> None:
    window = {"fleet_ota_windows": {"install": [SATURDAY]}}
    made, found = collect(
        {
            "d1": {**window, "fleet_ota_expected_minutes": "180"},  # a text, as surveys give it
            "d2": window,
            "d3": {**window, "fleet_ota_expected_minutes": 180, "fleet_ota_back_minutes": None},
            "d4": {**window, "fleet_ota_back_minutes": 30},
        },
        expected=5,
    )
    assert found == []
    assert [(entry["hosts"], entry["minutes"]) for entry in made] == [
        (["d1", "d3"], {"expected": 180, "back": 10}),
        (["d2"], {"expected": 5, "back": 10}),
        (["d4"], {"expected": 5, "back": 30}),
    ]
    # an hour before the end, for whom is there time?
    assert [schedules.obstacle(entry, at("2026-11-29T01:00Z", UTC)) is None for entry in made] == [False, True, True]


def test_a_window_must_have_room_for_the_minutes_of_its_host() -> None:
    window = {"fleet_ota_windows": {"install": [SATURDAY]}}
    _made, found = collect({"d1": window, "d2": {**window, "fleet_ota_expected_minutes": 240}})
    assert [problem.partition(":")[0] for problem in found] == ["windows of d2.install"]


@pytest.mark.parametrize("value", ["soon", "nan", -1, 0, "1441", True, [10], 10**400])
def test_minutes_that_are_none_are_refused_and_told_once(value: t.Any) -> None:
    wrong = {"fleet_ota_back_minutes": value}
    _made, found = collect({"d1": {}, "d2": wrong, "d3": wrong})
    assert found == [
        f"fleet_ota_back_minutes of d2: must be a number above 0 and up to 1440, not {value!r}",
    ]


@pytest.mark.parametrize(
    ("values", "default", "expected"),
    [
        ([None, None], False, False),
        ([None, None], True, True),
        ([True, True], False, True),
        (["true", "Yes"], False, True),
        (["1", 1], False, True),
        (["no", ""], False, False),
        ([None, True], True, True),
        ([None, False], False, False),
    ],
)
def test_a_release_is_urgent_for_all(values: list[t.Any], default: bool, expected: bool) -> None:
    found: list[str] = []
    inventory = {f"d{n}": {} if value is None else {schedules.URGENT: value} for n, value in enumerate(values)}
    assert schedules.urgent(list(inventory), inventory, default, found) is expected
    assert found == []


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ([True, None], "it is true for d0 and not for d1; give it for all"),
        (["no", "yes"], "it is true for d1 and not for d0; give it for all"),
        (["perhaps", "perhaps"], "fleet_ota_urgent of d0: must be true or false, not 'perhaps'"),
        ([[True], [True]], "fleet_ota_urgent of d0: must be true or false, not [True]"),
        ([2, 2], "fleet_ota_urgent of d0: must be true or false, not 2"),
    ],
)
def test_a_release_that_is_urgent_for_some_is_refused(values: list[t.Any], part: str) -> None:
    found: list[str] = []
    inventory = {f"d{n}": {} if value is None else {schedules.URGENT: value} for n, value in enumerate(values)}
    schedules.urgent(list(inventory), inventory, False, found)
    (problem,) = found
    assert part in problem


def test_a_mistake_that_many_share_is_told_once() -> None:
    bad = {"fleet_ota_timezone": "Mars/Olympus", "fleet_ota_freezes": [{}]}
    _made, found = collect({"d1": bad, "d2": bad}, expected=0)
    assert [problem.partition(":")[0] for problem in found] == [
        "expected_minutes",
        "fleet_ota_timezone of d1",
        "freezes of d1[0].from",
        "freezes of d1[0].until",
    ]


@pytest.mark.parametrize(
    ("at_end", "now", "code"),
    [
        ("stop", "2026-11-29T01:39", None),
        ("stop", "2026-11-29T01:41", "WINDOW"),  # 10 minutes for the update, 10 for the way back
        ("finish", "2026-11-29T01:59", None),
        ("finish", "2026-11-29T02:00", "WINDOW"),
        ("stop", "2026-12-26T23:00", "FREEZE"),
        ("stop", "2026-12-19T23:00", None),
    ],
)
def test_an_obstacle_has_a_code(at_end: str, now: str, code: str | None) -> None:
    host = {
        "fleet_ota_timezone": "Europe/Berlin",
        "fleet_ota_windows": {"install": [SATURDAY], "at_end": at_end},
        "fleet_ota_freezes": [{"from": "2026-12-20", "until": "2027-01-02"}],
    }
    [schedule], _found = collect({"d1": host})
    reason = schedules.obstacle(schedule, at(now))
    assert (reason[0] if reason else None) == code


def test_the_download_window_is_another_one() -> None:
    host = {
        "fleet_ota_timezone": "Europe/Berlin",
        "fleet_ota_windows": {"install": [SATURDAY], "download": [{"start": "00:00", "length": "5h"}]},
    }
    [schedule], _found = collect({"d1": host})
    assert windows.may_download(schedule, at("2026-11-24T04:59")) is None
    assert "2026-11-25T00:00+01:00" in (windows.may_download(schedule, at("2026-11-24T05:00")) or "")
    assert windows.may_download(None, at("2026-11-24T05:00")) is None
    [schedule], _found = collect({"d1": {"fleet_ota_windows": {"install": [SATURDAY]}}})
    assert windows.may_download(schedule, at("2026-11-24T05:00")) is None


def test_who_may_download_and_until_when() -> None:
    night, day = ([{"start": start, "length": "5h"}] for start in ("00:00", "12:00"))
    made, _found = collect(
        {
            "d1": {"fleet_ota_windows": {"download": night}, "fleet_ota_timezone": "Europe/Berlin"},
            "d2": {"fleet_ota_windows": {"download": [*night, {"start": "05:00", "length": "1h"}]}},  # they touch
            "d3": {"fleet_ota_windows": {"download": day}},
            "d4": {"fleet_ota_windows": {"install": day}},
            "d5": {},
            "d6": {"fleet_ota_windows": {"download": night}},  # in no wave
        }
    )
    document: dict[str, t.Any] = {
        "waves": [{"hosts": ["d5", "d2"]}, {"hosts": ["d1", "d3", "d4"]}],
        "schedules": made,
    }
    plan = Plan.of(document)
    now = at("2026-11-24T03:00Z")
    assert schedules.downloading(plan, now) == ["d5", "d2", "d1", "d4"]
    assert schedules.download_ends(plan, now) == {"d2": "2026-11-24T06:00:00Z", "d1": "2026-11-24T04:00:00Z"}
    urgent = Plan.of({**document, "urgent": True})
    assert schedules.downloading(urgent, now) == ["d5", "d2", "d1", "d3", "d4"]
    assert schedules.download_ends(urgent, now) == {}
