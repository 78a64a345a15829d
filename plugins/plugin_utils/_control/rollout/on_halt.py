# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Who goes back when the gate halts a rollout (``conditions.on_halt``, docs/gates.md)."""

from __future__ import annotations

import pathlib
import typing as t

from ..gate import conditions
from ..gate.decision import HALT, PROMOTE, Decision
from ..journal import journal, outcomes
from ..journal.journal import Journal
from ..journal.record import BEGINS, Record
from ..planning.plan import Plan
from . import rollout

#: With this the version of a way back ends (:mod:`rollback`).
BACK = ".back"


def due(plan: Plan, records: t.Sequence[Record], decision: Decision, *, wave: int, before: bool) -> list[str]:
    """The devices to take back after ``decision``, in the order of the plan.

    Those that this rollout itself brought to the release (never those that had it already) and that still run it: of
    every wave, or with ``roll_back_wave`` of the wave at hand and of what an earlier run touched after it; ``before`` a
    wave, that is the one before it. With ``roll_back_wave`` a wave that passed its gate stays, unless a device of it
    fell ill since: the next run of a rollout that halted comes to the gates of all waves, and is to take back no more.
    """
    wanted = plan["conditions"]["on_halt"]
    if decision.decision != HALT or wanted == conditions.STOP:
        return []
    first = max(wave - before, 0) if wanted == conditions.WAVE else 0
    brought = {
        record["device"]
        for record in records
        if record["event"] == "device.outcome" and record["outcome"] in outcomes.SUCCESS
    }
    known = outcomes.standings(records)
    passed = _passed(records) if wanted == conditions.WAVE else set()
    found = []
    for entry in plan["waves"][first:]:
        mine = [
            name
            for name in entry["hosts"]
            if name in brought and name in known and known[name].outcome in outcomes.AS_PLANNED
        ]
        if not passed.issuperset(mine) or (entry["index"] == wave and not before):
            found += mine
    return found


def _passed(records: t.Sequence[Record]) -> set[str]:
    """The devices whose wave was promoted, under any plan, after they were updated, and that did not get worse."""
    plan: t.Mapping[str, t.Any] = {}
    healthy: dict[str, bool] = {}
    passed: dict[str, bool] = {}
    known: dict[str, t.Any] = {}
    for record in records:
        data, name = record["data"], record.get("device", "")
        if record["event"] in BEGINS:
            plan = data.get("plan", plan)
        elif record["event"] == "wave.ended" and data["decision"] == PROMOTE:
            passed.update((host, healthy.get(host, True)) for host in plan["waves"][data["wave"]]["hosts"])
        elif record["event"] == "device.outcome":
            healthy[name] = True
            transaction = data.get("transaction")
            # a later run may hear once more of the transaction that it knows
            if record["outcome"] == "updated" and (transaction is None or transaction != known.get(name)):
                passed.pop(name, None)
            known[name] = transaction or known.get(name)
        elif record["event"] == "device.seen":
            healthy[name] = bool(data.get("healthy"))
            if passed.get(name) and not healthy[name]:
                del passed[name]
    return set(passed)


def wanted(records: t.Sequence[Record]) -> list[str]:
    """The devices that the last gate of the newest run wants back and that did not go back yet."""
    found: list[str] = []
    for record in records:
        if record["event"] in BEGINS:
            found = []
        elif record["event"] in ("wave.started", "wave.turn", "wave.ended"):
            found = record["data"].get("roll_back", [])
    known = outcomes.standings(records)
    return [name for name in found if name in known and known[name].outcome in outcomes.AS_PLANNED]


def settle(directory: pathlib.Path, book: Journal) -> list[str]:
    """Record in the rollout ``book`` who went back, as the journal of its way back says; returns their names.

    Can be called at any time and any number of times.
    """
    records = book.verify()
    release = rollout.current_plan(records)["release"]
    known, done = outcomes.standings(records), []
    for path in sorted(directory.glob(f"{release['name']}-{release['version']}{BACK}-*/{journal.NAME}")):
        back = Journal(path).verify()
        if rollout.current_plan(back).get("back_from") != book.last()["rollout"]:
            continue
        when = {record["device"]: record["time"] for record in back if record["event"] == "device.outcome"}
        brought = {record["device"]: record["time"] for record in records if record["event"] == "device.outcome"}
        for name, standing in outcomes.standings(back).items():
            runs_it = name in known and known[name].outcome in outcomes.AS_PLANNED
            if runs_it and standing.outcome in outcomes.AS_PLANNED and when[name] > brought[name]:
                data = {"before": standing.data.get("before"), "after": standing.data.get("after")}
                message = f"taken back by {back[0]['rollout']}"
                book.outcome(name, "rolled_back", code="REQUESTED", message=message, **data)
                done.append(name)
    return done
