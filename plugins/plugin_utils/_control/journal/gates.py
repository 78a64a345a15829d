# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What the gates of a rollout decided, and where its waves are."""

from __future__ import annotations

import dataclasses
import typing as t

from .changes import Point
from .record import PROMOTE


@dataclasses.dataclass(frozen=True)
class Measured:
    """What the analysis of one metric came to."""

    metric: str
    verdict: str
    reason: str
    dry_run: bool


@dataclasses.dataclass
class WaveState:
    """A wave of the plan in force."""

    #: its gate promoted it under this plan, and none of its devices was updated anew since
    settled: bool = False
    #: the newest analysis of each metric
    analysis: dict[str, Measured] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Gates:
    """What the gates before and after waves decided."""

    #: the newest run's last decision; promote while it has none
    decision: str = PROMOTE
    #: why the last gate that did not promote decided so, in any run
    reason: str | None = None
    #: the last wave that was begun under the plan in force; -1 for none
    last: int = -1
    #: the wave that the newest run promoted last, or an earlier run where this one had nothing to do; -1 for none
    ended: int = -1
    #: the wave that the newest run opened for those who join it; -1 for none
    opened: int = -1
    #: the devices that the newest run's last gate wants back
    wanted_back: list[str] = dataclasses.field(default_factory=list)
    #: the devices whose batch the newest run's gate did not let begin, and of which nothing is recorded since
    held: set[str] = dataclasses.field(default_factory=set)
    _before: int = -1

    def begin_run(self, planned: bool) -> None:
        """A run begins; with another plan the numbers of waves mean others."""
        if planned:
            self.last = self._before = -1
        # a run that finds nothing to do leaves no record of its waves
        self.decision, self.ended, self.opened = PROMOTE, self._before, -1
        self.wanted_back, self.held = [], set()

    def decide(self, point: Point, wave: int, data: t.Mapping[str, t.Any]) -> None:
        """A gate decided, before or after ``wave`` or before a batch of it."""
        self.wanted_back = data.get("roll_back", [])
        promoted = data["decision"] == PROMOTE
        if point == "turn":
            if not promoted:
                self.held.update(data["hosts"])
            return
        self.decision = data["decision"]
        self.opened = wave if data.get("open") else -1
        if not promoted:
            self.reason = data.get("reason")
        if promoted or point == "after":
            self.last = max(self.last, wave)
        self.ended = wave if promoted and point == "after" else -1
        self._before = max(self._before, self.ended)
