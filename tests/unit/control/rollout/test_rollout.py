# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A rollout that starts, is resumed and concludes."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import JournalError, PlanError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.gate import decision as gate
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.journal import Journal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.state import Controller, State
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan
from ansible_collections.fleet.ota.plugins.plugin_utils._control.rollout import rollout as rollouts

HOSTS = ["d1", "d2", "d3", "d4"]
WHO: Controller = {"host": "controller"}


def make(version: str = "2.0", **changes: t.Any) -> plan.Plan:
    release = {"name": "gateway", "version": version, "counter": 2, "digest": "1a2b3c4d" * 8, "channel": "stable"}
    waves = [{"count": 1}, {"percent": 100}]
    return plan.make(**{"hosts": HOSTS, "groups": {"all": HOSTS}, "release": release, "waves": waves, **changes})


def wave(book: Journal, made: plan.Plan, index: int, **outcomes: str) -> gate.Decision:
    """One wave as the playbook runs it: gate in, devices, gate out."""
    if not _gate(book, made, index, before=True).stop:
        for device, outcome in outcomes.items():
            book.outcome(device, outcome)
    return _gate(book, made, index)


def _gate(book: Journal, made: plan.Plan, index: int, *, before: bool = False) -> gate.Decision:
    decision = gate.decide(made, State.of(book.read()).standings, wave=index, before=before)
    data = {"wave": index, "decision": decision.decision}
    book.append("wave.started" if before else "wave.ended", data=data)
    return decision


def test_a_start_writes_plan_and_limits(tmp_path: pathlib.Path) -> None:
    made = make()
    started = rollouts.start(tmp_path, made, WHO)
    assert (started.rollout, started.generation, started.resumed) == (made.document["rollout"], 1, False)
    (record,) = Journal(started.path).verify()
    assert record["data"]["plan"] == made.document
    assert record["data"]["controller"] == WHO
    assert rollouts.stored_plan(tmp_path, made.document["rollout"]) == made


def test_looking_writes_nothing(tmp_path: pathlib.Path) -> None:
    assert rollouts.look(tmp_path, make()).generation == 1
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_resumes_with_the_next_generation(tmp_path: pathlib.Path) -> None:
    made = make()
    book = Journal(rollouts.start(tmp_path, made, WHO).path)
    book.outcome("d1", "updated")
    for device in ("d2", "d3", "d4"):
        book.pending(device, 1)
    book.outcome("d3", "lost")
    book.outcome("d4", "deferred")
    again = rollouts.start(tmp_path, made, WHO)
    assert (again.generation, again.resumed) == (2, True)
    assert again.done == ["d1"]
    assert again.unresolved == ["d2", "d3"]
    assert "plan" not in book.verify()[-1]["data"]
    assert rollouts.start(tmp_path, made, WHO).generation == 3


def test_a_plan_without_waves_soaks_never(tmp_path: pathlib.Path) -> None:
    made = make(waves=[{"hosts": ["d1"]}], unfit={"d1": "is not enrolled"})
    assert made.document["waves"] == []
    assert rollouts.longest_soak(made) == 0
    assert [rollouts.start(tmp_path, made, WHO).generation for _run in range(2)] == [1, 2]


def test_resuming_with_another_plan_records_it(tmp_path: pathlib.Path) -> None:
    rollouts.start(tmp_path, make(), WHO)
    other = make(limits={"max_failures": 3})
    started = rollouts.start(tmp_path, other, WHO)
    assert Journal(started.path).state().plan == other


def test_a_tampered_journal_is_not_resumed(tmp_path: pathlib.Path) -> None:
    path = rollouts.start(tmp_path, make(), WHO).path
    Journal(path).outcome("d1", "broken")
    path.write_text(path.read_text().replace("broken", "updated"))
    with pytest.raises(JournalError, match="line 2 was changed"):
        rollouts.start(tmp_path, make(), WHO)


