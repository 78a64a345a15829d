# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of a wave is behind it, who approved it, who goes back, and the breaker: all from records on disk."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import JournalError, PlanError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.plan import Wave
from ansible_collections.fleet.ota.plugins.plugin_utils._control.gate import decision as gate
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.journal import Journal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.state import State
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan
from ansible_collections.fleet.ota.plugins.plugin_utils._control.rollout import breaker, on_halt, rollback, rollout
from ansible_collections.fleet.ota.plugins.plugin_utils._control.rollout import wave as waves

HOSTS = ["d1", "d2", "d3"]


def make(version: str = "2.0", *, wave: t.Mapping[str, t.Any] | None = None, **conditions: t.Any) -> plan.Plan:
    """Waves canary (d1), middle (d2) and rest (d3); ``wave`` are further keys of the middle one."""
    release = {"name": "gateway", "version": version, "counter": 2, "digest": "1a2b3c4d" * 8, "channel": "stable"}
    waves = [{"name": name, "count": 1} for name in ("canary", "middle", "rest")]
    made = plan.make(hosts=HOSTS, groups={"all": HOSTS}, release=release, waves=waves, conditions=conditions)
    made.waves[1].update(t.cast(Wave, wave or {}))
    made.document["digest"] = plan.digest(made.document)
    return made


def begin(folder: pathlib.Path, made: plan.Plan) -> Journal:
    return Journal(rollout.start(folder, made, {}).path)


def ended(book: Journal, index: int, decision: str = gate.PROMOTE, **more: t.Any) -> None:
    book.append("wave.ended", data={"wave": index, "name": "x", "decision": decision, "reason": "", **more})


# -- what is behind a wave ----------------------------------------------------------------------------------------


def test_a_wave_is_settled_until_one_of_its_devices_is_updated_anew(tmp_path: pathlib.Path) -> None:
    made = make(soak=60)
    book, wave = begin(tmp_path, made), made.document["waves"][0]

    def settled() -> tuple[bool, float]:
        return waves.settled(book.state(), wave), waves.soak(book.state(), wave)

    book.outcome("d1", "updated", transaction="a")
    assert settled() == (False, 60)
    ended(book, 0, gate.HOLD)
    assert settled() == (False, 60)
    ended(book, 0)
    assert settled() == (True, 0)
    begin(tmp_path, made)
    book.outcome("d1", "updated", transaction="a")  # the next run hears of it once more
    book.outcome("d2", "updated", transaction="x")  # of another wave
    assert settled() == (True, 0)
    book.seen("d1", healthy=False)
    assert settled() == (True, 60)
    book.outcome("d1", "updated", transaction="b")
    assert settled() == (False, 60)


def test_another_plan_settles_nothing(tmp_path: pathlib.Path) -> None:
    made = make()
    book = begin(tmp_path, made)
    book.outcome("d1", "updated", transaction="a")
    ended(book, 0)
    begin(tmp_path, make(soak=5))
    assert not waves.settled(book.state(), made.document["waves"][0])


def test_a_waves_own_soak_goes_before_that_of_the_plan(tmp_path: pathlib.Path) -> None:
    made = make(wave={"soak": 7}, soak=60)
    state = begin(tmp_path, made).state()
    assert [waves.soak(state, wave) for wave in made.document["waves"]] == [60, 7, 60]


# -- approval of waves ---------------------------------------------------------------------------------------------


def test_a_wave_waits_for_an_approval_of_this_very_plan(tmp_path: pathlib.Path) -> None:
    made = make(wave={"approval": True})
    book = begin(tmp_path, made)

    def waiting(changed: plan.Plan | None = None) -> list[str]:
        of = changed or made
        return [wave["name"] for wave in of.document["waves"] if waves.unapproved(book.state(), of, wave)]

    assert waiting() == ["middle"]
    assert waves.approve(book, made, "middle", how="awx", by="anna")
    assert waiting() == []
    assert not waves.approve(book, made, "middle", how="terminal", by="ben")  # said already
    other = make(wave={"approval": True}, soak=5)
    assert waiting(other) == ["middle"]
    book.outcome("d2", "updated")
    assert waiting(other) == []  # nothing is left that an approval could let begin
    (record,) = [one for one in book.read() if one["event"] == "wave.approved"]
    assert record["data"] == {"wave": 1, "name": "middle", "plan": made.document["digest"], "how": "awx", "by": "anna"}


