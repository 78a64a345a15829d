# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transactions with real packages on real devices: the engine alone, without Ansible.

Each test compares what the device itself shows before and after: every file's content, owner, mode and attributes, the
package database, and the answer of the service.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.client.bundle import Bundle

from tests.lab import Device, debs, evidence, service

from .engine import Engine
from .project import Project
from .site import assert_same, look


@dataclasses.dataclass
class Site:
    """A project and one enrolled device, which runs version 2 with an edited configuration."""

    project: Project
    engine: Engine
    device: Device


@pytest.fixture
def site(project: Project, lab_device: Device) -> Site:
    engine = Engine(lab_device)
    engine.enroll(project)
    for name in ("1", "2"):
        reply = engine.update(published(project, name))
        assert reply.get("outcome") == "updated", reply
        if name == "1":
            lab_device.run(["sed", "-i", "s/hello/edited/", debs.SETTINGS])
    return Site(project, engine, lab_device)


def published(project: Project, name: str) -> Bundle:
    """A version of `meter` from the repository that lists all of them."""
    return project.fetch(f"meter/{debs.VERSIONS[name].version}")


def test_an_update_brings_the_new_package_and_its_dependency_and_keeps_edited_configuration(site: Site) -> None:
    packages = evidence.packages(site.device)
    assert packages["meter:all"] == ("2", "install ok installed")
    assert packages["meter-codec:all"] == ("1", "install ok installed")
    answer = {"status": "ok", "version": "2", "greeting": "edited", "codec": "codec 1"}
    assert evidence.http_json(site.device, service.PORT) == answer
    assert "edited" in (evidence.read(site.device, debs.SETTINGS) or "")


@pytest.mark.parametrize(
    ("name", "rehearsal", "end"),
    [
        ("3-silent", "required", ("restored", "HEALTH")),
        ("4-postinst-fails", "auto", ("refused", "REHEARSAL")),
        ("4-postinst-fails", "off", ("restored", "INSTALL")),
        ("5-user-and-removal", "auto", ("restored", "HEALTH")),
    ],
)
def test_a_bad_package_leaves_no_trace(site: Site, name: str, rehearsal: str, end: tuple[str, str]) -> None:
    before = look(site.device)
    reply = site.engine.update(published(site.project, name), rehearsal=rehearsal)
    assert (reply["outcome"], reply["code"]) == end, reply
    assert_same(before, look(site.device))
    again = site.engine.update(published(site.project, name))
    assert (again["outcome"], again["code"]) == ("refused", "REJECTED" if end[0] == "restored" else end[1])


def test_a_first_installation_that_fails_leaves_no_trace(project: Project, lab_device: Device) -> None:
    engine = Engine(lab_device)
    engine.enroll(project)
    before = look(lab_device)
    reply = engine.update(published(project, "3-silent"))
    assert reply["outcome"] == "restored", reply
    assert_same(before, look(lab_device))


def test_a_device_that_nobody_reaches_goes_back_by_itself(project: Project, lab_device: Device) -> None:
    engine = Engine(lab_device)
    engine.enroll(project)
    assert engine.update(published(project, "1"))["outcome"] == "updated"
    before = look(lab_device)
    assert engine.apply(published(project, "2"), deadline=10)["state"] == "unconfirmed"
    lab_device.unplug()
    assert engine.wait_for("restored", "broken", timeout=40)["code"] == "DEADLINE"
    assert_same(before, look(lab_device))
    lab_device.plug()
    assert engine.call("info")["transaction"]["outcome"] == "restored"


@pytest.mark.parametrize("state", ["installing", "checking"])
def test_a_power_cut_in_the_middle_ends_on_the_old_release(project: Project, lab_device: Device, state: str) -> None:
    engine = Engine(lab_device)
    engine.enroll(project)
    assert engine.update(published(project, "1"))["outcome"] == "updated"
    before = look(lab_device)
    call = engine.start_apply(published(project, "3-silent"))
    engine.wait_for(state)
    lab_device.cut()
    call.kill()
    lab_device.start()
    assert engine.wait_for("restored", "broken")["code"] == "INTERRUPTED"
    assert_same(before, look(lab_device))


def test_the_installation_survives_the_end_of_its_ssh_session(project: Project, lab_device: Device) -> None:
    engine = Engine(lab_device)
    engine.enroll(project)
    bundle = published(project, "1")
    call = engine.start_apply(bundle)
    engine.wait_for("installing")
    lab_device.run(["systemctl", "kill", "--signal=KILL", "--kill-whom=all", "ssh.service"])
    call.kill()
    engine.wait_for("unconfirmed")
    lab_device.run(["systemctl", "restart", "ssh"])
    assert engine.call("confirm")["outcome"] == "updated"
    assert evidence.http_json(lab_device, service.PORT) == {"status": "ok", "version": "1", "greeting": "hello"}


def test_a_changed_byte_is_refused_and_nothing_touched(site: Site, tmp_path: Path) -> None:
    before = look(site.device)
    bundle = published(site.project, "3-silent")
    site.engine.stage(bundle)
    inbox = site.device.root / "var/lib/fleet-ota/inbox"
    path = next(path for path in inbox.iterdir() if path.stat().st_size > 0)
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    reply = site.engine.call("apply", bundle=bundle.wire(), wait=30, rollout="x")
    assert (reply["outcome"], reply["code"]) == ("refused", "HASH_MISMATCH"), reply
    assert_same(before, look(site.device))


def test_the_installation_survives_the_restart_of_sshd_and_network(project: Project, lab_device: Device) -> None:
    engine = Engine(lab_device)
    engine.enroll(project)
    call = engine.start_apply(published(project, "1"))
    engine.wait_for("installing")
    lab_device.run(["systemctl", "restart", "ssh"])
    lab_device.unplug()
    engine.wait_for("unconfirmed")
    lab_device.plug()
    call.kill()
    assert engine.call("confirm")["outcome"] == "updated"
    assert evidence.http_json(lab_device, service.PORT) == {"status": "ok", "version": "1", "greeting": "hello"}