@pytest.mark.parametrize("change", [{"rollout": "../../x"}, {"targets": 99}, {"format": 1}, {"waves": []}])
def test_a_tampered_plan_is_refused(tmp_path: pathlib.Path, change: dict[str, t.Any]) -> None:
    with pytest.raises(PlanError):
        rollouts.start(tmp_path, plan.Plan.of({**make().document, **change}), WHO)


@pytest.mark.parametrize("rollout", ["../../x", "../../x-1a2b3c4d", "other-1.0-1a2b3c4d"])
def test_a_plan_cannot_choose_its_folder(tmp_path: pathlib.Path, rollout: str) -> None:
    bad: dict[str, t.Any] = {**make().document, "rollout": rollout}
    bad["digest"] = plan.digest(bad)
    with pytest.raises(PlanError, match="rollout id"):
        rollouts.start(tmp_path, plan.Plan.of(bad), WHO)


def test_a_new_rollout_chains_to_the_one_before(tmp_path: pathlib.Path) -> None:
    first = Journal(rollouts.start(tmp_path, make(), WHO).path)
    first.outcome("d1", "updated")
    second = Journal(rollouts.start(tmp_path, make("3.0"), WHO).path)
    (record,) = second.verify()
    assert record["prev"] == first.checkpoint()["head"]
    assert first.holds(record["data"]["previous"])


def test_a_rollout_without_trouble_is_complete(tmp_path: pathlib.Path) -> None:
    made = make()
    book = Journal(rollouts.start(tmp_path, made, WHO).path)
    wave(book, made, 0, d1="updated")
    wave(book, made, 1, d2="updated", d3="current", d4="updated")
    end = rollouts.result_of(book.state())
    assert (end.result, end.not_as_planned) == (rollouts.COMPLETE, [])
    assert end.counts == {"current": 1, "updated": 3, "success": 3, "failure": 0, "executed": 3, "untouched": 0}
    assert [row["wave"] for row in end.devices] == ["wave-1", "wave-2", "wave-2", "wave-2"]


def test_a_failed_canary_halts_and_leaves_the_rest_untouched(tmp_path: pathlib.Path) -> None:
    made = make()
    book = Journal(rollouts.start(tmp_path, made, WHO).path)
    assert wave(book, made, 0, d1="restored").stop
    end = rollouts.result_of(book.state())
    assert (end.result, end.counts["untouched"]) == (rollouts.HALTED, 3)
    assert end.not_as_planned == HOSTS
    assert "d1 restored" in end.reason


def test_a_deferred_wave_is_held(tmp_path: pathlib.Path) -> None:
    made = make()
    book = Journal(rollouts.start(tmp_path, made, WHO).path)
    wave(book, made, 0, d1="deferred")
    assert rollouts.result_of(book.state()).result == rollouts.HELD


def test_failures_within_the_limits_are_complete_but_not_as_planned(tmp_path: pathlib.Path) -> None:
    made = make(limits={"max_failures": 1})
    book = Journal(rollouts.start(tmp_path, made, WHO).path)
    wave(book, made, 0, d1="updated")
    wave(book, made, 1, d2="updated", d3="restored", d4="updated")
    end = rollouts.result_of(book.state())
    assert (end.result, end.not_as_planned) == (rollouts.COMPLETE, ["d3"])


def test_a_wave_that_died_without_its_gate_is_judged_at_the_end(tmp_path: pathlib.Path) -> None:
    made = make()
    book = Journal(rollouts.start(tmp_path, made, WHO).path)
    wave(book, made, 0, d1="updated")
    _gate(book, made, 1, before=True)
    book.pending("d2", 1)
    end = rollouts.result_of(book.state())
    assert end.result == rollouts.HALTED
    assert end.counts["lost"] == 3


def test_a_run_that_ended_between_waves_is_held(tmp_path: pathlib.Path) -> None:
    made = make()
    book = Journal(rollouts.start(tmp_path, made, WHO).path)
    wave(book, made, 0, d1="updated")
    end = rollouts.result_of(book.state())
    assert end.result == rollouts.HELD
    assert "before wave wave-2" in end.reason