# -- the way back --------------------------------------------------------------------------------------------------

HALT = gate.Decision(gate.HALT, "", {}, [])


@pytest.mark.parametrize(
    ("setting", "wave", "before", "wanted"),
    [
        ("stop", 1, False, []),
        ("roll_back_all", 1, False, ["d1", "d2"]),
        ("roll_back_wave", 1, False, ["d2"]),
        ("roll_back_wave", 0, False, ["d1", "d2"]),  # an earlier run touched the later wave
        ("roll_back_wave", 2, True, ["d2"]),
        ("roll_back_wave", 2, False, []),
        ("roll_back_wave", 0, True, ["d1", "d2"]),
    ],
)
def test_who_goes_back(tmp_path: pathlib.Path, setting: str, wave: int, before: bool, wanted: list[str]) -> None:
    made = make(on_halt=setting)
    book = begin(tmp_path, made)
    book.outcome("d1", "updated")
    book.outcome("d2", "updated")
    book.outcome("d3", "current")  # had the release before: nothing of this rollout's
    assert on_halt.due(book.state(), HALT, wave=wave, before=before) == wanted
    hold = gate.Decision(gate.HOLD, "", {}, [])
    assert on_halt.due(book.state(), hold, wave=wave, before=before) == []


def test_a_wave_that_passed_stays_when_a_later_one_goes_back(tmp_path: pathlib.Path) -> None:
    made = make(on_halt="roll_back_wave")
    book = begin(tmp_path, made)

    def due(wave: int, *, before: bool, of: plan.Plan | None = None) -> list[str]:
        return on_halt.due(book.state(), HALT, wave=wave, before=before)

    book.outcome("d1", "updated")
    ended(book, 0)
    book.outcome("d2", "updated")
    assert due(1, before=False) == ["d2"]
    book.outcome("d2", "restored")
    ended(book, 1, gate.HALT)
    for again in (made, make(on_halt="roll_back_wave", soak=5)):  # the next run, also with another plan
        begin(tmp_path, again)
        assert due(0, before=True, of=again) == []
    assert due(0, before=False) == ["d1"]  # its own gate
    book.seen("d1", healthy=False)
    assert due(0, before=True) == ["d1"]  # it passed, and fell ill since
    book.outcome("d1", "updated", transaction="b")
    ended(book, 0)
    assert due(0, before=True) == []
    book.outcome("d1", "lost")
    book.outcome("d1", "updated", transaction="b")  # heard of once more
    assert due(0, before=True) == []
    book.outcome("d1", "updated", transaction="c")
    assert due(0, before=True) == ["d1"]


def test_one_that_passed_ill_within_the_limits_did_not_get_worse(tmp_path: pathlib.Path) -> None:
    made = make(on_halt="roll_back_wave")
    book = begin(tmp_path, made)
    book.outcome("d1", "updated")
    book.seen("d1", healthy=False)
    ended(book, 0)
    begin(tmp_path, made)
    book.seen("d1", healthy=False)
    assert on_halt.due(book.state(), HALT, wave=1, before=True) == []


def test_who_went_back_is_settled_once_and_stops_the_rollout_until_a_reset(tmp_path: pathlib.Path) -> None:
    made = make(on_halt="roll_back_all")
    book = begin(tmp_path, made)
    for name in ("d1", "d2"):
        book.outcome(name, "updated")
    ended(book, 1, gate.HALT, roll_back=["d1", "d2"])
    assert on_halt.wanted_back(book.state()) == ["d1", "d2"]
    back = rollback.make(
        directory=tmp_path, rollout=made.document["rollout"], hosts=["d1", "d2"], groups={"all": HOSTS}, wave=None
    )
    way = begin(tmp_path, back)
    way.outcome("d1", "updated")
    way.outcome("d2", "restored")  # did not manage: it still runs the release
    assert on_halt.record_rollbacks(tmp_path, book) == ["d1"]
    assert on_halt.record_rollbacks(tmp_path, book) == []
    assert on_halt.wanted_back(book.state()) == ["d2"]
    known = State.of(book.read()).standings
    assert known["d1"].outcome == "rolled_back"
    decision = gate.decide(
        plan.Plan.of({**made.document, "limits": {**made.limits, "max_failures": None}}), known, wave=0, before=True
    )
    assert decision.decision == gate.HALT
    assert "d1: taken back" in decision.reason
    book.append("rollout.reset", data={"by": "anna", "reason": "a cable"})
    assert "d1" not in State.of(book.read()).standings


