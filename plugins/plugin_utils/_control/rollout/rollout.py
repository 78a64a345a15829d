# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""A rollout from its first record to its conclusion: start, resume, stored plan, result."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import re
import typing as t

from ..base import files
from ..base.errors import JournalError, PlanError
from ..gate import analysis
from ..gate.decision import HALT, HOLD, PROMOTE, decide
from ..journal import journal, outcomes, runs
from ..journal.journal import Journal
from ..journal.record import BEGINS, Record
from ..planning.plan import FORMAT, Plan, digest, order, rollout_id
from .wave import settled

COMPLETE, HALTED, HELD = "complete", "halted", "held"

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


@dataclasses.dataclass(frozen=True)
class Conclusion:
    """What came of a rollout.

    ``result`` is ``complete`` (every wave passed its gate), ``halted`` or ``held``; ``devices`` has one entry
    ``{device, wave, outcome, code, message, before, after, healthy}`` per planned device, with the outcome None if it
    was never touched; ``not_as_planned`` are the names of those that do not run the release or look unhealthy.
    """

    result: str
    reason: str
    counts: dict[str, int]
    devices: list[dict[str, t.Any]]
    not_as_planned: list[str]
    #: index of the wave that the newest run promoted last, or an earlier one where this had nothing to do; -1 if its
    #: gate stopped it or none was promoted
    ended: int = -1
    #: index of the wave that the newest run opened for others, -1 if it did not
    opened: int = -1


def path_of(directory: pathlib.Path, plan: Plan) -> pathlib.Path:
    """Where the journal of this plan's rollout is. Raises :class:`PlanError` for a plan that was tampered with."""
    problems = []
    if plan.get("format") != FORMAT or not {"rollout", "release", "waves", "limits"} <= set(plan):
        problems.append(f"it is not of format {FORMAT}")
    elif plan.get("digest") != digest(plan):
        problems.append("its digest is not that of its content")
    # the id becomes a folder's name
    elif plan["rollout"] != rollout_id(plan["release"]) or not _ID.fullmatch(plan["rollout"]):
        problems.append("its rollout id is not that of its release")
    if problems:
        raise PlanError(f"the plan cannot be used: {problems[0]}; give what fleet.ota.plan returned", problems=problems)
    return directory / plan["rollout"] / journal.NAME


def path_of_id(directory: pathlib.Path, rollout: str) -> pathlib.Path:
    """Where the journal of a rollout is. Raises :class:`PlanError` for what cannot be an id."""
    if not _ID.fullmatch(rollout):
        raise PlanError(f"{rollout!r} is no rollout's id; give one such as gateway-2.0-1a2b3c4d")
    return directory / rollout / journal.NAME


def look(directory: pathlib.Path, plan: Plan) -> Started:
    """What :func:`start` would return, without writing anything."""
    path = path_of(directory, plan)
    if not path.exists():
        return Started(plan["rollout"], 1, path, False, [], [])
    records = Journal(path).verify()
    known = outcomes.standings(records)
    planned = [known[name] for name in order(plan) if name in known]
    return Started(
        rollout=plan["rollout"],
        generation=generation(records) + 1,
        path=path,
        resumed=True,
        unresolved=[standing.device for standing in planned if standing.outcome in outcomes.UNRESOLVED],
        done=[standing.device for standing in planned if standing.as_planned],
        touched=[
            standing.device for standing in planned if standing.outcome in outcomes.UNRESOLVED | outcomes.AS_PLANNED
        ],
    )


def start(
    directory: pathlib.Path, plan: Plan, controller: t.Mapping[str, t.Any], *, take_over: bool = False
) -> Started:
    """Begin the journal of this plan's rollout below ``directory``, or go on with it.

    ``controller`` says who runs it (:func:`runs.controller`, user, versions); with ``take_over`` another run on
    another machine counts as dead. Raises :class:`JournalError` when the journal's chain is broken or another run is
    at work on it, and :class:`PlanError` for a plan that was tampered with.
    """
    files.make_directory(directory, 0o700)
    with files.lock(directory / ".lock"):
        started = look(directory, plan)
        data: dict[str, t.Any] = {"generation": started.generation, "controller": dict(controller)}
        if started.resumed:
            before = Journal(started.path)
            records = before.read()
            if not take_over:
                runs.refuse_second(records, controller, longest_soak(plan))
            data["unresolved"] = started.unresolved
            if current_plan(records)["digest"] != plan["digest"]:
                data["plan"] = plan
            before.append("rollout.resumed", data=data)
        else:
            previous = _newest(directory)
            data.update(plan=plan, release=plan["release"], limits=plan["limits"], previous=previous)
            head = previous["head"] if previous else journal.GENESIS
            Journal.begin(started.path, plan["rollout"], data, prev=head)
    return started


def current_plan(records: t.Sequence[Record]) -> Plan:
    """The plan that the newest run follows."""
    for record in reversed(records):
        if record["event"] in BEGINS and "plan" in record["data"]:
            return t.cast(Plan, record["data"]["plan"])
    raise JournalError("the journal does not begin with rollout.started; restore it from a backup")


def generation(records: t.Sequence[Record]) -> int:
    """The number of the newest run."""
    begin = runs.newest(records)
    return int(begin["data"]["generation"]) if begin else 0