def test_a_run_with_nothing_to_do_ended_where_an_earlier_one_did(tmp_path: pathlib.Path) -> None:
    made = make()
    book = Journal(rollouts.start(tmp_path, made, WHO).path)
    wave(book, made, 0, d1="updated")
    assert rollouts.result_of(book.state()).ended == 0
    rollouts.start(tmp_path, made, WHO)  # idle waves leave no record
    assert rollouts.result_of(book.state()).ended == 0
    wave(book, made, 0, d1="restored")
    assert rollouts.result_of(book.state()).ended == -1


def test_a_last_wave_that_was_refused_is_not_complete_because_a_later_run_ended_before_it(
    tmp_path: pathlib.Path,
) -> None:
    made = make()
    book = Journal(rollouts.start(tmp_path, made, WHO).path)
    wave(book, made, 0, d1="updated")
    wave(book, made, 1, d2="updated", d3="updated", d4="updated")
    book.append("wave.ended", data={"wave": 1, "decision": gate.HALT, "reason": "analysis errors: it failed"})
    assert rollouts.result_of(book.state()).result == rollouts.HALTED
    rollouts.start(tmp_path, made, WHO)  # with fleet_ota_until_wave, and nothing to do in the first wave
    end = rollouts.result_of(book.state())
    assert (end.result, end.reason) == (
        rollouts.HELD,
        "ended before wave wave-2 passed its gate; run the rollout again",
    )
    wave(book, made, 1)
    assert rollouts.result_of(book.state()).result == rollouts.COMPLETE


def test_a_new_plan_is_not_judged_by_the_waves_of_the_one_before(tmp_path: pathlib.Path) -> None:
    first = make(hosts=HOSTS[:3])
    book = Journal(rollouts.start(tmp_path, first, WHO).path)
    wave(book, first, 0, d1="updated")
    wave(book, first, 1, d2="updated", d3="updated")
    rollouts.start(tmp_path, make(), WHO)  # d4 came
    assert rollouts.result_of(book.state()).ended == -1
    wave(book, make(), 0)
    end = rollouts.result_of(book.state())
    assert (end.result, end.counts["failure"], end.ended) == (rollouts.HELD, 0, 0)  # nobody came to d4 yet


def test_a_run_that_never_began_a_wave_is_held(tmp_path: pathlib.Path) -> None:
    book = Journal(rollouts.start(tmp_path, make(), WHO).path)
    assert rollouts.result_of(book.state()).result == rollouts.HELD


def test_a_resumed_run_is_not_judged_by_the_verdict_of_the_run_before(tmp_path: pathlib.Path) -> None:
    made = make()
    book = Journal(rollouts.start(tmp_path, made, WHO).path)
    wave(book, made, 0, d1="deferred")
    rollouts.start(tmp_path, made, WHO)
    wave(book, made, 0, d1="updated")
    wave(book, made, 1, d2="updated", d3="updated", d4="updated")
    assert rollouts.result_of(book.state()).result == rollouts.COMPLETE


def test_a_resumed_run_that_got_nowhere_is_judged_by_the_records(tmp_path: pathlib.Path) -> None:
    made = make()
    book = Journal(rollouts.start(tmp_path, made, WHO).path)
    assert wave(book, made, 0, d1="restored").decision == gate.HALT
    rollouts.start(tmp_path, make(limits={"max_failures": 5}), WHO)
    assert rollouts.result_of(book.state()).result == rollouts.HELD


def test_an_unhealthy_device_is_not_as_planned(tmp_path: pathlib.Path) -> None:
    made = make(limits={"max_failures": 4})
    book = Journal(rollouts.start(tmp_path, made, WHO).path)
    wave(book, made, 0, d1="updated")
    wave(book, made, 1, d2="updated", d3="updated", d4="updated")
    book.seen("d4", healthy=False)
    assert rollouts.result_of(book.state()).not_as_planned == ["d4"]
