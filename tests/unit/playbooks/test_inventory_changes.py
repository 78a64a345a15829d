# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Between two runs of one rollout the inventory and the plan change: hosts come, go, and move to another wave."""

from __future__ import annotations

import typing as t

import pytest

if t.TYPE_CHECKING:
    from .conftest import MakeFleet

pytestmark = pytest.mark.one_core

WAVES = [{"name": "early", "group": "early"}, {"name": "late", "group": "late"}]
NO = {"ansible.builtin.fail": {"msg": "the team says no"}}


def test_the_next_run_follows_the_inventory_as_it_is_now(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2", "d3", "d4", "d5")
    comes = fleet.variables.pop("d5")
    fleet.groups = {"early": ["d1", "d2"], "late": ["d3", "d4"]}
    fleet.common["fleet_ota_waves"] = WAVES
    fleet.variables["d2"] = {"fleet_ota_hook_installed": fleet.file("no.yml", [NO])}
    ran = fleet.play("rollout", fleet_ota_until_wave="early", fleet_ota_limits={"max_failures": 1})
    assert fleet.running() == {"d1": "2", "d2": "1", "d3": "1", "d4": "1", "d5": "1"}, ran.text
    first = fleet.records()

    # d5 is new, d2 is taken out, d1 and d3 change places; and no failure is borne any more
    del fleet.variables["d2"]
    fleet.variables["d5"] = comes
    fleet.groups = {"early": ["d3", "d5"], "late": ["d1", "d4"]}
    gone = fleet.devices["d2"].tree(state=True)
    ran = fleet.play("rollout")
    assert ran.rc == 0, ran.text
    assert fleet.running() == {"d1": "2", "d2": "1", "d3": "2", "d4": "2", "d5": "2"}
    assert fleet.devices["d2"].tree(state=True) == gone
    assert fleet.devices["d1"].transactions() == 2, "it was updated before it moved, and is not again"

    second = fleet.records()[len(first) :]
    assert fleet.records()[: len(first)] == first
    assert second[0]["event"] == "rollout.resumed"
    plan = second[0]["data"]["plan"]
    assert [(wave["name"], wave["hosts"]) for wave in plan["waves"]] == [
        ("early", ["d3", "d5"]),
        ("late", ["d1", "d4"]),
    ]
    touched = [one["device"] for one in second if one["event"] == "device.pending"]
    assert sorted(touched[:2]) == ["d3", "d5"], "the wave that had ended is walked again for who is new in it"
    assert touched[2:] == ["d4"]
    end = second[-1]["data"]
    assert (end["result"], end["not_as_planned"]) == ("complete", [])
    assert "d2" not in ran.text.split("PLAY [Conclude the rollout]")[1]
