# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""How far a rollout is, from its journal as it grows: waves, outcomes, rate and time left.

Pure: records in, numbers and lines out. The callback ``fleet.ota.progress`` feeds and shows it.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import typing as t

from ..base.plan import Plan
from ..gate import decision
from ..journal import outcomes
from ..journal.changes import Began, Concluded, Decided, Heard, Touched
from ..journal.state import State

if t.TYPE_CHECKING:
    from ..journal.record import Record

#: Ends of devices in this run from which on a rate means something.
_ENOUGH = 3
#: In a wave of more devices than this, only what did not go as planned is told device by device.
_MANY = 20


@dataclasses.dataclass
class Wave:
    """One wave as it stands: ``outcomes`` maps each device that has one to it, ``state`` is for people."""

    index: int
    name: str
    hosts: frozenset[str]
    state: str = "waiting"
    reason: str = ""
    outcomes: dict[str, str] = dataclasses.field(default_factory=dict)
    running: set[str] = dataclasses.field(default_factory=set)

    def counts(self) -> dict[str, int]:
        """Devices by outcome, in the order of the outcomes' reference."""
        counts = collections.Counter(self.outcomes.values())
        return {name: counts[name] for name in outcomes.ORDER if counts[name]}


class Progress:
    """Everything that can be shown of one rollout."""

    def __init__(self) -> None:
        self.rollout = ""
        self._state = State()
        self.waves: list[Wave] = []
        self.result: str | None = None
        self._wave_of: dict[str, Wave] = {}
        self._ends: set[str] = set()
        self._began: datetime.datetime | None = None
        self._last: datetime.datetime | None = None

    def feed(self, record: Record) -> list[str]:
        """Take in one record of the journal, in their order; the lines that tell it, often none."""
        change = self._state.feed(record)
        self._last = datetime.datetime.fromisoformat(record["time"])
        match change:
            case Began():
                return self._begin(change)
            case Decided():
                return self._decided(change)
            case Concluded():
                self.result = change.result
                return [f"{self._title()}: {self.result}; {self._sum()}"]
            case Touched() if change.device in self._wave_of:
                self._wave_of[change.device].running.add(change.device)
            case Heard() if change.device in self._wave_of:
                return self._heard(self._wave_of[change.device], change)
        return []

    def _heard(self, wave: Wave, end: Heard) -> list[str]:
        wave.running.discard(end.device)
        wave.outcomes[end.device] = end.outcome
        self._ends.add(end.device)
        if len(wave.hosts) <= _MANY or end.outcome not in outcomes.AS_PLANNED:
            cause = ": ".join(part for part in (end.code, end.message) if part)
            return [f"{wave.name} {end.device}: {end.outcome}{f' ({cause})' if cause else ''}; {self.line(wave)}"]
        if len(wave.outcomes) % max(1, len(wave.hosts) // 10) == 0:
            return [self.line(wave)]
        return []

    def line(self, wave: Wave) -> str:
        """One wave in one line."""
        counts = ", ".join(f"{number} {name}" for name, number in wave.counts().items())
        return (
            f"wave {wave.index + 1}/{len(self.waves)} {wave.name}: {len(wave.outcomes)} of {len(wave.hosts)} done"
            + (f" ({counts})" if counts else "")
        )

    @property
    def targets(self) -> int:
        """How many devices the plan has."""
        return len(self._wave_of)

    @property
    def done(self) -> int:
        """How many devices have an outcome."""
        return sum(len(wave.outcomes) for wave in self.waves)

    def per_minute(self) -> float | None:
        """Devices that came to an end per minute of this run; None while it says nothing."""
        if len(self._ends) < _ENOUGH or not self._began or not self._last or self._last <= self._began:
            return None
        return len(self._ends) * 60 / (self._last - self._began).total_seconds()

    def minutes_left(self) -> float | None:
        """Minutes until all devices have an outcome if it goes on like this; None while nobody knows.

        Soaks and pauses that this run had are in the rate; those that are still to come are not foreseen.
        """
        rate = self.per_minute()
        return None if rate is None else (self.targets - self.done) / rate

    def rates(self) -> str:
        """Rate and time left for people; empty while nobody knows."""
        rate, left = self.per_minute(), self.minutes_left()
        if rate is None or left is None:
            return ""
        return f"{rate:.3g} devices per minute" + (f", about {max(1, round(left))} min left" if left else "")

    def _begin(self, begun: Began) -> list[str]:
        if begun.planned:
            self._follow(self._state.plan)
        self.rollout, self.result = self._state.rollout, None
        self._ends, self._began = set(), self._last
        for wave in self.waves:
            wave.running.clear()
        what = f"resumed, run {begun.generation}" if begun.resumed else "started"
        return [f"{self._title()}: {what}; {self.targets} devices in {len(self.waves)} waves, {self._sum()}"]

    def _follow(self, plan: Plan) -> None:
        ends = {device: outcome for wave in self.waves for device, outcome in wave.outcomes.items()}
        self.waves = [Wave(entry["index"], entry["name"], frozenset(entry["hosts"])) for entry in plan.waves]
        self._wave_of = {device: wave for wave in self.waves for device in wave.hosts}
        for device, outcome in ends.items():
            if device in self._wave_of:
                self._wave_of[device].outcomes[device] = outcome

    def _decided(self, gate: Decided) -> list[str]:
        wave = self.waves[gate.wave]
        go = gate.decision == decision.PROMOTE
        wave.reason = "" if go else gate.reason
        if go:
            wave.state = "passed" if gate.point == "after" else "running"
        else:
            wave.state = gate.decision
        if gate.point == "turn" and go:
            return []
        step = {"before": "begins", "after": "promoted"}.get(gate.point, "") if go else gate.decision
        return [f"{self.line(wave)}: {step}{'' if go else ', ' + wave.reason}{self._rates()}"]

    def _rates(self) -> str:
        rates = self.rates()
        return f"; {rates}" if rates else ""

    def _title(self) -> str:
        release = self._state.plan.release
        return f"{release['name']} {release['version']}"

    def _sum(self) -> str:
        counts = collections.Counter(outcome for wave in self.waves for outcome in wave.outcomes.values())
        texts = [f"{counts[name]} {name}" for name in outcomes.ORDER if counts[name]]
        return ", ".join([*texts, f"{self.targets - self.done} without an outcome"])
