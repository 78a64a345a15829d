# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""How often in a row a device failed, one failure for each attempt of an earlier run."""

from __future__ import annotations

import dataclasses
import datetime

from . import outcomes


@dataclasses.dataclass
class Failures:
    """An unbroken series of failures of one device: how many, when the last was, and its outcome."""

    times: int
    last: datetime.datetime
    outcome: str


@dataclasses.dataclass(frozen=True)
class End:
    """How an attempt ended; ``asked`` if it may have come by asking: no contact, or a transaction of the device."""

    outcome: str
    time: str
    asked: bool


class Attempts:
    """The series of every device, fed with a journal's records in their order."""

    def __init__(self) -> None:
        self._series: dict[str, Failures] = {}
        #: how the latest attempt of this run ended
        self._latest: dict[str, End] = {}
        #: the devices whose latest attempt has no outcome yet
        self._open: set[str] = set()

    def begin_run(self) -> None:
        """A new run begins: what the run before it left counts from here on."""
        for device, end in self._latest.items():
            self._count(device, end)
        self._latest = {}

    def touch(self, device: str) -> None:
        """A device is touched; what was on record of it in this run is how an earlier attempt ended."""
        if device in self._latest:
            self._count(device, self._latest.pop(device))
        self._open.add(device)

    def end(self, device: str, end: End) -> None:
        """An outcome came; the latest of an attempt counts."""
        self._latest[device] = end

    def failures(self, device: str) -> Failures | None:
        """The series of ``device`` without the newest run's failure; None without one, or if it succeeded since."""
        latest = self._latest.get(device)
        if latest and latest.outcome in outcomes.AS_PLANNED:
            return None
        return self._series.get(device)

    def _count(self, device: str, end: End) -> None:
        """Count a failure, unless it is of an attempt that is counted already: the device was asked once more since."""
        series = self._series.get(device)
        if end.outcome not in outcomes.FAILURE:
            if end.outcome != "deferred":
                self._series.pop(device, None)
        elif series and device not in self._open and end.asked:
            series.outcome = end.outcome
        else:
            moment = datetime.datetime.fromisoformat(end.time)
            self._series[device] = Failures(series.times + 1 if series else 1, moment, end.outcome)
        self._open.discard(device)
