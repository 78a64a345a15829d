# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gate's truth table: every outcome, first and later waves, before and after, under every kind of limit."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import PlanError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.plan import Wave
from ansible_collections.fleet.ota.plugins.plugin_utils._control.gate import decision as gate
from ansible_collections.fleet.ota.plugins.plugin_utils._control.gate import limits, rules
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal import outcomes
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.outcomes import Standing
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan

RELEASE = {"name": "gateway", "version": "2.0", "counter": 2, "digest": "1a2b3c4d" * 8, "channel": "stable"}
HOSTS = [f"d{number}" for number in range(1, 21)]

#: what a wave's only device may come back with; "nothing" was never touched, "unhealthy" is updated but looked ill
STATES = [
    "current",
    "updated",
    "restored",
    "refused",
    "deferred",
    "rolled_back",
    "lost",
    "timed_out",
    "broken",
    "pending",
    "nothing",
    "unhealthy",
]
FAILS = {"restored", "refused", "lost", "timed_out", "broken", "pending", "nothing", "unhealthy"}


def make(limits: dict[str, t.Any] | None = None, sizes: tuple[int, ...] = (1, 4, 15)) -> plan.Plan:
    return plan.make(
        hosts=HOSTS, groups={"all": HOSTS}, release=RELEASE, waves=[{"count": size} for size in sizes], limits=limits
    )


def standing(device: str, state: str) -> dict[str, Standing]:
    if state == "nothing":
        return {}
    if state == "unhealthy":
        return {device: Standing(device, "updated", healthy=False)}
    return {device: Standing(device, state)}


def good(*devices: str) -> dict[str, Standing]:
    return {device: Standing(device, "updated") for device in devices}


def expected(state: str, allowed: int | None) -> str:
    if state in ("broken", "rolled_back"):
        return gate.HALT
    if state in FAILS and allowed is not None and allowed < 1:
        return gate.HALT
    return gate.PROMOTE


@pytest.mark.parametrize("allowed", [0, 1, None])
@pytest.mark.parametrize("state", STATES)
def test_after_the_first_wave(state: str, allowed: int | None) -> None:
    decision = gate.decide(make({"max_failures": allowed}), standing("d1", state), wave=0)
    wanted = expected(state, allowed)
    if wanted == gate.PROMOTE and state not in ("current", "updated"):
        wanted = gate.HOLD  # the canary is the whole wave: without it there is no evidence
    assert decision.decision == wanted
    assert decision.stop == (wanted != gate.PROMOTE)


@pytest.mark.parametrize("before", [True, False])
def test_a_device_ahead_of_the_journal_holds_every_gate_and_is_named(before: bool) -> None:
    known = good("d1", "d2", "d3", "d4") | {"d9": Standing("d9", "deferred", "AHEAD")}
    decision = gate.decide(make(), known, wave=0, before=before)
    assert decision.decision == gate.HOLD
    assert decision.reason.startswith("d9: witnessed more than this journal has")
    assert gate.decide(make(), known | standing("d2", "broken"), wave=0, before=before).decision == gate.HALT
    assert gate.decide(make(), known | {"d9": Standing("d9", "deferred", "BUSY")}, wave=0).decision == gate.PROMOTE


@pytest.mark.parametrize("allowed", [0, 1, None])
@pytest.mark.parametrize("state", STATES)
def test_after_a_later_wave(state: str, allowed: int | None) -> None:
    known = good("d1", "d2", "d3", "d4") | standing("d5", state)
    assert gate.decide(make({"max_failures": allowed}), known, wave=1).decision == expected(state, allowed)


@pytest.mark.parametrize("allowed", [0, 1, None])
@pytest.mark.parametrize("state", STATES)
def test_before_a_later_wave_reads_the_earlier_ones(state: str, allowed: int | None) -> None:
    known = good("d1", "d2", "d3", "d4") | standing("d5", state)
    assert gate.decide(make({"max_failures": allowed}), known, wave=2, before=True).decision == expected(state, allowed)


@pytest.mark.parametrize("allowed", [0, 1, None])
@pytest.mark.parametrize("state", STATES)
def test_before_the_first_wave_only_what_is_recorded_counts(state: str, allowed: int | None) -> None:
    """A run that begins again: who has no outcome yet is about to be touched, who failed counts at once."""
    decision = gate.decide(make({"max_failures": allowed}), standing("d1", state), wave=0, before=True)
    assert decision.decision == (gate.PROMOTE if state in ("pending", "nothing") else expected(state, allowed))


