# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.
"""Local clock times as moments, and spans of time, where clocks are put forward and back (docs/windows.md)."""

from __future__ import annotations

import dataclasses
import datetime
import re
import typing as t
import zoneinfo

_DURATION = re.compile(r"(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?")
_SECOND = datetime.timedelta(seconds=1)


@dataclasses.dataclass(frozen=True, order=True)
class Span:
    """From ``begin`` to ``end`` (excluded), moments in UTC."""

    begin: datetime.datetime
    end: datetime.datetime

    def holds(self, moment: datetime.datetime) -> bool:
        """Whether ``moment`` is inside."""
        return self.begin <= moment < self.end


def zone(name: str) -> zoneinfo.ZoneInfo:
    """The zone of an IANA name. Raises ``ValueError``."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError, TypeError) as error:
        raise ValueError(f"{name!r} is not an IANA time zone such as Europe/Berlin") from error


def moment(local: datetime.datetime, where: datetime.tzinfo) -> datetime.datetime:
    """The moment, in UTC, at which clocks in ``where`` first show ``local`` or, if they skip it, the next they show."""
    first = local.replace(tzinfo=where, fold=0)
    instant = first.astimezone(datetime.UTC)
    if instant.astimezone(where).replace(tzinfo=None) == local:
        return instant
    # PEP 495: in a gap, fold 0 gives the offset before the change and fold 1 the one after, so that the change itself
    # lies between the two readings
    low, high = local.replace(tzinfo=where, fold=1).astimezone(datetime.UTC), instant
    before = low.astimezone(where).utcoffset()
    while high - low > _SECOND:
        middle = low + (high - low) // 2
        middle = middle.replace(microsecond=0)
        if middle <= low:
            break
        if middle.astimezone(where).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


def duration(text: t.Any) -> datetime.timedelta:
    """A length such as ``4h``, ``1h30m`` or ``2d``; a number is of minutes. Raises ``ValueError``."""
    if isinstance(text, int) and not isinstance(text, bool) and text > 0 and (whole := _span(minutes=text)):
        return whole
    # int() takes no more than some thousands of digits, and nobody means twenty
    match = _DURATION.fullmatch(text) if isinstance(text, str) and 0 < len(text) <= 20 else None
    if match and any(match.groups()):
        days, hours, minutes = (int(part or 0) for part in match.groups())
        if span := _span(days=days, hours=hours, minutes=minutes):
            return span
    raise ValueError(f"must be a length such as 4h, 1h30m or 2d, or a number of minutes, not {text!r}")


def _span(**parts: int) -> datetime.timedelta | None:
    """None for one that is longer than Python can reckon with."""
    try:
        return datetime.timedelta(**parts)
    except OverflowError:
        return None


def merged(spans: t.Iterable[Span]) -> list[Span]:
    """The same time without overlaps: spans that touch each other become one."""
    apart: list[Span] = []
    for span in sorted(spans):
        if apart and span.begin <= apart[-1].end:
            apart[-1] = Span(apart[-1].begin, max(apart[-1].end, span.end))
        else:
            apart.append(span)
    return apart


def shown(moment_: datetime.datetime, where: datetime.tzinfo) -> str:
    """For people: local time with its offset, to the minute, and the zone's name."""
    text = moment_.astimezone(where).isoformat(timespec="minutes")
    return f"{text} ({where})"
