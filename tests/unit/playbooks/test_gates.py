# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What gates do in whole rollouts: analysis, rules, the way back after a halt, the breaker, the last wave asked for."""

from __future__ import annotations

import sys
import typing as t

import pytest

from .conftest import Fleet, MakeFleet, Ran

# how plays of a rollout go on each ansible-core is test_rollouts' matter
pytestmark = pytest.mark.one_core

WAVES = [{"name": "canary", "hosts": ["d1"]}, {"name": "rest", "percent": 100}]
NO = {"ansible.builtin.fail": {"msg": "the team says no"}}


def fleet_of(make_fleet: MakeFleet, *names: str, **conditions: t.Any) -> Fleet:
    fleet = make_fleet(*names)
    fleet.common.update(fleet_ota_waves=WAVES, fleet_ota_conditions=conditions)
    return fleet


def metric(code: str, **more: t.Any) -> dict[str, t.Any]:
    """A metric that a Python program writes."""
    argv = [sys.executable, "-I", "-c", code, "$devices"]
    return {"name": "m", "source": "command", "argv": argv, "success": {"equals": 0}, "interval": 0, **more}


def result(fleet: Fleet) -> tuple[str, str]:
    """Result and reason of the newest run of the rollout forward."""
    said = [one for one in fleet.records() if ".back-" not in one["rollout"]]
    end = [one["data"]["result"] for one in said if one["event"] == "rollout.ended"][-1]
    return end, [one["data"]["reason"] for one in said if one["event"] in ("wave.started", "wave.ended")][-1]


def latest(fleet: Fleet) -> dict[str, str]:
    """The latest outcome of each device in the rollout forward."""
    return {
        one["device"]: one["outcome"]
        for one in fleet.records()
        if one["event"] == "device.outcome" and ".back-" not in one["rollout"]
    }


def reset(fleet: Fleet, **more: t.Any) -> Ran:
    return fleet.play("reset", fleet_ota_remark="a bad cable", fleet_ota_by="anna", **more)


def test_a_halt_takes_back_what_the_rollout_brought_until_somebody_resets_it(make_fleet: MakeFleet) -> None:
    fleet = fleet_of(make_fleet, "d1", "d2", "d3", on_halt="roll_back_all")
    fleet.variables["d2"] = {"fleet_ota_hook_installed": fleet.file("no.yml", [NO])}
    ran = fleet.play("rollout")
    assert ran.rc != 0, ran.text
    assert fleet.running() == {"d1": "1", "d2": "1", "d3": "1"}, ran.text
    assert latest(fleet) == {"d1": "rolled_back", "d2": "restored", "d3": "rolled_back"}
    assert result(fleet)[0] == "halted"
    backs = [one for one in fleet.records() if ".back-" in one["rollout"]]
    assert [one["data"]["result"] for one in backs if one["event"] == "rollout.ended"] == ["complete"]

    # the same command touches nobody, whatever limits it is given
    del fleet.variables["d2"]["fleet_ota_hook_installed"]
    done = {name: device.transactions() for name, device in fleet.devices.items()}
    ran = fleet.play("rollout", fleet_ota_limits={"max_failures": 3})
    assert ran.rc != 0
    assert "taken back from this release" in ran.text
    assert {name: device.transactions() for name, device in fleet.devices.items()} == done

    rollout = next(one["rollout"] for one in fleet.records() if ".back-" not in one["rollout"])
    assert reset(fleet, fleet_ota_rollout_id=rollout).rc == 0
    again = {"fleet_ota_retry_rejected": True}  # and no pause after the failure
    ran = fleet.play("rollout", fleet_ota_limits={"max_failures": 3}, fleet_ota_penalty={"first": 0}, **again)
    assert ran.rc == 0, ran.text
    assert set(fleet.running().values()) == {"2"}


def test_a_wave_alone_goes_back(make_fleet: MakeFleet) -> None:
    fleet = fleet_of(make_fleet, "d1", "d2", "d3", on_halt="roll_back_wave")
    fleet.variables["d2"] = {"fleet_ota_hook_installed": fleet.file("no.yml", [NO])}
    assert fleet.play("rollout").rc != 0
    assert fleet.running() == {"d1": "2", "d2": "1", "d3": "1"}
    assert latest(fleet) == {"d1": "updated", "d2": "restored", "d3": "rolled_back"}
    # the wave that passed stays when the same command halts at its first gate
    assert fleet.play("rollout").rc != 0
    assert fleet.running() == {"d1": "2", "d2": "1", "d3": "1"}