@pytest.mark.parametrize("state", sorted(outcomes.FAILURE))
def test_failures_add_up_over_waves(state: str) -> None:
    limits = {"max_failures": 1}
    first = {"d1": Standing("d1", "updated"), "d2": Standing("d2", "restored")} | good("d3", "d4", "d5")
    rest = good(*HOSTS[5:])
    assert gate.decide(make(limits), first | rest, wave=2).decision == gate.PROMOTE
    assert gate.decide(make(limits), first | rest | standing("d9", state), wave=2).decision == gate.HALT


def test_a_failure_in_a_later_wave_counts_before_it_is_reached_again() -> None:
    known = good("d1") | standing("d20", "restored")
    assert gate.decide(make(), known, wave=0).decision == gate.HALT


@pytest.mark.parametrize(
    ("failed", "executed", "percent", "least", "wanted"),
    [
        (1, 10, 10, 10, gate.PROMOTE),  # must be exceeded
        (2, 10, 10, 10, gate.HALT),
        (2, 9, 10, 10, gate.PROMOTE),  # too few executed to tell
        (2, 9, 10, 9, gate.HALT),
        (1, 20, 5, 10, gate.PROMOTE),
        (1, 19, 5, 10, gate.HALT),
        (3, 9, 33.3, 1, gate.HALT),
        (3, 9, 33.4, 1, gate.PROMOTE),
        (1, 1, 0, 1, gate.HALT),
        (20, 20, 100, 1, gate.HOLD),
    ],
)
def test_percent_is_of_executed_from_a_minimum_on(
    failed: int, executed: int, percent: float, least: int, wanted: str
) -> None:
    limits = {"max_failures": None, "max_failure_percent": percent, "min_executed": least}
    known = {
        name: Standing(name, "restored" if number < failed else "updated")
        for number, name in enumerate(HOSTS[:executed])
    }
    assert gate.decide(make(limits, (executed, 20)), known, wave=0).decision == wanted


@pytest.mark.parametrize("state", ["current", "deferred"])
def test_neither_success_nor_failure_is_executed(state: str) -> None:
    limits = {"max_failures": None, "max_failure_percent": 10, "min_executed": 2}
    known = {name: Standing(name, state) for name in HOSTS[:18]} | good("d19") | standing("d20", "restored")
    decision = gate.decide(make(limits, (20,)), known, wave=0)
    assert decision.decision == gate.HALT  # 1 of 2, not 1 of 20
    assert decision.counts["executed"] == 2


def test_a_wave_that_is_all_deferred_is_held() -> None:
    known = good("d1") | {name: Standing(name, "deferred") for name in HOSTS[1:5]}
    decision = gate.decide(make(), known, wave=1)
    assert decision.decision == gate.HOLD
    assert "no evidence" in decision.reason
    assert gate.decide(make(), known | good("d2"), wave=1).decision == gate.PROMOTE


def test_a_held_wave_also_holds_the_door_of_the_next() -> None:
    known = good("d1") | {name: Standing(name, "deferred") for name in HOSTS[1:5]}
    assert gate.decide(make(), known, wave=2, before=True).decision == gate.HOLD


def test_an_unhealthy_success_is_a_failure_and_no_success() -> None:
    decision = gate.decide(make({"max_failures": 5}), good("d1", "d2") | standing("d3", "unhealthy"), wave=0)
    assert (decision.counts["success"], decision.counts["failure"]) == (2, 1)
    assert [failed.device for failed in decision.failures] == ["d3"]


@pytest.mark.parametrize("outcome", ["deferred", "rolled_back"])
def test_one_that_was_not_updated_fails_by_nothing_that_is_seen_of_it(outcome: str) -> None:
    ill = {"d2": Standing("d2", outcome, healthy=False)}
    decision = gate.decide(make(), good("d1") | ill, wave=0)
    assert (decision.counts["failure"], decision.counts["executed"]) == (0, 1)


def test_the_reason_names_devices_and_numbers() -> None:
    decision = gate.decide(make(), standing("d1", "restored"), wave=0)
    assert decision.reason == "1 failed, 0 allowed: d1 restored"
    assert (
        "has to be repaired by hand" in gate.decide(make({"max_failures": 9}), standing("d1", "broken"), wave=0).reason
    )


def test_counts_are_of_planned_devices_only() -> None:
    decision = gate.decide(make(sizes=(1, 4)), good("d1", "stranger") | standing("d20", "broken"), wave=0)
    assert decision.decision == gate.PROMOTE
    assert decision.counts["updated"] == 1


