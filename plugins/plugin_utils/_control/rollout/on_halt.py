# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Which devices go back when the gate halts a rollout (``conditions.on_halt``, docs/gates.md)."""

from __future__ import annotations

import pathlib

from ..gate import conditions
from ..gate.decision import HALT, Decision
from ..journal import journal, outcomes
from ..journal.journal import Journal
from ..journal.state import State

#: With this the version of a rollback ends (:mod:`rollback`).
BACK = ".back"


def due(state: State, decision: Decision, *, wave: int, before: bool) -> list[str]:
    """The devices to take back after ``decision``, in the order of the plan.

    Those that this rollout itself brought to the release (never those that had it already) and that still run it: of
    every wave, or with ``roll_back_wave`` of the wave at hand and of what an earlier run touched after it; ``before`` a
    wave, that is the one before it. With ``roll_back_wave`` a wave that passed its gate stays, unless a device of it
    fell ill since: the next run of a rollout that halted comes to the gates of all waves, and is to take back no more.
    """
    on_halt = state.plan.conditions["on_halt"]
    if decision.decision != HALT or on_halt == conditions.STOP:
        return []
    first = max(wave - before, 0) if on_halt == conditions.WAVE else 0
    proven = state.proven if on_halt == conditions.WAVE else frozenset()
    devices = []
    for entry in state.plan.waves[first:]:
        here = [name for name in entry["hosts"] if name in state.brought and _runs_it(state, name)]
        if not proven >= set(here) or (entry["index"] == wave and not before):
            devices += here
    return devices


def wanted_back(state: State) -> list[str]:
    """The devices that the last gate of the newest run wants back and that did not go back yet."""
    return [name for name in state.gates.wanted_back if _runs_it(state, name)]


def record_rollbacks(directory: pathlib.Path, book: Journal) -> list[str]:
    """Record in the rollout ``book`` which devices went back, as the journal of its rollback says; their names.

    Can be called at any time and any number of times.
    """
    state = book.state()
    release, done = state.plan.release, []
    for path in sorted(directory.glob(f"{release['name']}-{release['version']}{BACK}-*/{journal.NAME}")):
        back = Journal(path).state()
        if back.plan.back_from != state.rollout:
            continue
        for name, standing in back.standings.items():
            later = (
                standing.outcome in outcomes.AS_PLANNED
                and _runs_it(state, name)
                and back.heard[name] > state.heard[name]
            )
            if later:
                data = {"before": standing.data.get("before"), "after": standing.data.get("after")}
                message = f"taken back by {back.rollout}"
                book.outcome(name, "rolled_back", code="REQUESTED", message=message, **data)
                done.append(name)
    return done


def _runs_it(state: State, device: str) -> bool:
    return device in state.standings and state.standings[device].outcome in outcomes.AS_PLANNED
