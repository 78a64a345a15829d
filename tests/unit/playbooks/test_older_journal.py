# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal is an old backup, lost, or elsewhere: devices know better, and nobody is updated twice."""

from __future__ import annotations

import shutil
import typing as t

import pytest

if t.TYPE_CHECKING:
    import pathlib

    from .conftest import Fleet, MakeFleet

pytestmark = pytest.mark.one_core

WAVES = [{"name": "canary", "hosts": ["d1"]}, {"name": "second", "count": 1}, {"name": "rest", "percent": 100}]
NO = {"ansible.builtin.fail": {"msg": "the team says no"}}


def fleet_of(make_fleet: MakeFleet, *names: str) -> Fleet:
    fleet = make_fleet(*names)
    fleet.common["fleet_ota_waves"] = WAVES
    return fleet


def journal_of(fleet: Fleet) -> pathlib.Path:
    (found,) = (fleet.folder / "journal").glob("*/journal.jsonl")
    return found


def transactions(fleet: Fleet) -> dict[str, int]:
    return {name: device.transactions() for name, device in fleet.devices.items()}


def said(fleet: Fleet) -> list[tuple[str, str, str | None]]:
    """Every outcome of the journal as it is now."""
    return [(one["device"], one["outcome"], one.get("code")) for one in fleet.records() if one.get("outcome")]


def backed_up(make_fleet: MakeFleet) -> tuple[Fleet, bytes]:
    """A rollout in whose second wave the journal is put back from a backup of the first; and the newer journal."""
    fleet = fleet_of(make_fleet, "d1", "d2", "d3")
    assert fleet.play("rollout", fleet_ota_until_wave="canary").rc == 0
    backup = journal_of(fleet).read_bytes()
    assert fleet.play("rollout", fleet_ota_until_wave="second").rc == 0
    newer = journal_of(fleet).read_bytes()
    assert fleet.running() == {"d1": "2", "d2": "2", "d3": "1"}
    journal_of(fleet).write_bytes(backup)
    trees = fleet.trees(state=True)
    ran = fleet.play("rollout")
    assert ran.rc != 0, ran.text
    assert "held, d2: witnessed more than this journal has" in ran.text
    assert said(fleet) == [("d1", "updated", None), ("d2", "deferred", "AHEAD")]
    assert fleet.trees(state=True) == trees, "nothing touched, d3 not begun"
    return fleet, newer


def test_a_device_ahead_of_an_old_backup_holds_the_rollout_until_somebody_decides(make_fleet: MakeFleet) -> None:
    fleet, _newer = backed_up(make_fleet)
    rollout = fleet.records()[0]["rollout"]
    asked = fleet.play("reset", fleet_ota_rollout_id=rollout, fleet_ota_remark="the disk is lost", fleet_ota_by="anna")
    assert asked.rc == 0, asked.text
    data = fleet.records()[-1]["data"]
    assert (data["by"], data["reason"], data["devices"], data["ahead"]) == ("anna", "the disk is lost", [], ["d2"])
    ran = fleet.play("rollout")
    assert ran.rc == 0, ran.text
    assert said(fleet)[2:] == [("d2", "updated", None), ("d3", "updated", None)]
    assert transactions(fleet) == dict.fromkeys(fleet.devices, 2), "nobody was updated twice"


@pytest.mark.long
def test_the_older_journal_knows_no_better_when_it_has_grown_and_the_newer_one_goes_on(make_fleet: MakeFleet) -> None:
    fleet, newer = backed_up(make_fleet)
    trees = fleet.trees(state=True)
    assert fleet.play("rollout").rc != 0
    assert fleet.trees(state=True) == trees
    journal_of(fleet).write_bytes(newer)
    ran = fleet.play("rollout", fleet_ota_until_wave="second")
    assert ran.rc == 0, ran.text
    assert transactions(fleet) == {"d1": 2, "d2": 2, "d3": 1}
    ran = fleet.play("rollout")
    assert ran.rc == 0, ran.text
    assert transactions(fleet) == dict.fromkeys(fleet.devices, 2)


@pytest.mark.long
def test_a_journal_goes_on_in_another_folder_and_one_that_is_lost_is_begun_anew(make_fleet: MakeFleet) -> None:
    fleet = fleet_of(make_fleet, "d1", "d2", "d3", "d4")
    fleet.common["fleet_ota_waves"] = [WAVES[0], {"name": "second", "count": 2}, WAVES[2]]
    fleet.variables["d2"] = {"fleet_ota_hook_installed": fleet.file("no.yml", [NO])}
    assert fleet.play("rollout", fleet_ota_until_wave="canary").rc == 0
    begun, elsewhere = fleet.records(), fleet.folder / "another disk"
    shutil.move(fleet.folder / "journal", elsewhere)
    assert fleet.play("rollout", fleet_ota_journal_dir=str(elsewhere)).rc != 0
    before = {"d1": "2", "d2": "1", "d3": "2", "d4": "1"}
    assert fleet.running() == before
    shutil.move(elsewhere, fleet.folder / "journal")
    assert fleet.records()[: len(begun)] == begun
    assert fleet.records()[len(begun)]["data"]["generation"] == 2
    assert [one for one in said(fleet) if one[0] == "d1"] == [("d1", "updated", None)]

    shutil.rmtree(fleet.folder / "journal")
    fleet.variables["d2"] = {}
    ran = fleet.play("rollout")
    # d2 remembers that it went back from this release in this rollout, whose second run it was
    assert said(fleet)[:1] == [("d1", "updated", None)]
    assert sorted(said(fleet)[1:]) == [("d2", "restored", "TEAM_CHECK"), ("d3", "updated", None)]
    assert ran.rc != 0
    assert "halted, 1 failed" in ran.text
    assert fleet.running() == before
    assert transactions(fleet) == {"d1": 2, "d2": 2, "d3": 2, "d4": 1}, "nobody was updated twice"