# -- limits per kind of failure -----------------------------------------------------------------------------------

KINDS = ("lost", "refused", "restored", "timed_out", "unhealthy")


@pytest.mark.parametrize("limited", KINDS)
@pytest.mark.parametrize("state", KINDS)
def test_a_limit_of_one_kind_counts_that_kind_alone(state: str, limited: str) -> None:
    made = make({"max_failures": None, "kinds": {limited: {"max": 1}}})
    known = good(*HOSTS[:5]) | standing("d2", state)
    assert gate.decide(made, known, wave=1).decision == gate.PROMOTE
    known |= standing("d9", state)  # of a later wave: it counts all the same
    assert gate.decide(made, known, wave=1).decision == (gate.HALT if state == limited else gate.PROMOTE)


@pytest.mark.parametrize(
    ("failed", "executed", "bound", "wanted"),
    [
        (1, 20, {"max_percent": 5}, gate.PROMOTE),  # must be exceeded
        (2, 20, {"max_percent": 5}, gate.HALT),
        (9, 9, {"max_percent": 5}, gate.PROMOTE),  # too few executed for a percentage
        (2, 9, {"max": 1, "max_percent": 5}, gate.HALT),  # so that below it the number counts
        (2, 20, {"max": 1, "max_percent": 50}, gate.HALT),
        (1, 20, {"max": 0}, gate.HALT),
    ],
)
def test_percent_of_a_kind(failed: int, executed: int, bound: dict[str, t.Any], wanted: str) -> None:
    limits = {"max_failures": None, "min_executed": 10, "kinds": {"lost": bound}}
    known = {
        name: Standing(name, "lost" if number < failed else "updated") for number, name in enumerate(HOSTS[:executed])
    }
    decision = gate.decide(make(limits, (executed, 20)), known, wave=0, before=True)
    assert decision.decision == wanted
    assert wanted == gate.PROMOTE or "lost" in decision.reason


def test_the_total_stays_in_force_beside_the_kinds() -> None:
    made = make({"max_failures": 1, "kinds": {"lost": {"max": 5}}})
    assert gate.decide(made, good("d1", "d4", "d5") | standing("d2", "lost"), wave=0).decision == gate.PROMOTE
    known = good("d1", "d4", "d5") | standing("d2", "lost") | standing("d3", "restored")
    assert gate.decide(made, known, wave=1).decision == gate.HALT


@pytest.mark.parametrize(
    ("kinds", "part"),
    [
        ({"broken": {"max": 1}}, "broken"),
        ({"exploded": {"max": 1}}, "exploded"),
        ({"lost": {}}, "limits nothing"),
        ({"lost": {"max": None}}, "limits nothing"),
        ({"lost": {"max": -1}}, "lost.max"),
        ({"lost": {"max_percent": 101}}, "lost.max_percent"),
        ({"lost": {"max": 1, "most": 2}}, "most"),
        (["lost"], "kinds"),
        ({"broken": {"max": 1}}, "whatever the limits are"),
    ],
)
def test_wrong_kinds_are_told(kinds: t.Any, part: str) -> None:
    with pytest.raises(PlanError, match=part):
        make({"kinds": kinds})


def test_limits_in_range_are_kept_with_their_defaults_and_nothing_is_said_of_them() -> None:
    found: list[str] = []
    assert limits.validate({}, found) == {
        "max_failures": 0,
        "max_failure_percent": None,
        "min_executed": 10,
        "kinds": {},
    }
    given = {
        "max_failures": None,
        "max_failure_percent": 100,
        "min_executed": 1,
        "kinds": {"restored": {"max": 0}, "lost": {"max_percent": 0.5}},
    }
    kinds = {"lost": {"max": None, "max_percent": 0.5}, "restored": {"max": 0, "max_percent": None}}
    assert limits.validate(given, found) == {**given, "kinds": kinds}
    assert found == []


@pytest.mark.parametrize("value", [True, "1", -1, 1.5, []])
@pytest.mark.parametrize("key", ["max_failures", "min_executed", "kinds.lost.max"])
def test_a_number_of_devices_is_a_whole_number_and_neither_true_nor_a_text(key: str, value: t.Any) -> None:
    found: list[str] = []
    limits.validate({"kinds": {"lost": {"max": value}}} if "." in key else {key: value}, found)
    assert [problem.partition(":")[0] for problem in found] == [f"limits.{key}"]
    assert found[0].endswith(f"not {value!r}")


