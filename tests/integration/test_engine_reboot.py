# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases that reboot real devices with real systemd: the device carries on by itself, whoever is gone."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.client.bundle import Bundle

from tests.lab import Device, evidence
from tests.lab.archives import PORT

from .engine import Engine
from .project import Project, health
from .site import history

UNIT = "/etc/systemd/system/fleet-ota-guard.service"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A repository of its own: what others publish must not be older than what is published here."""
    return Project(tmp_path_factory.mktemp("reboot") / "p")


@pytest.fixture(scope="module")
def releases(project: Project) -> dict[str, Bundle]:
    """Versions of `gateway`: 1 as usual, 2 reboots, 3 reboots and is silent, 4 reboots and never passes in time."""
    slow = health(PORT, timeout=120, more=[{"name": "never", "type": "file", "path": "/run/never"}])
    return {
        "1": project.publish(project.gateway("1")),
        "2": project.publish(project.gateway("2", reboot="always")),
        "3": project.publish(project.gateway("3", reboot="always", silent=True)),
        "4": project.publish(project.gateway("4", reboot="always", health=slow)),
        "5": project.publish(project.gateway("5", reboot="if_needed")),
    }


@pytest.fixture
def engine(project: Project, releases: dict[str, Bundle], lab_device: Device) -> Engine:
    engine = Engine(lab_device)
    engine.enroll(project)
    assert engine.update(releases["1"], rollout="first")["outcome"] == "updated"
    return engine


def version(device: Device) -> object:
    return (evidence.http_json(device, PORT, wait=5) or {}).get("version")


def up(engine: Engine, boots: int) -> None:
    """Wait for a boot of the device's own making, until it answers."""
    engine.wait_for_boot(boots)
    engine.device.wait()


def test_a_release_reboots_is_proven_after_it_and_waits_for_its_confirm(
    engine: Engine, releases: dict[str, Bundle]
) -> None:
    """Nobody asks anything between the reboot and the confirm: the controller is gone."""
    device, before = engine.device, engine.device.boot_id
    reply = engine.apply(releases["2"])
    assert (reply["state"], reply["rebooting"], reply["boot_id"]) == ("rebooting", True, before), reply
    up(engine, 2)
    found = engine.wait_for("unconfirmed", "restored", "broken")
    assert found["state"] == "unconfirmed" and found["boots"] == 1, found
    assert device.boot_id != before
    assert version(device) == "2"
    assert engine.call("confirm")["outcome"] == "updated"
    assert not (device.root / UNIT.lstrip("/")).exists(), "the guard is there only while a transaction is open"


@pytest.mark.long
def test_if_needed_looks_for_the_note_of_the_package_tools(engine: Engine, releases: dict[str, Bundle]) -> None:
    assert engine.apply(releases["5"], rollout="a")["state"] == "unconfirmed"
    assert engine.call("restore", rollout="a", wait=30)["outcome"] == "restored"
    engine.device.run(["touch", "/run/reboot-required"])
    assert engine.apply(releases["5"], rollout="b", retry_rejected=True)["state"] == "rebooting"
    up(engine, 2)
    engine.wait_for("unconfirmed")


def test_the_deadline_begins_anew_after_the_boot_and_a_way_back_is_booted_too(
    engine: Engine, releases: dict[str, Bundle]
) -> None:
    assert engine.apply(releases["2"], deadline=6)["state"] == "rebooting"
    engine.device.unplug()
    engine.wait_for_boot(2)
    engine.wait_for("unconfirmed")
    engine.wait_for("restoring", timeout=20)
    engine.wait_for_boot(3)
    found = engine.wait_for("restored", "broken")
    assert (found["state"], found["code"]) == ("restored", "DEADLINE"), found
    engine.device.plug()
    assert version(engine.device) == "1"
    assert engine.device.boots == 3, "the way back is booted once, not again and again"


@pytest.mark.long
def test_unhealthy_after_the_boot_goes_back(engine: Engine, releases: dict[str, Bundle]) -> None:
    assert engine.apply(releases["3"])["state"] == "rebooting"
    up(engine, 3)
    found = engine.wait_for("restored", "broken")
    assert (found["state"], found["code"]) == ("restored", "HEALTH"), found
    assert version(engine.device) == "1"


def test_a_boot_that_never_comes_to_health_is_restored_at_the_third(
    engine: Engine, releases: dict[str, Bundle]
) -> None:
    """Power fails again and again before the new release is proven: a reboot loop as the device sees it."""
    device = engine.device
    assert engine.apply(releases["4"])["state"] == "rebooting"
    for boot in (2, 3):
        engine.wait_for_boot(boot)
        engine.wait_for_count(boot - 1)
        engine.wait_for("checking")
        device.cut()
        device.launch()  # it may go down again before it has come up
    up(engine, 5)  # the third boot goes back, and boots what it went back to
    found = engine.wait_for("restored", "broken")
    assert (found["state"], found["code"]) == ("restored", "REBOOT"), found
    assert version(device) == "1"
    states = [json.loads(line)["state"] for line in history(device).splitlines()]
    assert "unconfirmed" not in states[states.index("rebooting") :]


def test_power_cut_while_it_goes_down(engine: Engine, releases: dict[str, Bundle]) -> None:
    call = engine.start_apply(releases["2"])
    engine.wait_for("rebooting")
    engine.device.cut()
    call.kill()
    engine.device.start()
    assert engine.wait_for("unconfirmed", "restored", "broken")["state"] == "unconfirmed"
    assert engine.call("confirm")["outcome"] == "updated"
    assert version(engine.device) == "2"


def test_a_lost_link_is_no_reboot(engine: Engine, releases: dict[str, Bundle]) -> None:
    before = engine.device.boot_id
    call = engine.start_apply(releases["5"])
    engine.wait_for("installing", "checking", "unconfirmed")
    engine.device.unplug()
    engine.wait_for("unconfirmed")
    engine.device.plug()
    call.kill()
    reply = engine.call("status")
    assert (reply["boot_id"], reply["boots"], reply["rebooting"]) == (before, 0, False), reply


def test_a_confirm_over_the_connection_that_applied_is_refused_by_the_device(
    engine: Engine, releases: dict[str, Bundle]
) -> None:
    with tempfile.TemporaryDirectory(prefix="ota-") as folder:
        program, *rest = engine.device.ssh()
        master = subprocess.Popen([program, "-N", "-M", "-S", f"{folder}/c", *rest], stdin=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 20
            ask = [program, "-S", f"{folder}/c", "-O", "check", *rest]
            while subprocess.run(ask, capture_output=True, check=False).returncode:
                assert time.monotonic() < deadline
            engine.ssh_options = ["-S", f"{folder}/c"]
            assert engine.apply(releases["5"])["state"] == "unconfirmed"
            assert engine.call("confirm")["code"] == "SAME_CONNECTION"
            assert engine.call("status")["state"] == "unconfirmed"
            engine.ssh_options = []
            assert engine.call("confirm")["outcome"] == "updated"
        finally:
            master.terminate()
            master.wait()
