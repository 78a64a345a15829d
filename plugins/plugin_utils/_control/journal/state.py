# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What a journal's records add up to: the one place that knows what an event means (docs/reference/journal.md).

Gates, reports and the callback read this; none of them goes over the records again.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..base.errors import JournalError
from ..base.plan import Plan, Wave
from . import outcomes
from .attempts import Attempts, End, Failures
from .changes import Began, Change, Concluded, Decided, Heard, Point, Touched
from .checkpoints import Checkpoint
from .gates import Gates, Measured, WaveState
from .outcomes import Standing
from .record import COMPLETE, HALT, HALTED, PROMOTE, Record, goes_on_with_older


class Controller(t.TypedDict, total=False):
    """Which process runs a rollout, or takes part in a wave of it (:func:`runs.controller`)."""

    host: str
    machine: str | None
    boot: str | None
    namespace: str | None
    pid: int
    begun: str | None
    user: str
    ansible: str


@dataclasses.dataclass
class Run:
    """One run of a rollout, and whether it has come to its conclusion."""

    rollout: str
    generation: int
    time: str
    controller: Controller
    ended: bool = False

    @classmethod
    def begun(cls, record: Record) -> Run:
        """The run that begins with ``record``."""
        data = record["data"]
        return cls(record["rollout"], int(data["generation"]), record["time"], data.get("controller") or {})


@dataclasses.dataclass(frozen=True)
class Part:
    """The devices of an open wave that another controller has taken, and which has not left it."""

    worker: str
    devices: list[str]
    controller: Controller