def test_a_new_run_wants_nobody_back_until_its_gate_says_so(tmp_path: pathlib.Path) -> None:
    made = make(on_halt="roll_back_all")
    book = begin(tmp_path, made)
    book.outcome("d1", "updated")
    ended(book, 0, gate.HALT, roll_back=["d1"])
    begin(tmp_path, made)
    assert on_halt.wanted_back(book.state()) == []
    ended(book, 0, gate.HALT, roll_back=["d1"])
    assert on_halt.wanted_back(book.state()) == ["d1"]


def test_the_way_back_of_another_rollout_of_the_same_version_settles_nothing(tmp_path: pathlib.Path) -> None:
    first = make()
    other = plan.make(hosts=HOSTS, groups={"all": HOSTS}, release={**first.document["release"], "digest": "5" * 64})
    books = [begin(tmp_path, made) for made in (first, other)]
    for book in books:
        book.outcome("d1", "updated")
    back = rollback.make(
        directory=tmp_path, rollout=first.document["rollout"], hosts=["d1"], groups={"all": HOSTS}, wave=None
    )
    begin(tmp_path, back).outcome("d1", "updated")
    assert on_halt.record_rollbacks(tmp_path, books[1]) == []
    assert on_halt.record_rollbacks(tmp_path, books[0]) == ["d1"]


# -- the breaker ---------------------------------------------------------------------------------------------------


def test_the_breaker_counts_halted_rollouts_since_one_was_completed_or_it_was_reset(tmp_path: pathlib.Path) -> None:
    def end(version: str, result: str, halt: bool = False) -> str:
        made = make(version)
        book = begin(tmp_path, made)
        if halt:
            ended(book, 0, gate.HALT)
        if result:
            book.append("rollout.ended", data={"result": result})
        return str(made.document["rollout"])

    strict = make("9.0", breaker={"halts": 2})
    first = end("1.0", rollout.HALTED)
    end("1.0", rollout.HALTED)  # run again: the same one
    end("1.1", rollout.HELD)
    assert breaker.halted(tmp_path, "stable") == [first]
    breaker.require_closed(tmp_path, strict)
    second = end("1.2", "", halt=True)  # died before it could conclude
    assert breaker.halted(tmp_path, "stable") == [first, second]
    assert breaker.halted(tmp_path, "pilot") == []
    with pytest.raises(PlanError, match="2 rollouts of channel stable were halted in a row") as error:
        breaker.require_closed(tmp_path, strict)
    assert error.value.code == "BREAKER"
    breaker.require_closed(tmp_path, make("9.0"))  # a plan without one
    breaker.require_closed(tmp_path, plan.Plan.of({**strict.document, "back_from": first}))  # the way back

    with pytest.raises(PlanError, match="needs a reason"):
        breaker.reset(tmp_path, "stable", "anna", " ")
    entry = breaker.reset(tmp_path, "stable", "anna", "a bad cable")
    assert (entry["by"], entry["rollouts"]) == ("anna", [first, second])
    assert breaker.resets(tmp_path) == [entry]
    breaker.require_closed(tmp_path, strict)
    third = end("1.3", rollout.HALTED)
    assert breaker.halted(tmp_path, "stable") == [third]
    end("1.4", rollout.COMPLETE)
    assert breaker.halted(tmp_path, "stable") == []


def test_a_reset_needs_no_rollout_before_it_and_a_ruined_record_of_resets_is_told(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "new"
    breaker.reset(folder, "stable", "anna", "a cable")
    assert breaker.halted(folder, "stable") == []
    with (folder / breaker.NAME).open("a") as handle:
        handle.write("no JSON\n")
    with pytest.raises(JournalError, match=r"resets\.jsonl holds a line that is not JSON"):
        breaker.require_closed(folder, make(breaker={"halts": 1}))