def test_an_analysis_that_fails_halts_and_one_that_says_nothing_holds(make_fleet: MakeFleet) -> None:
    fleet = fleet_of(make_fleet, "d1", "d2", analysis=[metric("print(1)")])
    ran = fleet.play("rollout")
    assert ran.rc != 0
    assert result(fleet) == ("halted", result(fleet)[1])
    assert "analysis m: 1 of 1 measurements failed" in result(fleet)[1]
    assert fleet.running() == {"d1": "2", "d2": "1"}

    # the same again measures again, before anything else is touched; the other plan is another analysis
    fleet.common["fleet_ota_conditions"] = {"analysis": [metric("import sys; sys.exit(3)")]}
    assert fleet.play("rollout").rc != 0
    assert result(fleet)[0] == "held"
    assert "ended with 3" in result(fleet)[1]
    assert fleet.running() == {"d1": "2", "d2": "1"}

    wave = "import sys; print(int(sys.argv[1] not in ('d1', 'd2')))"
    rule = {"when": "analysis.m != 'successful'", "decision": "halt", "reason": "it must be measured"}
    metrics = [metric(wave), metric("print(9)", name="n", dry_run=True)]
    fleet.common["fleet_ota_conditions"] = {"analysis": metrics, "rules": [rule]}
    ran = fleet.play("rollout")
    assert ran.rc == 0, ran.text
    assert set(fleet.running().values()) == {"2"}
    measured = [one["data"] for one in fleet.records() if one["event"] == "wave.analysis"][-4:]
    assert [(one["name"], one["metric"], one["verdict"]) for one in measured] == [
        ("canary", "m", "successful"),
        ("canary", "n", "failed"),
        ("rest", "m", "successful"),
        ("rest", "n", "failed"),
    ]
    # what passed is not measured again, and rules know of it
    count = len(fleet.records())
    assert fleet.play("rollout").rc == 0
    assert not [one for one in fleet.records()[count:] if one["event"] == "wave.analysis"]


def test_settings_of_ansible_and_a_hook_that_fails_last_change_nothing(make_fleet: MakeFleet) -> None:
    fleet = fleet_of(make_fleet, "d1", "d2", "d3")
    fleet.environment.update(ANSIBLE_STRATEGY="free", ANSIBLE_ANY_ERRORS_FATAL="true")
    fleet.variables["d1"] = {"fleet_ota_hook_after": fleet.file("no.yml", [NO])}
    fleet.variables["d2"] = {"fleet_ota_interlocks": [{"name": "busy", "type": "file", "path": "/opt"}]}
    ran = fleet.play("rollout")
    assert fleet.outcomes() == {"d1": ("updated", None), "d2": ("deferred", "INTERLOCK"), "d3": ("updated", None)}
    assert "fleet_ota_hook_after failed: the team says no" in ran.text
    assert [one["data"]["decision"] for one in fleet.records() if one["event"] == "wave.ended"] == ["promote"] * 2
    assert [one["event"] for one in fleet.records()].count("rollout.started") == 1


def test_a_rule_over_the_wave_holds(make_fleet: MakeFleet) -> None:
    rule = {"when": "length(wave.devices[?site=='north' && outcome=='updated']) > `0`", "decision": "hold"}
    fleet = fleet_of(make_fleet, "d1", "d2", rules=[{**rule, "reason": "north first"}])
    fleet.variables["d1"] = {"fleet_ota_site": "north"}
    ran = fleet.play("rollout")
    assert ran.rc != 0
    assert result(fleet) == ("held", "rule: north first")
    assert fleet.running() == {"d1": "2", "d2": "1"}


def test_the_breaker_stops_what_comes_after_and_never_the_way_back(make_fleet: MakeFleet) -> None:
    fleet = fleet_of(make_fleet, "d1", "d2", analysis=[metric("print(1)")], breaker={"halts": 1})
    assert fleet.play("rollout").rc != 0
    count = len(fleet.records())
    fleet.common["fleet_ota_conditions"] = {"breaker": {"halts": 1}}
    ran = fleet.play("rollout", fleet_ota_release="gateway/3")
    assert ran.rc != 0
    assert "BREAKER" in ran.text
    assert len(fleet.records()) == count
    assert fleet.running() == {"d1": "2", "d2": "1"}

    rollout = fleet.records()[0]["rollout"]
    assert fleet.play("rollback", fleet_ota_rollout_id=rollout).rc == 0
    assert fleet.running() == {"d1": "1", "d2": "1"}

    assert reset(fleet).rc == 0
    assert "anna" in (fleet.folder / "journal/resets.jsonl").read_text()
    ran = fleet.play("rollout", fleet_ota_release="gateway/3")
    assert ran.rc == 0, ran.text
    assert set(fleet.running().values()) == {"3"}


def test_a_rollout_until_a_wave_ends_well_and_goes_on_from_there(make_fleet: MakeFleet) -> None:
    fleet = fleet_of(make_fleet, "d1", "d2")
    ran = fleet.play("rollout", fleet_ota_until_wave="canary")
    assert ran.rc == 0, ran.text
    assert fleet.running() == {"d1": "2", "d2": "1"}
    ran = fleet.play("rollout", fleet_ota_until_wave="rest")
    assert ran.rc == 0, ran.text
    assert set(fleet.running().values()) == {"2"}
    # and once more with nothing to do, as a node of AWX that is launched again
    ran = fleet.play("rollout", fleet_ota_until_wave="canary")
    assert ran.rc == 0, ran.text
