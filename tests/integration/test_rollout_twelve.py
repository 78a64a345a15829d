# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Twelve devices through four waves, with one failure of each kind; asserted is what each device shows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Device, Fleet, debs, evidence, service

from .engine import Engine, when
from .project import HARDWARE, Project
from .site import Site, assert_same, confirmed, look, look_at_all

VERSION_2 = {"status": "ok", "version": "2", "greeting": "hello", "codec": "codec 1"}
#: The unit starts only with what the condition lets pass.
DROP_IN = f"/etc/systemd/system/{debs.UNIT}.d/line.conf"
NOT_WITH_2 = "[Service]\nExecStartPre=/bin/sh -c '! dpkg-query -W meter | grep -q \"2$\"'\n"
NEVER = "[Service]\nExecStartPre=/bin/false\n"
#: dpkg waits for ever before it changes anything, but not in the rehearsal, which has a /run of its own.
HANGING = "/run/hanging"
HANGS = f'pre-invoke="test ! -e {HANGING} || sleep 600"\n'

#: Nobody waits long for the one that is lost and the one that hangs; the others have all the time that is usual.
LOST = {"fleet_ota_deadline": 30, "fleet_ota_first_contact": 5}
HUNG = {"fleet_ota_deadline": 120, "fleet_ota_timeout": 5}

PLANT: dict[str, dict[str, Any]] = {
    "pilots": {"dev1": {}},
    "north": {"dev2": {}, "dev3": {}, "dev4": {}},
    "south": {"dev5": {}, "dev6": {"fleet_ota_hold": "the press is running"}, "dev7": LOST, "dev8": {}},
    "east": {"dev9": HUNG, "dev10": {}, "dev11": {}, "dev12": {}},
}
WAVES = [{"name": name, "group": name} for name in PLANT]
WANTED = {
    "dev1": ("updated", None),
    "dev2": ("updated", None),
    "dev3": ("restored", "INSTALL"),
    "dev4": ("updated", None),
    "dev5": ("refused", "INCOMPATIBLE"),
    "dev6": ("deferred", "HOLD"),
    "dev7": ("lost", "UNREACHABLE"),
    "dev8": ("updated", None),
    "dev10": ("broken", "RESTORE"),
    "dev11": ("updated", None),
    "dev12": ("updated", None),
}


class Plant(Site):
    """The same, with an inventory of groups and variables beside the lab's own."""

    def command(self, playbook: str, **variables: Any) -> list[str]:
        groups = {
            name: {"hosts": {host: {"site": name, **more} for host, more in hosts.items()}}
            for name, hosts in PLANT.items()
        }
        path = self.journals / "plant.json"
        path.write_text(json.dumps({"all": {"children": groups}}))
        first, *rest = super().command(playbook, **variables)
        place = rest.index("-i")
        return [first, *rest[:place], "-i", str(path), *rest[place:]]


@pytest.fixture(scope="module")
def twelve(lab_host: None) -> Iterator[Fleet]:
    fleet = Fleet(f"w{os.getpid()}")
    fleet.up(12, owner=os.getpid())
    yield fleet
    fleet.down()


@pytest.fixture
def plant(twelve: Fleet, tmp_path: Path) -> Plant:
    """Twelve devices with version 1, each with what will go wrong there."""
    project = Project(tmp_path / "project")
    for version in ("1", "2"):
        project.publish(project.meter(version, compatible={"hardware": [HARDWARE]} if version == "2" else {}))
    plant = Plant(project, twelve, tmp_path / "journals")
    assert plant.play("enroll") == 0, plant.said()
    assert plant.rollout("meter/1", fleet_ota_waves=[{"percent": 100}], fleet_ota_hold="") == 0, plant.said()
    (first,) = plant.journals.glob("meter-1-*")
    for path in first.iterdir():
        path.unlink()
    first.rmdir()
    write(twelve[3], DROP_IN, NOT_WITH_2)
    write(twelve[10], DROP_IN, NEVER)
    for number in (3, 10):
        twelve[number].run(["systemctl", "daemon-reload"])
    assert plant.play("enroll", fleet_ota_hosts="dev5", fleet_ota_hardware="edge-gw-9") == 0, plant.said()
    write(twelve[9], "/etc/dpkg/dpkg.cfg.d/hangs", HANGS)
    twelve[9].run(["touch", HANGING])
    return plant


def write(device: Device, path: str, content: str) -> None:
    target = device.root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(content)


def test_four_waves_with_a_failure_of_each_kind(plant: Plant, twelve: Fleet) -> None:
    before = look_at_all(twelve.devices)
    far = twelve[7]
    lost = when(Engine(far), "installing", "checking", "unconfirmed", then=far.unplug, timeout=300)
    options = {
        "fleet_ota_waves": WAVES,
        "fleet_ota_limits": {"max_failures": 5},
        "fleet_ota_penalty": {"first": 0},
    }
    assert plant.rollout("meter/2", **options) != 0
    lost.join()
    found = plant.outcomes()
    # the one that hung had no end in its time, and goes back
    assert found.pop("dev9")[0] == "restored", plant.said()
    assert found == WANTED, plant.said()
    said = [record["outcome"] for record in plant.journal() if record.get("outcome") and record["device"] == "dev9"]
    assert said == ["timed_out", "restored"]
    assert plant.result() == "halted"
    decisions = [r["data"]["decision"] for r in plant.journal() if r["event"] == "wave.ended"]
    assert decisions == ["promote", "promote", "promote", "halt"]

    # those that were updated are, wherever something else went wrong; those that were not touched are as they were
    for name in ("dev1", "dev2", "dev4", "dev8", "dev11", "dev12"):
        device = twelve[int(name[3:])]
        assert evidence.http_json(device, service.PORT) == VERSION_2, name
        assert len(confirmed(device)) == 2, name
    for name in ("dev5", "dev6"):
        assert_same(before[name], look(twelve[int(name[3:])]))
    assert_same(before["dev3"], look(twelve[3]))

    # the lost one went back by itself; asked, it says so
    for number in (7, 9):
        assert Engine(twelve[number]).wait_for("restored", "broken", timeout=90)["state"] == "restored"
        assert_same(before[f"dev{number}"], look(twelve[number]))
    twelve[7].plug()
    assert plant.rollout("meter/2", **options) != 0
    assert plant.outcomes()["dev7"] == ("restored", "DEADLINE"), plant.said()
    assert plant.result() == "halted", "dev10 needs hands"