class State:
    """Everything that the records of one rollout say, kept up to date by :meth:`feed`."""

    def __init__(self) -> None:
        self.rollout = ""
        self.time = ""
        #: the name of the release with which the rollout began; empty without one
        self.release_name = ""
        #: every plan that a run followed, oldest first
        self.plans: list[Plan] = []
        self.run: Run | None = None
        #: those who joined the newest run's wave and have not left it, by their name
        self.parts: dict[str, Part] = {}
        #: each device that was touched, in the order in which that first happened
        self.standings: dict[str, Standing] = {}
        self.waves: dict[int, WaveState] = {}
        self.gates = Gates()
        #: digest of a plan, name of a wave -> who let it begin, and how
        self.approvals: dict[str, dict[str, t.Mapping[str, object]]] = {}
        #: the devices that this rollout itself brought to the release at some time
        self.brought: set[str] = set()
        #: when the latest outcome of each device was recorded
        self.heard: dict[str, str] = {}
        #: how long each update took that succeeded, in seconds
        self.seconds: list[float] = []
        #: what the newest run concluded; None while it has not
        self.result: str | None = None
        #: when and how (complete or halted) the newest run that came to one of these did; None for neither
        self.end: tuple[str, str] | None = None
        #: when the rollout was completed, if it has been complete ever since
        self.complete_since: str | None = None
        self._hashes: list[str] = []
        self._since: str | None = None
        self._attempts = Attempts()
        self._wave_of: dict[str, int] = {}
        self._transactions: dict[str, object] = {}
        self._healthy: dict[str, bool] = {}
        #: the devices whose wave passed under any plan since they were updated, and whether each looked well then
        self._passed: dict[str, bool] = {}

    @classmethod
    def of(cls, records: t.Iterable[Record]) -> State:
        """The state after these records, oldest first.

        Raises :class:`JournalError` for a record that lacks what belongs to its event: whoever passes over a ruined
        journal can pass over this one too.
        """
        state = cls()
        for number, record in enumerate(records, 1):
            try:
                state.feed(record)
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                raise JournalError(
                    f"line {number} of the journal of {state.rollout or 'a rollout'} lacks what belongs to "
                    f"{record.get('event')} ({type(error).__name__}: {error}); restore the file from a backup"
                ) from error
        return state

    # -- asking --------------------------------------------------------------------------------------------------

    @property
    def plan(self) -> Plan:
        """The plan in force. Raises :class:`JournalError` if there is none."""
        if not self.plans:
            raise JournalError("the journal does not begin with rollout.started; restore it from a backup")
        return self.plans[-1]

    @property
    def generation(self) -> int:
        """The number of the newest run."""
        return self.run.generation if self.run else 0

    @property
    def proven(self) -> t.AbstractSet[str]:
        """The devices that no halt of another wave takes back.

        Their wave was promoted, under any plan, after they were updated, and no later record of their own says
        otherwise: another update, or a look at which one that was well is not any more.
        """
        return self._passed.keys()

    def wave(self, wave: Wave) -> WaveState:
        """The state of a wave of the plan in force."""
        return self.waves.get(wave["index"]) or WaveState()

    def as_planned(self, devices: t.Iterable[str]) -> bool:
        """Whether all of ``devices`` run the release and looked well when last seen."""
        return all(name in self.standings and self.standings[name].as_planned for name in devices)

    def failures(self, device: str) -> Failures | None:
        """How often in a row ``device`` failed in earlier runs; None if its last attempt did not fail."""
        return self._attempts.failures(device)

    def checkpoint(self) -> Checkpoint:
        """What devices keep as witnesses of the journal as far as it was fed."""
        checkpoint: Checkpoint = {
            "rollout": self.rollout,
            "size": len(self._hashes),
            "head": self._hashes[-1],
            "journal": self._hashes[0],
        }
        if self._since:
            checkpoint["since"] = self._since
        return checkpoint

    def holds(self, checkpoint: Checkpoint) -> bool:
        """Whether the journal has what ``checkpoint`` (kept by a device) witnessed."""
        size = checkpoint["size"]
        return 0 < size <= len(self._hashes) and self._hashes[size - 1] == checkpoint["head"]

    # -- records -------------------------------------------------------------------------------------------------

    def feed(self, record: Record) -> Change | None:
        """Take in the next record; what it changed, None where nobody who follows a journal has to know."""
        if not self._hashes:
            self.rollout = record["rollout"]
            self.release_name = record["data"].get("release", {}).get("name", "")
        self.time = record["time"]
        self._hashes.append(record["hash"])
        device = record.get("device")
        if device:
            self.gates.held.discard(device)
        reader = _READERS.get(record["event"])
        return reader(self, record) if reader else None

    def _begin(self, record: Record) -> Change:
        data = record["data"]
        resumed, planned = record["event"] == "rollout.resumed", "plan" in data
        if planned:
            self.plans.append(Plan.of(data["plan"]))
            self.waves = {wave["index"]: WaveState() for wave in self.plan.waves}
            self._wave_of = {name: wave["index"] for wave in self.plan.waves for name in wave["hosts"]}
        for device, standing in self.standings.items():
            if outcomes.is_asked_again(standing.outcome, standing.code):
                self.standings[device] = standing._replace(outcome="deferred")
        self.run = Run.begun(record)
        self.result = None
        self.parts.clear()
        self.gates.begin_run(planned)
        self._attempts.begin_run()
        return Began(self.run.generation, resumed, planned)

    def _decided(self, record: Record) -> Change:
        data, point = record["data"], _POINTS[record["event"]]
        wave, decision = int(data["wave"]), str(data["decision"])
        self.gates.decide(point, wave, data)
        if decision == HALT:  # also of a run that dies before it can conclude
            self.end = (record["time"], HALTED)
        state = self.waves.get(wave)
        if point == "after" and state:
            state.settled = decision == PROMOTE
            if state.settled:
                hosts = self.plan.waves[wave]["hosts"]
                self._passed.update((host, self._healthy.get(host, True)) for host in hosts)
        return Decided(point, wave, decision, str(data.get("reason", "")))

    def _analysed(self, record: Record) -> None:
        data = record["data"]
        if data["wave"] in self.waves:
            measured = Measured(data["metric"], data["verdict"], data["reason"], data["dry_run"])
            self.waves[data["wave"]].analysis[data["metric"]] = measured

    def _approved(self, record: Record) -> None:
        data = record["data"]
        self.approvals.setdefault(data["plan"], {})[data["name"]] = data

    def _joined(self, record: Record) -> None:
        data = record["data"]
        if self.run and "controller" in data:
            self.parts[data["worker"]] = Part(data["worker"], data["devices"], data["controller"])

    def _left(self, record: Record) -> None:
        self.parts.pop(record["data"]["worker"], None)

    def _reset(self, record: Record) -> None:
        # a device that was taken back may be brought to the release again, one that was ahead is asked again
        dropped = [name for name, standing in self.standings.items() if standing.taken_back or standing.ahead]
        for name in dropped:
            del self.standings[name]
            self._unsettle(name)
        if goes_on_with_older(record):
            self._since = record["hash"]

    def _touched(self, record: Record) -> Change:
        device = record["device"]
        self.standings[device] = Standing(device, "pending", data=record["data"])
        self._attempts.touch(device)
        return Touched(device)

    def _outcome(self, record: Record) -> Change:
        device, outcome, data = record["device"], record["outcome"], record["data"]
        code, message, transaction = record.get("code"), record.get("message"), data.get("transaction")
        self.standings[device] = Standing(device, outcome, code, message, data=data)
        self.heard[device], self._healthy[device] = record["time"], True
        counted = "deferred" if outcomes.is_asked_again(outcome, code) else outcome
        self._attempts.end(device, End(counted, record["time"], outcome in outcomes.UNRESOLVED or bool(transaction)))
        if outcome in outcomes.SUCCESS:
            self.brought.add(device)
            seconds = data.get("seconds")
            if isinstance(seconds, (int, float)) and seconds > 0:
                self.seconds.append(float(seconds))
            # a later run may hear once more of the transaction that is known, also of a device that was lost meanwhile
            if transaction is None or transaction != self._transactions.get(device):
                self._unsettle(device)
                self._passed.pop(device, None)
        if transaction is not None:
            self._transactions[device] = transaction
        return Heard(device, outcome, code, message)

    def _seen(self, record: Record) -> None:
        device, healthy = record["device"], record["data"].get("healthy")
        standing = self.standings.get(device)
        if healthy is None:  # nothing is known that was not known before
            if standing:
                self.standings[device] = standing._replace(unseen=record["data"].get("reason") or "no reason was given")
            return
        if standing:
            self.standings[device] = standing._replace(healthy=healthy, unseen=None)
        self._healthy[device] = healthy
        if self._passed.get(device) and not healthy:
            del self._passed[device]

    def _concluded(self, record: Record) -> Change:
        result = str(record["data"]["result"])
        if self.run:
            self.run.ended = True
        self.result = result
        if result in (COMPLETE, HALTED):
            self.end = (record["time"], result)
        self.complete_since = (self.complete_since or record["time"]) if result == COMPLETE else None
        return Concluded(result)

    def _unsettle(self, device: str) -> None:
        """The wave of ``device`` has to pass its gate again: soak and analysis saw another update of it, or none."""
        wave = self.waves.get(self._wave_of.get(device, -1))
        if wave:
            wave.settled = False
        self.complete_since = None


_POINTS: t.Mapping[str, Point] = {"wave.started": "before", "wave.turn": "turn", "wave.ended": "after"}
_READERS: t.Mapping[str, t.Callable[[State, Record], Change | None]] = {
    "rollout.started": State._begin,
    "rollout.resumed": State._begin,
    "wave.started": State._decided,
    "wave.turn": State._decided,
    "wave.ended": State._decided,
    "wave.analysis": State._analysed,
    "wave.approved": State._approved,
    "slice.started": State._joined,
    "slice.ended": State._left,
    "rollout.reset": State._reset,
    "device.pending": State._touched,
    "device.outcome": State._outcome,
    "device.seen": State._seen,
    "rollout.ended": State._concluded,
}
