# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""A rollout from its first record to its conclusion: start, resume, stored plan, result."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import pathlib
import re
import typing as t

from ..base import files
from ..base.errors import JournalError, PlanError
from ..base.plan import Plan, digest, rollout_id
from ..gate import analysis
from ..gate.decision import HALT, HOLD, PROMOTE, decide
from ..journal import journal, outcomes, runs
from ..journal.journal import Journal
from ..journal.outcomes import Standing
from ..journal.record import COMPLETE, HALTED, HELD, Record
from ..journal.state import Controller, State
from ..planning.plan import FORMAT
from .on_halt import BACK
from .wave import settled

#: So many ids are named where a wrong one was given.
_NAMED = 5
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~_-]{0,140}-[0-9a-f]{8}")


@dataclasses.dataclass(frozen=True)
class Started:
    """What a run of the rollout begins with.

    ``generation`` is 1 at the first start and one more with each run; ``unresolved`` are the devices whose outcome
    is open, ``done`` those that run the release already, both in the order of the plan.
    """

    rollout: str
    generation: int
    path: pathlib.Path
    resumed: bool
    unresolved: list[str]
    done: list[str]
    #: those of which a run before this left something to be asked: both, and those that looked unhealthy
    touched: list[str] = dataclasses.field(default_factory=list)
    #: see :attr:`State.complete_since`
    complete_since: str | None = None

    def is_watched(self, seconds: float, now: datetime.datetime) -> bool:
        """Whether a device that looks ill says something of the release: until ``seconds`` after its completion."""
        if self.complete_since is None:
            return True
        return now - datetime.datetime.fromisoformat(self.complete_since) < datetime.timedelta(seconds=seconds)


class Previous(t.TypedDict):
    """Where the rollout stood that wrote last before this one began."""

    rollout: str
    size: int
    head: str


class DeviceRow(t.TypedDict):
    """What came of a planned device; ``outcome`` and ``healthy`` are None if it was never touched."""

    device: str
    wave: str
    outcome: str | None
    code: str | None
    message: str | None
    before: object
    after: object
    healthy: bool | None
    unseen: str | None


@dataclasses.dataclass(frozen=True)
class Conclusion:
    """What came of a rollout.

    ``result`` is ``complete`` (every wave passed its gate), ``halted`` or ``held``; ``devices`` has one entry
    per planned device; ``not_as_planned`` are the names of those that do not run the release or look unhealthy.
    """

    result: str
    reason: str
    counts: dict[str, int]
    devices: list[DeviceRow]
    not_as_planned: list[str]
    #: index of the wave that the newest run promoted last, or an earlier one where this had nothing to do; -1 if its
    #: gate stopped it or none was promoted
    ended: int = -1
    #: index of the wave that the newest run opened for others, -1 if it did not
    opened: int = -1


def path_of(directory: pathlib.Path, plan: Plan) -> pathlib.Path:
    """Where the journal of this plan's rollout is. Raises :class:`PlanError` for a plan that was tampered with."""
    problems = []
    document = plan.document
    if document.get("format") != FORMAT or not {"rollout", "release", "waves", "limits"} <= set(document):
        problems.append(f"it is not of format {FORMAT}")
    elif document.get("digest") != digest(document):
        problems.append("its digest is not that of its content")
    # the id becomes a folder's name
    elif plan.rollout != rollout_id(plan.release) or not _ID.fullmatch(plan.rollout):
        problems.append("its rollout id is not that of its release")
    if problems:
        raise PlanError(f"the plan cannot be used: {problems[0]}; give what fleet.ota.plan returned", problems=problems)
    return directory / plan.rollout / journal.NAME


def path_of_id(directory: pathlib.Path, rollout: str) -> pathlib.Path:
    """Where the journal of a rollout is. Raises :class:`PlanError` for what cannot be an id."""
    if not _ID.fullmatch(rollout):
        raise PlanError(f"{rollout!r} is no rollout's id (fleet_ota_rollout_id); {_known(directory)}")
    return directory / rollout / journal.NAME


def recorded(directory: pathlib.Path, rollout: str) -> pathlib.Path:
    """The journal of a rollout that was begun. Raises :class:`PlanError` with the ids that ``directory`` has."""
    path = path_of_id(directory, rollout)
    if not path.parent.exists():
        raise PlanError(f"there is no rollout {rollout} in {directory}; {_known(directory)}")
    return path


def _known(directory: pathlib.Path) -> str:
    """The next step for an operator whose id is wrong: the newest ids in ``directory``."""
    paths = sorted(directory.glob(f"*/{journal.NAME}"), key=lambda path: path.stat().st_mtime, reverse=True)
    names = [path.parent.name for path in paths if f"{BACK}-" not in path.parent.name]
    if not names:
        return "it has no rollouts, so give another fleet_ota_journal_dir"
    more = f" or one of {len(names) - _NAMED} older ones" if len(names) > _NAMED else ""
    return f"give one of those that are there: {', '.join(names[:_NAMED])}{more}"


def look(directory: pathlib.Path, plan: Plan) -> Started:
    """What :func:`start` would return, without writing anything."""
    return _look(directory, plan)[0]


