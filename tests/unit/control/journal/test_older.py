# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A journal that commit f1b2194 wrote says today what it said then; ``f1b2194.json`` is what that commit read in it."""

from __future__ import annotations

import datetime
import gzip
import json
import pathlib
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.plan import digest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.gate import decision as gate
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal import journal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.journal import Journal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.reports import estimates
from ansible_collections.fleet.ota.plugins.plugin_utils._control.reports.progress import Progress
from ansible_collections.fleet.ota.plugins.plugin_utils._control.rollout import back_off, on_halt, rollout
from ansible_collections.fleet.ota.plugins.plugin_utils._control.rollout import wave as waves

HERE = pathlib.Path(__file__).parent
THEN: dict[str, t.Any] = json.loads((HERE / "f1b2194.json").read_text())


@pytest.fixture
def book(tmp_path: pathlib.Path) -> Journal:
    path = tmp_path / THEN["checkpoint"]["rollout"] / journal.NAME
    path.parent.mkdir()
    path.write_bytes(gzip.decompress((HERE / "f1b2194.jsonl.gz").read_bytes()))
    return Journal(path)


def test_it_says_what_it_said(book: Journal) -> None:
    state = book.state()
    standings = {name: [one.outcome, one.code, one.healthy] for name, one in state.standings.items()}
    assert standings == THEN["standings"]
    assert (state.generation, state.plan.digest) == (THEN["generation"], THEN["digest"])
    assert digest(state.plan.document) == THEN["digest"]
    end = rollout.result_of(state)
    assert [end.result, end.reason, end.counts, end.not_as_planned, end.ended, end.opened] == THEN["end"]
    assert {name: data["by"] for name, data in waves.approved(state, state.plan).items()} == THEN["approved"]
    assert on_halt.wanted_back(state) == THEN["wanted"]
    halt = gate.Decision(gate.HALT, "", {}, [])
    assert on_halt.due(state, halt, wave=2, before=False) == THEN["due"]
    assert state.checkpoint() == THEN["checkpoint"]
    assert estimates.history(book.path.parents[1], "gateway") == THEN["seconds"]
    moment = datetime.datetime.fromisoformat(state.time)
    assert sorted(back_off.waiting(state, state.plan.order(), None, moment)) == THEN["failing"]
    progress = Progress()
    assert [line for record in book.read() for line in progress.feed(record)] == THEN["lines"]


def test_what_one_device_asks_is_what_it_was(book: Journal) -> None:
    order = book.state().plan.order()
    assert [name for name in order if book.unresolved(name)] == THEN["unresolved"]
    assert {name: book.sight(name) for name in order} == THEN["sight"]
    assert book.checkpoint() == THEN["checkpoint"]
    assert book.holds(book.checkpoint())


def test_one_rule_is_another_since_a_proven_device_does_not_soak_again(book: Journal) -> None:
    """d1 was lost meanwhile and heard of once more, and the reset was of devices of the last wave alone."""
    assert THEN["settled"] == [False, False, False]
    state = book.state()
    assert [waves.settled(state, wave) for wave in state.plan.waves] == [True, True, False]
    assert state.proven >= {"d1", "d2", "d3"}


def test_a_run_of_today_goes_on_with_it(book: Journal) -> None:
    plan = book.state().plan
    started = rollout.start(book.path.parents[1], plan, {"host": "elsewhere"}, take_over=True)
    assert (started.generation, started.resumed, started.done) == (3, True, ["d1", "d2", "d3"])
    book.pending("d5", 3)
    assert book.unresolved("d5")
    assert book.verify()[-1]["device"] == "d5"
