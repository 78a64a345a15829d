# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A wave that several controllers join: opened, done in parts, one of them killed, and closed by the rollout."""

from __future__ import annotations

import pytest

from .conftest import MakeFleet

pytestmark = pytest.mark.one_core

#: Kills the run of which it is a task, as a pod that is evicted.
KILL = [{"name": "Kill", "ansible.builtin.raw": "kill -9 $(cut -d' ' -f4 /proc/$PPID/stat)"}]


def test_a_wave_is_opened_joined_and_closed(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2", "d3", "d4")
    fleet.common["fleet_ota_waves"] = [
        {"name": "canary", "count": 1},
        {"name": "rest", "count": 2},
        {"name": "last", "percent": 100},
    ]
    opened = fleet.play("rollout", fleet_ota_open_wave="rest")
    assert opened.rc == 0, opened.text
    assert fleet.running() == {"d1": "2", "d2": "1", "d3": "1", "d4": "1"}
    assert "wave rest is open for runs that join it" in opened.text

    rollout = fleet.records()[0]["rollout"]
    mine = {"fleet_ota_rollout_id": rollout, "fleet_ota_wave": "rest", "fleet_ota_release": "is read by nobody"}
    ran = fleet.play("join", fleet_ota_hosts="d1,d2", **mine)
    assert ran.rc == 0, ran.text
    assert fleet.running()["d2"] == "2"
    killed = fleet.play("join", fleet_ota_hosts="d3", fleet_ota_hook_installed=fleet.file("kill.yml", KILL), **mine)
    assert killed.rc != 0, killed.text
    parts = {
        record["data"]["devices"][0]: record["event"]
        for record in fleet.records()
        if record["event"].startswith("slice.")
    }
    assert parts == {"d2": "slice.ended", "d3": "slice.started"}, killed.text

    closed = fleet.play("rollout", fleet_ota_until_wave="rest")
    assert closed.rc == 0, closed.text
    # a schedule opens it once more: there is nothing to do, and that is no reason to go on
    again = fleet.play("rollout", fleet_ota_open_wave="rest")
    assert again.rc == 0, again.text
    assert fleet.running() == {"d1": "2", "d2": "2", "d3": "2", "d4": "1"}
    whole = fleet.play("rollout")
    assert whole.rc == 0, whole.text
    assert fleet.running() == dict.fromkeys(fleet.devices, "2")
    assert {device.transactions() for device in fleet.devices.values()} == {2}
    assert fleet.outcomes() == dict.fromkeys(fleet.devices, ("updated", None))
    events = [(record["event"], record["data"].get("name")) for record in fleet.records()]
    assert events.count(("wave.ended", "rest")) == 1

    late = fleet.play("join", fleet_ota_hosts="d4", **mine)
    assert late.rc != 0
    assert f"wave rest of {rollout} is not open" in late.text


def test_a_wave_in_turns_is_not_for_those_who_join(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2")
    fleet.common["fleet_ota_budget"] = [{"max_unavailable": 1}]
    opened = fleet.play("rollout", fleet_ota_open_wave="wave-1")
    assert opened.rc == 0, opened.text
    rollout = fleet.records()[0]["rollout"]
    ran = fleet.play("join", fleet_ota_rollout_id=rollout, fleet_ota_wave="wave-1")
    assert ran.rc != 0
    assert "goes in 2 turns" in ran.text
    assert fleet.running() == {"d1": "1", "d2": "1"}
