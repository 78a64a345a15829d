# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What records add up to: one pass, and the one rule of when a device is proven and a wave settled."""

from __future__ import annotations

import collections
import pathlib
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.gate import decision as gate
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal import journal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.changes import Began, Decided, Heard, Touched
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.journal import Journal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.record import Record
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.state import State
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan
from ansible_collections.fleet.ota.plugins.plugin_utils._control.rollout import on_halt, rollout
from ansible_collections.fleet.ota.plugins.plugin_utils._control.rollout import wave as waves

HOSTS = ["d1", "d2", "d3"]
HALT = gate.Decision(gate.HALT, "", {}, [])


def make(**conditions: t.Any) -> plan.Plan:
    release = {"name": "gateway", "version": "2.0", "counter": 2, "digest": "1a2b3c4d" * 8, "channel": "stable"}
    names = [{"name": name, "count": 1} for name in ("canary", "middle", "rest")]
    conditions = {"on_halt": "roll_back_wave", "soak": 60, **conditions}
    return plan.make(hosts=HOSTS, groups={"all": HOSTS}, release=release, waves=names, conditions=conditions)


@pytest.fixture
def book(tmp_path: pathlib.Path) -> Journal:
    """A rollout whose first wave was promoted."""
    book = Journal(rollout.start(tmp_path, make(), {}).path)
    book.outcome("d1", "updated", transaction="a")
    ended(book, 0)
    return book


def ended(book: Journal, index: int, decision: str = gate.PROMOTE) -> None:
    book.append("wave.ended", data={"wave": index, "name": "x", "decision": decision, "reason": ""})


def proven(book: Journal) -> tuple[bool, bool]:
    """Whether the first wave is settled, and whether a halt of the second one leaves d1 alone."""
    state = book.state()
    return waves.settled(state, state.plan.waves[0]), "d1" not in on_halt.due(state, HALT, wave=0, before=True)


Step = t.Callable[[Journal], object]


@pytest.mark.parametrize(
    "steps",
    [
        [lambda book: book.outcome("d1", "lost"), lambda book: book.outcome("d1", "updated", transaction="a")],
        [lambda book: book.outcome("d1", "timed_out"), lambda book: book.outcome("d1", "updated", transaction="a")],
        [lambda book: book.pending("d1", 2), lambda book: book.outcome("d1", "updated", transaction="a")],
        [lambda book: book.outcome("d1", "deferred"), lambda book: book.outcome("d1", "current")],
        [lambda book: book.seen("d1", healthy=True)],
        [lambda book: book.outcome("d2", "updated", transaction="z")],
    ],
)
def test_a_device_that_was_proven_stays_so_when_it_is_heard_of_once_more(book: Journal, steps: list[Step]) -> None:
    for step in steps:
        step(book)
    assert proven(book) == (True, True)


@pytest.mark.parametrize(
    ("step", "wanted"),
    [
        (lambda book: book.outcome("d1", "updated", transaction="b"), (False, False)),
        (lambda book: book.outcome("d1", "updated"), (False, False)),  # nothing says that it is the same one
        (lambda book: book.seen("d1", healthy=False), (True, False)),  # settled, and to be soaked (waves.idle)
    ],
)
def test_its_own_later_record_says_otherwise(book: Journal, step: Step, wanted: tuple[bool, bool]) -> None:
    step(book)
    assert proven(book) == wanted


def test_a_reset_unsettles_the_waves_of_the_devices_that_it_lets_go_again(book: Journal) -> None:
    book.outcome("d2", "updated", transaction="c")
    ended(book, 1)
    book.outcome("d2", "rolled_back")
    book.append("rollout.reset", data={"by": "anna", "reason": "a cable", "devices": ["d2"]})
    state = book.state()
    assert [waves.settled(state, wave) for wave in state.plan.waves] == [True, False, False]
    assert "d2" not in state.standings


def test_what_one_record_changed_is_told(book: Journal) -> None:
    book.pending("d2", 1)
    book.outcome("d2", "lost", code="UNREACHABLE")
    book.seen("d2", healthy=False)
    state = State()
    assert [state.feed(record) for record in book.read()] == [
        Began(1, resumed=False, planned=True),
        Heard("d1", "updated", None, None),
        Decided("after", 0, "promote", ""),
        Touched("d2"),
        Heard("d2", "lost", "UNREACHABLE", None),
        None,
    ]


def test_a_conclusion_folds_each_record_once(book: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(300):
        book.outcome("d2", "updated", transaction=f"t{number}")
    size = len(book.read())
    calls: collections.Counter[str] = collections.Counter()
    feed, parse = State.feed, Journal._parse

    def counted_feed(self: State, record: Record) -> object:
        calls["fed"] += 1
        return feed(self, record)

    def counted_parse(self: Journal, line: bytes, number: int | None) -> Record:
        calls["parsed"] += 1
        return parse(self, line, number)

    monkeypatch.setattr(State, "feed", counted_feed)
    monkeypatch.setattr(Journal, "_parse", counted_parse)
    state = Journal(book.path).state()
    rollout.result_of(state)
    on_halt.due(state, HALT, wave=1, before=False)
    on_halt.wanted_back(state)
    for wave in state.plan.waves:
        waves.idle(state, wave)
        waves.soak(state, wave)
        waves.unapproved(state, state.plan, wave)
    state.checkpoint()
    assert calls == {"fed": size, "parsed": size}
    assert book.path.name == journal.NAME


def test_a_look_that_tells_nothing_changes_nothing_but_that(book: Journal) -> None:
    book.seen("d1", healthy=None, reason="LOGIN: Missing sudo password")
    standing = book.state().standings["d1"]
    assert (standing.healthy, standing.unseen) == (True, "LOGIN: Missing sudo password")
    assert proven(book) == (True, True)
    book.seen("d1", healthy=True)
    assert book.state().standings["d1"].unseen is None


def test_it_is_complete_since_it_was_for_the_first_time_without_a_break(book: Journal) -> None:
    def concluded(result: str) -> str | None:
        book.append("rollout.ended", data={"result": result, "reason": ""})
        return book.state().complete_since

    first = concluded("complete")
    assert first == book.last()["time"]
    assert concluded("complete") == first
    assert concluded("held") is None
    assert concluded("complete") is not None
    book.outcome("d1", "updated", transaction="another")
    assert book.state().complete_since is None


@pytest.mark.parametrize(
    ("code", "wanted"), [("NO_IDENTITY", "deferred"), ("EXPIRED", "deferred"), ("RELEASE", "refused")]
)
def test_a_refusal_whose_cause_is_not_the_release_is_asked_again_by_the_next_run(
    book: Journal, code: str, wanted: str
) -> None:
    book.outcome("d2", "refused", code=code, message="why")
    assert book.state().standings["d2"].outcome == "refused"
    book.append("rollout.resumed", data={"generation": 2, "controller": {}, "unresolved": []})
    state = book.state()
    assert (state.standings["d2"].outcome, state.standings["d2"].code) == (wanted, code)
    assert (state.failures("d2") is None) == (wanted == "deferred"), "nor does it wait for it"