@pytest.mark.parametrize("value", [True, "5", -0.1, 100.1, float("nan")])
@pytest.mark.parametrize("key", ["max_failure_percent", "kinds.lost.max_percent"])
def test_a_percentage_is_a_number_from_0_to_100(key: str, value: t.Any) -> None:
    found: list[str] = []
    limits.validate({"kinds": {"lost": {"max_percent": value}}} if "." in key else {key: value}, found)
    assert found == [f"limits.{key}: must be a number from 0 to 100 or null, not {value!r}"]


def test_limits_that_are_no_mapping_are_one_mistake() -> None:
    with pytest.raises(PlanError) as error:
        plan.make(hosts=HOSTS, groups={"all": HOSTS}, release=RELEASE, limits=t.cast("t.Any", [1]))
    assert error.value.detail["problems"] == ["limits: must be a mapping such as {max_failures: 0}, not [1]"]


def test_limits_are_told_with_both_their_sides() -> None:
    given = {"max_failures": 3, "max_failure_percent": 5, "kinds": {"lost": {"max_percent": 2.5}}}
    assert limits.lines(make(given).document["limits"]) == [
        "more than 3 failed",
        "more than 5 % failed of at least 10",
        "more than 2.5 % lost of at least 10",
    ]


# -- conditions beside the limits ---------------------------------------------------------------------------------


@pytest.mark.parametrize("records", [gate.PROMOTE, gate.HOLD, gate.HALT])
@pytest.mark.parametrize("said", [(), (gate.PROMOTE,), (gate.HOLD,), (gate.HALT,), (gate.HOLD, gate.HALT)])
def test_the_strictest_counts(records: str, said: tuple[str, ...]) -> None:
    findings = [gate.Finding(one, f"says {one}", f"rule {number}") for number, one in enumerate(said)]
    decision = gate.weigh(gate.Decision(records, "the records", {"success": 1}, []), findings)
    order = [gate.PROMOTE, gate.HOLD, gate.HALT]
    assert decision.decision == max((records, *said), key=order.index)
    assert decision.counts == {"success": 1}
    assert ("the records" in decision.reason) == (records == decision.decision)
    for number, one in enumerate(said):
        assert (f"rule {number}: says {one}" in decision.reason) == (one == decision.decision != gate.PROMOTE)


def rules_of(*rules: t.Any) -> plan.Plan:
    return plan.make(hosts=HOSTS, groups={"all": HOSTS}, release=RELEASE, conditions={"rules": list(rules)})


@pytest.mark.parametrize(
    ("when", "true"),
    [
        ("counts.restored == `1`", True),
        ("failure_percent > `25`", False),
        ("failure_percent == `25`", True),
        ("wave.last", False),
        ("wave.counts.lost > `0`", False),
        ("length(wave.devices[?site == 'north' && outcome == 'restored']) == `1`", True),
        ("wave.devices[?code == 'HEALTH'].device", True),
        ("analysis.latency == 'failed'", True),
        ("wave.name == 'wave-1' && release.channel == 'stable'", True),
        ("nothing.like.this", False),
    ],
)
def test_rules_look_at_the_summary(when: str, true: bool) -> None:
    made = rules_of({"when": when, "decision": "halt", "reason": "because"})
    known = good("d2", "d3", "d4") | {"d1": Standing("d1", "restored", "HEALTH")}
    decision = gate.decide(made, known, wave=0)
    seen = rules.summary(
        made, made.document["waves"][0], decision, known, sites={"d1": "north"}, analysis={"latency": "failed"}
    )
    json.dumps(seen)
    found = rules.judge(made.document["conditions"]["rules"], seen)
    assert found == ([gate.Finding(gate.HALT, "because", "rule")] if true else [])


def test_rules_take_who_did_not_come_back_as_lost() -> None:
    made = rules_of()
    wave: Wave = {**made.document["waves"][0], "hosts": ["d1", "d2", "d3"]}
    known = good("d1") | standing("d2", "pending")
    seen = rules.summary(made, wave, gate.decide(made, known, wave=0), known, sites={}, analysis={})["wave"]
    assert [row["outcome"] for row in seen["devices"]] == ["updated", "lost", "lost"]
    assert [row["healthy"] for row in seen["devices"]] == [True, True, False]
    assert (seen["counts"]["lost"], seen["size"], seen["last"]) == (2, 3, False)


