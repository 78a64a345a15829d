# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same command again and again: who was off is caught up with, and nothing else happens."""

from __future__ import annotations

import typing as t

import pytest

if t.TYPE_CHECKING:
    from .conftest import Fleet, MakeFleet

pytestmark = pytest.mark.one_core

#: A connection that finds nobody.
OFF = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_retries": 0}


def switch(fleet: Fleet, device: str, *, on: bool) -> None:
    fleet.variables[device] = {} if on else dict(OFF)


def events(fleet: Fleet) -> list[str]:
    return [record["event"] for record in fleet.records()]


def ends(fleet: Fleet, device: str) -> list[tuple[str, str | None]]:
    """Every outcome of a device with its code."""
    records = [record for record in fleet.records() if record.get("outcome") and record["device"] == device]
    return [(record["outcome"], record.get("code")) for record in records]


def test_every_hour_for_ever(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2", "d3")
    fleet.common["fleet_ota_waves"] = [{"count": 2}, {"percent": 100}]
    fleet.common["fleet_ota_limits"] = {"max_failures": 1}
    fleet.common["fleet_ota_conditions"] = {"on_halt": "roll_back_all"}
    fleet.common["fleet_ota_first_contact"] = 2
    switch(fleet, "d2", on=False)
    ran = fleet.play("rollout")
    assert ran.rc == 2, ran.text
    assert fleet.running() == {"d1": "2", "d2": "1", "d3": "2"}

    # still off, and in its pause: nobody waits for it any more than is needed to ask
    begun = events(fleet).count("device.pending")
    ran = fleet.play("rollout")
    assert ran.rc == 2, ran.text
    assert events(fleet).count("device.pending") == begun

    # it comes back, and its pause is over
    switch(fleet, "d2", on=True)
    ran = fleet.play("rollout", fleet_ota_penalty={"first": 0})
    assert ran.rc == 0, ran.text
    assert fleet.running() == {"d1": "2", "d2": "2", "d3": "2"}

    # from now on each run asks, and writes that it ran; devices are not touched, and what falls ill later takes nobody
    # back, though every failure would
    before, trees = events(fleet), fleet.trees(state=True)
    for device_is_on in (True, False):
        switch(fleet, "d3", on=device_is_on)
        fleet.publisher.ill.touch()
        try:
            ran = fleet.play("rollout")
        finally:
            fleet.publisher.ill.unlink()
        assert ran.rc == 0, ran.text
    assert events(fleet)[len(before) :] == ["rollout.resumed", "rollout.ended"] * 2
    assert fleet.trees(state=True) == trees
    assert fleet.records()[-1]["data"]["result"] == "complete"


def test_one_that_is_held_and_off_fails_nothing_and_one_that_was_off_comes_again(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2")
    fleet.common["fleet_ota_waves"] = [{"count": 1}, {"percent": 100}]
    fleet.common["fleet_ota_first_contact"] = 2
    switch(fleet, "d2", on=False)
    fleet.variables["d2"]["fleet_ota_hold"] = "is being moved"
    ran = fleet.play("rollout")
    assert ends(fleet, "d2") == [("deferred", "HOLD")], ran.text
    assert fleet.records()[-1]["data"]["result"] == "held"

    del fleet.variables["d2"]["fleet_ota_hold"]
    ran = fleet.play("rollout")
    assert ends(fleet, "d2")[1:] == [("lost", "UNREACHABLE")], ran.text
    assert fleet.records()[-1]["data"]["result"] == "halted"

    switch(fleet, "d2", on=True)
    ran = fleet.play("rollout", fleet_ota_penalty={"first": 0})
    assert ran.rc == 0, ran.text
    assert ends(fleet, "d2")[2:] == [("deferred", "MISSED"), ("updated", None)]


def test_a_device_that_runs_something_else_since_is_updated_again(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2")
    fleet.common["fleet_ota_waves"] = [{"count": 1}, {"percent": 100}]
    assert fleet.play("rollout").rc == 0
    back = {"state": "rolled_back", "name": "gateway"}
    fleet.tasks({"fleet.ota.update": back}, {"fleet.ota.update": {"state": "confirmed"}})
    assert fleet.running() == {"d1": "1", "d2": "2"}

    before = len(fleet.records())
    ran = fleet.play("rollout", fleet_ota_retry_rejected=True)
    assert ran.rc == 0, ran.text
    assert fleet.running() == {"d1": "2", "d2": "2"}
    said = [(record.get("outcome"), record.get("code")) for record in fleet.records()[before:] if record.get("outcome")]
    assert said == [("deferred", "MOVED"), ("updated", None)]


def test_a_device_in_its_pause_is_left_alone_and_its_failure_stays(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2")
    fleet.common["fleet_ota_limits"] = {"max_failures": 1}
    fleet.file("tasks/no.yml", [{"ansible.builtin.fail": {"msg": "not ready"}}])
    fleet.variables["d2"]["fleet_ota_hook_installed"] = str(fleet.folder / "tasks/no.yml")
    assert fleet.play("rollout").rc == 2
    done = fleet.devices["d2"].transactions()
    fleet.variables["d2"] = {}
    ran = fleet.play("rollout", fleet_ota_retry_rejected=True)
    assert ran.rc == 2, ran.text
    assert fleet.devices["d2"].transactions() == done
    assert fleet.outcomes() == {"d1": ("updated", None), "d2": ("restored", "TEAM_CHECK")}
    ran = fleet.play("rollout", fleet_ota_retry_rejected=True, fleet_ota_penalty={"first": 0})
    assert ran.rc == 0, ran.text
    assert fleet.running() == {"d1": "2", "d2": "2"}


def test_peers_of_a_device_that_is_lost_are_not_sent_back_by_their_deadline(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2")
    fleet.common["fleet_ota_limits"] = {"max_failures": 1}
    fleet.common["fleet_ota_deadline"] = 5
    fleet.common["fleet_ota_first_contact"] = 12
    switch(fleet, "d2", on=False)
    ran = fleet.play("rollout")
    # d1 waited longer for d2 than for its own deadline
    assert fleet.outcomes() == {"d1": ("updated", None), "d2": ("lost", "UNREACHABLE")}, ran.text