def longest_soak(plan: Plan) -> float:
    """The longest time in seconds for which a wave of this plan is left alone, or looked at by an analysis."""
    soak = max((wave.get("soak", plan["conditions"]["soak"]) for wave in plan["waves"]), default=0)
    return float(soak + analysis.longest(plan["conditions"]["analysis"]))


def untouched(records: t.Sequence[Record]) -> set[str]:
    """The devices whose turn the gate did not let begin in the newest run, and that nothing is recorded of."""
    held: set[str] = set()
    for record in records:
        if record["event"] in BEGINS:
            held.clear()
        elif record["event"] == "wave.turn" and record["data"]["decision"] != PROMOTE:
            held.update(record["data"]["hosts"])
        elif record.get("device"):
            held.discard(record["device"])
    return held


def stored_plan(directory: pathlib.Path, rollout: str) -> Plan | None:
    """The plan that the journal of ``rollout`` below ``directory`` follows; None if it never started."""
    path = directory / rollout / journal.NAME
    return current_plan(Journal(path).read()) if _ID.fullmatch(rollout) and path.exists() else None


def conclude(records: t.Sequence[Record]) -> Conclusion:
    """What came of the rollout whose records these are; see :class:`Conclusion`."""
    plan = current_plan(records)
    known = outcomes.standings(records)
    decision, last = _last_decision(records, plan)
    wave = opened(records)
    if wave >= 0:
        # nobody has had the time yet to touch a device of it
        final = decide(plan, known, wave=wave, before=True)
        result = HALTED if final.decision == HALT else HELD
        reason = final.reason if final.stop else f"wave {plan['waves'][wave]['name']} is open for those who join it"
    elif decision == PROMOTE:
        # No verdict of a gate is left standing alone: whatever the run ended with, the records decide.
        final = decide(plan, known, wave=last, untouched=untouched(records))
        result = {PROMOTE: COMPLETE, HOLD: HELD, HALT: HALTED}[final.decision]
        reason = final.reason
        # the records may allow what an analysis or a rule refused, and a run may end before it comes to that again
        if result == COMPLETE:
            left = next((entry["name"] for entry in plan["waves"] if not settled(records, entry)), None)
            if left is not None:
                result, reason = HELD, f"ended before wave {left} passed its gate; run the rollout again"
    else:
        final = decide(plan, known, wave=max(last, 0), before=last < 0, untouched=untouched(records))
        result = HALTED if decision == HALT else HELD
        reason = _last_reason(records) or final.reason
    devices = [_row(name, wave["name"], known.get(name)) for wave in plan["waves"] for name in wave["hosts"]]
    counts = dict(final.counts, untouched=sum(row["outcome"] is None for row in devices))
    wrong = [row["device"] for row in devices if not (row["outcome"] in outcomes.AS_PLANNED and row["healthy"])]
    return Conclusion(result, reason, counts, devices, wrong, _ended(records), wave)


def opened(records: t.Sequence[Record]) -> int:
    """The index of the wave that the newest run opened for those who join it (:mod:`joining`); -1 for none."""
    wave = -1
    for record in records:
        if record["event"] in BEGINS:
            wave = -1
        elif record["event"] in ("wave.started", "wave.ended"):
            wave = int(record["data"]["wave"]) if record["data"].get("open") else -1
    return wave


def _last_decision(records: t.Sequence[Record], plan: Plan) -> tuple[str, int]:
    """The newest run's last gate decision and the last wave that this run or an earlier one began; -1 for none."""
    decision, last = PROMOTE, -1
    for record in records:
        if record["event"] == "rollout.resumed":
            decision = PROMOTE
            if "plan" in record["data"]:
                last = -1  # numbers of other waves
        elif record["event"] in ("wave.started", "wave.ended"):
            decision = record["data"]["decision"]
            if record["event"] == "wave.ended" or decision == PROMOTE:
                last = max(last, int(record["data"]["wave"]))
    return decision, min(last, len(plan["waves"]) - 1)


def _ended(records: t.Sequence[Record]) -> int:
    ended, before = -1, -1
    for record in records:
        if record["event"] == "rollout.resumed":
            if "plan" in record["data"]:
                before = -1  # numbers of other waves
            # a run that finds nothing to do leaves no record of its waves
            ended = before
        elif record["event"] in ("wave.started", "wave.ended"):
            promoted = record["event"] == "wave.ended" and record["data"]["decision"] == PROMOTE
            ended = int(record["data"]["wave"]) if promoted else -1
            before = max(before, ended)
    return ended


def _last_reason(records: t.Sequence[Record]) -> str | None:
    """Why the last gate that did not promote decided so: limits, or a condition that the outcomes do not show."""
    said = (record["data"] for record in reversed(records) if record["event"] in ("wave.started", "wave.ended"))
    return next((data.get("reason") for data in said if data["decision"] != PROMOTE), None)


def _row(device: str, wave: str, standing: outcomes.Standing | None) -> dict[str, t.Any]:
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
    }


def _newest(directory: pathlib.Path) -> dict[str, t.Any] | None:
    """The checkpoint of the rollout that wrote last, for the chain from rollout to rollout."""
    newest: Record | None = None
    for path in sorted(directory.glob("*/" + journal.NAME)):
        with contextlib.suppress(JournalError):  # a ruined neighbour must not stop this rollout
            last = Journal(path).last()
            if newest is None or last["time"] > newest["time"]:
                newest = last
    return newest and {"rollout": newest["rollout"], "size": newest["seq"] + 1, "head": newest["hash"]}
