# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""A wave that several controllers work on at once, each on the devices of its own inventory, by one journal.

One run of the rollout *opens* the wave: its gate said go, and it ended there. Others *join*: AWX's job slices, or any
machine that has the journal's disk. The next run of the rollout closes the wave; it takes over what a dead one left.
"""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

from ..base import files
from ..base.errors import JournalError, PlanError
from ..base.plan import Plan
from ..journal import runs
from ..journal.journal import Journal
from ..journal.state import Controller, State
from . import rollout as rollouts

#: What an opening run leaves beside the journal, for those who join.
BUNDLE = "bundle.json"


@dataclasses.dataclass(frozen=True)
class Joined:
    """A part of an open wave: ``hosts`` are those to be looked at, in the plan's order; ``slice`` names the part."""

    rollout: str
    generation: int
    path: pathlib.Path
    slice: str
    hosts: list[str]
    bundle: pathlib.Path


def look(directory: pathlib.Path, rollout: str, wave: str, hosts: t.Collection[str], name: str) -> Joined:
    """What :func:`join` would return, without writing anything.

    Raises :class:`JournalError` and :class:`PlanError` as :func:`join` does, but ``BUSY``.
    """
    return _look(directory, rollout, wave, hosts, name)[0]


def join(
    directory: pathlib.Path,
    rollout: str,
    wave: str,
    hosts: t.Collection[str],
    controller: Controller,
    *,
    take_over: bool = False,
) -> Joined:
    """Take those of ``hosts`` that are in ``wave``, and record that (``slice.started``).

    Raises :class:`JournalError` if the wave is not open, or (``BUSY``) if a run or somebody who joined is at work on it
    or on one of these devices, unless ``take_over`` says that it is gone; :class:`PlanError` for a wave that is not in
    the plan or goes in several turns.
    """
    name = f"{controller.get('user', 'an unknown user')}@{controller['host']}:{controller['pid']}"
    with files.lock(directory / ".lock"):
        joined, state = _look(directory, rollout, wave, hosts, name)
        if not take_over:
            runs.require_alone(state, controller, rollouts.longest_soak(state.plan), joined.hosts)
        data = {"worker": name, "generation": joined.generation, "devices": joined.hosts, "again": False}
        Journal(joined.path).append("slice.started", data={**data, "controller": dict(controller)})
    return joined


def leave(book: Journal, name: str) -> list[str]:
    """Record that the part ``name`` is done (``slice.ended``); the devices that no outcome came of."""
    state = State.of(book.read())
    devices = state.parts[name].devices if name in state.parts else []
    standings = state.standings
    left = [device for device in devices if device not in standings or standings[device].outcome == "pending"]
    reason = {"reason": "the gate stopped the wave, or the devices were not reached"} if left else {}
    book.append("slice.ended", data={"worker": name, "devices": devices, "open": left, **reason})
    return left


def _look(
    directory: pathlib.Path, rollout: str, wave: str, hosts: t.Collection[str], name: str
) -> tuple[Joined, State]:
    path = rollouts.path_of_id(directory, rollout)
    if not path.exists():
        raise JournalError(f"the rollout {rollout} has no journal in {directory}; open the wave first ({_how(wave)})")
    state = Journal(path).state()
    entry = state.plan.wave(wave)
    if entry is None:
        names = ", ".join(entry["name"] for entry in state.plan.waves)
        raise PlanError(f"the plan {rollout} has no wave {wave!r}; it has {names}")
    if state.gates.opened != entry["index"]:
        raise JournalError(f"wave {wave} of {rollout} is not open; open it first ({_how(wave)})")
    if len(Plan.turns(entry)) > 1:
        raise PlanError(
            f"wave {wave} of {rollout} goes in {len(Plan.turns(entry))} turns, one after the other, which those who "
            "join cannot keep; run it by fleet.ota.rollout alone, with fleet_ota_workers if it is large"
        )
    todo = [one for one in entry["hosts"] if one in hosts and not state.as_planned([one])]
    return Joined(rollout, state.generation, path, name, todo, path.with_name(BUNDLE)), state


def _how(wave: str) -> str:
    return f"fleet.ota.rollout -e fleet_ota_open_wave={wave}"