def start(directory: pathlib.Path, plan: Plan, controller: Controller, *, take_over: bool = False) -> Started:
    """Begin the journal of this plan's rollout below ``directory``, or go on with it.

    ``controller`` says who runs it (:func:`runs.controller`, user, versions); with ``take_over`` another run on
    another machine counts as dead. Raises :class:`JournalError` when the journal's chain is broken or another run is
    at work on it, and :class:`PlanError` for a plan that was tampered with.
    """
    files.make_directory(directory, 0o700)
    with files.lock(directory / ".lock"):
        started, state = _look(directory, plan)
        data: dict[str, object] = {"generation": started.generation, "controller": dict(controller)}
        if state:
            if not take_over:
                runs.require_alone(state, controller, longest_soak(plan))
            data["unresolved"] = started.unresolved
            if state.plan.digest != plan.digest:
                data["plan"] = plan.document
            Journal(started.path).append("rollout.resumed", data=data)
        else:
            previous = _newest(directory)
            data.update(plan=plan.document, release=plan.release, limits=plan.limits, previous=previous)
            head = previous["head"] if previous else journal.GENESIS
            Journal.begin(started.path, plan.rollout, data, prev=head)
    return started


def _look(directory: pathlib.Path, plan: Plan) -> tuple[Started, State | None]:
    path = path_of(directory, plan)
    if not path.exists():
        return Started(plan.rollout, 1, path, False, [], []), None
    state = Journal(path).state()
    planned = [state.standings[name] for name in plan.order() if name in state.standings]
    started = Started(
        rollout=plan.rollout,
        generation=state.generation + 1,
        path=path,
        resumed=True,
        unresolved=[standing.device for standing in planned if standing.outcome in outcomes.UNRESOLVED],
        done=[standing.device for standing in planned if standing.as_planned],
        touched=[
            standing.device for standing in planned if standing.outcome in outcomes.UNRESOLVED | outcomes.AS_PLANNED
        ],
        complete_since=state.complete_since,
    )
    return started, state


def longest_soak(plan: Plan) -> float:
    """The longest time in seconds for which a wave of this plan is left alone, or looked at by an analysis."""
    soak = max((wave.get("soak", plan.conditions["soak"]) for wave in plan.waves), default=0)
    return float(soak + analysis.longest(plan.conditions["analysis"]))


def stored_plan(directory: pathlib.Path, rollout: str) -> Plan | None:
    """The plan that the journal of ``rollout`` below ``directory`` follows; None if it never started."""
    path = directory / rollout / journal.NAME
    return State.of(Journal(path).read()).plan if _ID.fullmatch(rollout) and path.exists() else None


def result_of(state: State) -> Conclusion:
    """What came of the rollout; see :class:`Conclusion`."""
    plan, standings, gates = state.plan, state.standings, state.gates
    last = min(gates.last, len(plan.waves) - 1)
    if gates.opened >= 0:
        # nobody has had the time yet to touch a device of it
        final = decide(plan, standings, wave=gates.opened, before=True)
        result = HALTED if final.decision == HALT else HELD
        name = plan.waves[gates.opened]["name"]
        reason = final.reason if final.stop else f"wave {name} is open for runs that join it"
    elif gates.decision == PROMOTE:
        # No verdict of a gate is left standing alone: whatever the run ended with, the records decide.
        final = decide(plan, standings, wave=last, untouched=gates.held)
        result = {PROMOTE: COMPLETE, HOLD: HELD, HALT: HALTED}[final.decision]
        reason = final.reason
        # the records may allow what an analysis or a rule refused, and a run may end before it comes to that again
        if result == COMPLETE:
            left = next((entry["name"] for entry in plan.waves if not settled(state, entry)), None)
            if left is not None:
                result, reason = HELD, f"ended before wave {left} passed its gate; run the rollout again"
    else:
        final = decide(plan, standings, wave=max(last, 0), before=last < 0, untouched=gates.held)
        result = HALTED if gates.decision == HALT else HELD
        reason = gates.reason or final.reason
    devices = [_row(name, wave["name"], standings.get(name)) for wave in plan.waves for name in wave["hosts"]]
    counts = dict(final.counts, untouched=sum(row["outcome"] is None for row in devices))
    wrong = [row["device"] for row in devices if not (row["outcome"] in outcomes.AS_PLANNED and row["healthy"])]
    return Conclusion(result, reason, counts, devices, wrong, gates.ended, gates.opened)


def _row(device: str, wave: str, standing: Standing | None) -> DeviceRow:
    data = standing.data if standing else {}
    return {
        "device": device,
        "wave": wave,
        "outcome": standing.outcome if standing else None,
        "code": standing.code if standing else None,
        "message": standing.message if standing else None,
        "before": data.get("before"),
        "after": data.get("after"),
        "healthy": standing.healthy if standing else None,
        "unseen": standing.unseen if standing else None,
    }


def _newest(directory: pathlib.Path) -> Previous | None:
    """The checkpoint of the rollout that wrote last, for the chain from rollout to rollout."""
    newest: Record | None = None
    for path in sorted(directory.glob("*/" + journal.NAME)):
        with contextlib.suppress(JournalError):  # a ruined neighbour must not stop this rollout
            last = Journal(path).last()
            if newest is None or last["time"] > newest["time"]:
                newest = last
    if newest is None:
        return None
    return {"rollout": newest["rollout"], "size": newest["seq"] + 1, "head": newest["hash"]}
