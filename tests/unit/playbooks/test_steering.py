# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Budget, windows, holds and dependencies in whole rollouts, and staging inside download windows."""

from __future__ import annotations

import datetime
import json
import pathlib
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.keys import ring
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.repository import Repository

from .conftest import Fleet, MakeFleet, Publisher

pytestmark = pytest.mark.one_core

DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def window(days: int) -> list[dict[str, t.Any]]:
    """A window that is open for a whole day, so many days from now."""
    day = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)).weekday()
    return [{"days": [DAYS[day]], "start": "00:00", "length": "1d"}]


def turns(fleet: Fleet) -> list[list[str]]:
    return [record["data"]["hosts"] for record in fleet.records() if record["event"] == "wave.turn"]


def test_a_budget_makes_turns_and_a_hold_is_deferred(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2", "d3", "d4")
    for name in fleet.devices:
        fleet.variables[name]["site"] = "north" if name < "d3" else "south"
    fleet.variables["d4"]["fleet_ota_hold"] = "valve is open"
    fleet.common["fleet_ota_budget"] = [{"by": "site", "max_unavailable": 1}]
    ran = fleet.play("rollout")
    assert ran.rc == 4, ran.text
    assert turns(fleet) == [["d1", "d3"], ["d2", "d4"]]
    events = [(record["event"], record.get("device")) for record in fleet.records()]
    second = [number for number, (event, _device) in enumerate(events) if event == "wave.turn"][1]
    assert ("device.outcome", "d1") in events[:second]
    assert ("device.pending", "d2") in events[second:]
    assert fleet.outcomes()["d4"] == ("deferred", "HOLD")
    assert fleet.running() == {"d1": "2", "d2": "2", "d3": "2", "d4": "1"}
    # the flag is taken away, the same command does the rest
    del fleet.variables["d4"]["fleet_ota_hold"]
    ran = fleet.play("rollout")
    assert ran.rc == 0, ran.text
    assert fleet.devices["d4"].running == "2"


def test_a_closed_window_defers_unless_the_release_is_urgent(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2")
    fleet.common["fleet_ota_windows"] = {"install": window(3)}
    fleet.variables["d2"]["fleet_ota_windows"] = {}  # at any time
    before = fleet.devices["d1"].tree(state=True)
    ran = fleet.play("rollout")
    assert ran.rc == 4, ran.text
    assert fleet.outcomes() == {"d1": ("deferred", "WINDOW"), "d2": ("updated", None)}
    assert fleet.devices["d1"].tree(state=True) == before
    assert "the next begins at" in ran.text
    ran = fleet.play("rollout", fleet_ota_urgent=True)
    assert ran.rc == 0, ran.text
    assert fleet.devices["d1"].running == "2"


def test_devices_of_a_gateway_that_failed_are_not_touched(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("gw1", "d1", "gw2", "d2")
    fleet.variables["d1"]["fleet_ota_after"] = ["gw1"]
    fleet.variables["d2"]["fleet_ota_after"] = "gw2"
    fleet.variables["gw1"]["fleet_ota_hook_installed"] = fleet.file(
        "fails.yml", [{"name": "Fail", "ansible.builtin.fail": {"msg": "valve stuck"}}]
    )
    fleet.common["fleet_ota_limits"] = {"max_failures": 1}
    ran = fleet.play("rollout")
    assert ran.rc == 2, ran.text
    assert turns(fleet) == [["gw1", "gw2"], ["d1", "d2"]]
    assert fleet.outcomes() == {
        "gw1": ("restored", "TEAM_CHECK"),
        "gw2": ("updated", None),
        "d1": ("deferred", "DEPENDENCY"),
        "d2": ("updated", None),
    }
    assert fleet.running() == {"gw1": "1", "gw2": "2", "d1": "1", "d2": "2"}


def test_a_plan_that_asks_devices_skips_who_would_refuse_and_touches_nobody(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2")
    assert fleet.play("rollout", "--limit", "d1").rc == 0
    fleet.common["fleet_ota_release"] = "gateway/1"
    before = fleet.trees(state=True)
    ran = fleet.play("plan", fleet_ota_ask_devices=True)
    assert ran.rc == 0, ran.text
    assert "takes less than a minute" in ran.text
    assert fleet.trees(state=True) == before
    assert "skipped, has confirmed counter 2, newer than 1: 1 device: d1" in ran.text


def test_a_plan_says_which_release_comes_first_for_who_cannot_take_it_directly(
    make_fleet: MakeFleet, publisher: Publisher, tmp_path: pathlib.Path
) -> None:
    own = Publisher.copy(publisher, tmp_path / "publisher")
    path = own.folder / "releases/3/release.yml"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": "4", "counter": 4, "from": {"counter": 3}}))
    Repository(own.repository).publish("stable", path, ring.Ring.load([own.folder / "keys"]))
    fleet = make_fleet("d1")
    changed = {"repository": own.repository, "trust_root": own.trust_root, "cache": own.folder / "cache"}
    fleet.common.update({f"fleet_ota_{key}": str(value) for key, value in changed.items()})
    ran = fleet.play("plan", fleet_ota_ask_devices=True, fleet_ota_release="gateway/4")
    assert ran.rc == 0, ran.text
    text = " ".join(ran.text.split())  # Ansible breaks long lines
    assert "skipped, cannot take it directly: it goes over counter 3 or newer only, here is 1 with counter 1" in text
    assert "update path, 1 device: d1: first gateway 3 (channel stable), then gateway 4 (channel stable)" in text
    assert "-e fleet_ota_release=gateway/3 -e fleet_ota_channel=stable -e fleet_ota_ask_devices=true" in text


def test_staging_goes_by_the_download_window(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2")
    fleet.common["fleet_ota_windows"] = {"install": window(3), "download": window(0)}
    fleet.variables["d2"]["fleet_ota_windows"] = {"install": window(3), "download": window(3)}
    first, before = (fleet.devices[name].tree(state=True) for name in ("d1", "d2"))
    ran = fleet.play("stage")
    assert ran.rc == 0, ran.text
    assert fleet.devices["d2"].tree(state=True) == before
    assert fleet.running() == {"d1": "1", "d2": "1"}
    assert fleet.devices["d1"].tree(state=True) != first
    # an urgent release passes this window too
    ran = fleet.play("stage", fleet_ota_urgent="yes")
    assert ran.rc == 0, ran.text
    assert fleet.devices["d2"].tree(state=True) != before


def test_staging_ends_with_the_download_window(make_fleet: MakeFleet) -> None:
    """Planned long ago, as for whoever comes last of many: extra variables outdo what the plan said."""
    fleet = make_fleet("d1", "d2")
    before = fleet.devices["d1"].tree(state=True), fleet.devices["d2"].tree(state=True)
    planned: dict[str, t.Any] = {"bundle": fleet.publisher.saved(2), "download_now": ["d1", "d2"], "summary_lines": []}
    planned["download_until"] = {"d1": "2026-01-01T00:00:00Z"}
    ran = fleet.play("stage", fleet_ota_planned=planned)
    assert ran.rc == 0, ran.text
    assert fleet.devices["d1"].tree(state=True) == before[0]
    assert fleet.devices["d2"].tree(state=True) != before[1]


def test_minutes_and_urgency_are_those_of_each_host_and_not_of_the_first(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2", bare=True)
    fleet.common["fleet_ota_windows"] = {"install": window(0)}
    fleet.variables["d2"]["fleet_ota_expected_minutes"] = 1440
    ran = fleet.play("plan")
    assert "windows of d2.install: no window is as long" in " ".join(ran.text.split())
    fleet.variables["d2"] = {}
    fleet.variables["d1"] = {"fleet_ota_urgent": True, "fleet_ota_expected_minutes": "1440"}
    ran = fleet.play("plan")
    text = " ".join(ran.text.split())
    assert "windows of d1.install: no window is as long" in text and "windows of d2" not in text
    assert "a release is urgent for all or for none: it is true for d1 and not for d2" in text