def test_rules_see_a_device_as_it_was_recorded() -> None:
    made = rules_of()
    known = {
        "d1": Standing("d1", "updated", data={"seconds": 12.5}),
        "d2": Standing("d2", "restored", "HEALTH", healthy=False),
        "d3": Standing("d3", "updated", healthy=False),
        "d4": Standing("d4", "pending"),
    }
    wave: Wave = {**made.document["waves"][0], "hosts": ["d1", "d2", "d3", "d4", "d5"]}
    decision = gate.decide(made, known, wave=0)
    seen = rules.summary(made, wave, decision, known, sites={"d1": "north"}, analysis={})["wave"]["devices"]
    keys = ("device", "site", "outcome", "code", "healthy", "seconds")
    assert [tuple(row.values()) for row in seen] == [
        ("d1", "north", "updated", None, True, 12.5),
        ("d2", "", "restored", "HEALTH", False, None),
        ("d3", "", "updated", None, False, None),
        ("d4", "", "lost", None, True, None),
        ("d5", "", "lost", None, False, None),
    ]
    assert {len(row) for row in seen} == {len(keys)}


def test_a_rule_that_does_not_fit_holds() -> None:
    made = rules_of({"when": "abs(release)", "decision": "halt"})
    (found,) = rules.judge(made.document["conditions"]["rules"], t.cast(rules.Summary, {"release": {}}))
    assert found.decision == gate.HOLD
    assert "correct the expression" in found.reason


@pytest.mark.parametrize(
    ("conditions", "part"),
    [
        ({"rules": [{"when": "a ||", "decision": "halt"}]}, "JMESPath"),
        ({"rules": [{"when": "a", "decision": "promote"}]}, "hold or halt"),
        ({"rules": [{"when": "a", "decision": "hold", "why": "x"}]}, "why"),
        ({"rules": {"when": "a"}}, "list"),
        ({"rules": ["a"]}, "must be a mapping of when"),
        ({"rules": [{"when": "a", "decision": "hold", "reason": 5}]}, "reason: must be a text"),
        ({"on_halt": "explode"}, "roll_back_all"),
        ({"soak": -1}, "soak"),
        ({"soak": "10m"}, "soak: must be seconds, 0 or more, not '10m'"),
        ({"soak": "-1"}, "soak"),
        ({"breaker": {"halts": 0}}, "breaker"),
        ({"breaker": 3}, "breaker"),
        ({"sook": 1}, "sook"),
    ],
)
def test_wrong_conditions_are_told(conditions: t.Any, part: str) -> None:
    with pytest.raises(PlanError, match=part):
        plan.make(hosts=HOSTS, groups={"all": HOSTS}, release=RELEASE, conditions=conditions)


@pytest.mark.parametrize(("text", "number"), [("600", 600), (" 0", 0), ("0.5", 0.5)])
def test_a_soak_may_be_a_text_as_extra_variables_are(text: str, number: float) -> None:
    made = plan.make(hosts=HOSTS, groups={"all": HOSTS}, release=RELEASE, conditions={"soak": text})
    assert made == plan.make(hosts=HOSTS, groups={"all": HOSTS}, release=RELEASE, conditions={"soak": number})


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(PlanError) as error:
        plan.make(
            hosts=HOSTS,
            groups={"all": HOSTS},
            release=RELEASE,
            limits={"kinds": {"x": {}}},
            conditions={"on_halt": 1, "rules": [{}], "analysis": [{}]},
        )
    assert len(error.value.detail["problems"]) >= 5


@pytest.mark.parametrize(("allowed", "wanted"), [(0, gate.HOLD), (1, gate.PROMOTE), (None, gate.PROMOTE)])
def test_a_device_that_could_not_be_asked_may_hold_and_never_halts(allowed: int | None, wanted: str) -> None:
    unseen = good("d1")["d1"]._replace(unseen="LOGIN: Missing sudo password")
    decision = gate.decide(make({"max_failures": allowed}), {"d1": unseen}, wave=0)
    assert decision.decision == wanted
    assert decision.failures == []
    if wanted == gate.HOLD:
        assert "1 could not be asked how they are" in decision.reason
        assert "d1: LOGIN: Missing sudo password" in decision.reason


def test_what_failed_halts_whatever_could_not_be_asked() -> None:
    unseen = good("d1")["d1"]._replace(unseen="ENGINE: no room")
    standings = {"d1": unseen, **standing("d2", "restored")}
    assert gate.decide(make({"max_failures": 0}, sizes=(2, 18)), standings, wave=0).decision == gate.HALT
