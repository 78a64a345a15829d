# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same transactions on a device whose root is a btrfs subvolume: the snapshot is one of the file system's own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.lab import Device, Fleet, debs, evidence, service

from .engine import STATE, Engine
from .project import Project
from .site import assert_same, look
from .test_engine_deb import published


@pytest.fixture
def device(lab_host: None) -> Iterator[Device]:
    fleet = Fleet(f"b{os.getpid()}")
    fleet.up(1, kind="btrfs", owner=os.getpid())
    yield fleet[1]
    fleet.down()


def subvolumes(device: Device) -> list[str]:
    listed = device.run(["btrfs", "subvolume", "list", "-o", f"{STATE}/snapshots"]).stdout
    return [line.rpartition(" ")[2] for line in listed.splitlines()]


def test_packages_go_back_from_a_btrfs_snapshot(project: Project, device: Device) -> None:
    engine = Engine(device)
    engine.enroll(project)
    assert "btrfs" in engine.call("info")["capabilities"]["snapshots"]
    assert engine.update(published(project, "1"))["outcome"] == "updated"
    device.run(["sed", "-i", "s/hello/edited/", debs.SETTINGS])
    device.run(["systemctl", "restart", debs.UNIT])
    before = look(device)

    reply = engine.update(published(project, "3-silent"))
    assert (reply["outcome"], reply["code"]) == ("restored", "HEALTH"), reply
    assert engine.transaction()["snapshot_kind"] == "btrfs"
    assert_same(before, look(device))

    bundle = published(project, "5-user-and-removal")
    call = engine.start_apply(bundle)
    engine.wait_for("installing")
    device.cut()
    call.kill()
    device.start()
    assert engine.wait_for("restored", "broken")["code"] == "INTERRUPTED"
    assert_same(before, look(device))

    assert engine.update(published(project, "2"))["outcome"] == "updated"
    assert len(subvolumes(device)) == 1, "one way back is kept and nothing else"
    reply = engine.call("rollback", rollout="back", wait=60)
    assert reply["state"] == "unconfirmed", reply
    assert engine.call("confirm", transaction=reply["transaction"])["outcome"] == "updated"
    assert evidence.packages(device)["meter:all"] == ("1", "install ok installed")
    answer = evidence.http_json(device, service.PORT)
    assert answer == {"status": "ok", "version": "1", "greeting": "edited"}
    assert subvolumes(device) == []
