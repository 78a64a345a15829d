# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A device without systemd: BusyBox is its pid 1 and runs `/etc/init.d/S??*`, as Buildroot's systems do."""

from __future__ import annotations

import shutil

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.client.bundle import Bundle

from tests.lab import Device, archives, evidence, host

from .engine import Engine
from .project import HARDWARE, Project

HOOK = "etc/init.d/S99fleet-ota-guard"
CURRENT = f"{archives.DESTINATION}/current/VERSION"
INITTAB = "::sysinit:/etc/init.d/rcS\n::respawn:/usr/sbin/sshd -D\n::shutdown:/bin/sync\n"
RCS = '#!/bin/sh\nmkdir -p /run/sshd\nfor i in /etc/init.d/S??*; do [ -x "$i" ] && "$i" start; done\n'
#: Turns the lab's base system into one; nspawn boots systemd where it finds one.
CONVERT = "rm /usr/lib/systemd/systemd; ln -sf /usr/bin/busybox /sbin/init; ln -sf /usr/bin/busybox /sbin/reboot"


@pytest.fixture
def engine(lab_device: Device, project: Project) -> Engine:
    host.need({"busybox": "busybox"})
    program = shutil.which("busybox")
    assert program is not None
    root = lab_device.root
    shutil.copy(program, root / "usr/bin/busybox")
    (root / "etc/inittab").write_text(INITTAB)
    (root / "etc/init.d/rcS").write_text(RCS)
    (root / "etc/init.d/rcS").chmod(0o755)
    lab_device.run(["sh", "-ec", CONVERT])
    lab_device.cut()
    lab_device.start()
    engine = Engine(lab_device)
    engine.enroll(project)
    assert engine.update(release(project, "31"))["outcome"] == "updated"
    return engine


def release(project: Project, version: str, name: str = "bare", **changes: object) -> Bundle:
    """A version of `gateway` that needs no systemd, as the release ``name``."""
    archive = archives.build(version, project.folder / "build")
    source = str(archive.relative_to(project.folder))
    payload = {"name": "app", "type": "archive", "source": source, "destination": archives.DESTINATION}
    check = {"name": "there", "type": "file", "path": CURRENT, "contains": version}
    document = {"format": 1, "name": name, "version": version, "counter": int(version), "payloads": [payload]}
    health = {"passes": 2, "interval": 0.1, "timeout": 5, "checks": [check]}
    document.update({"compatible": {"hardware": [HARDWARE]}, "health": health, **changes})
    return project.publish(project.write(document))


def test_the_guard_outlives_a_power_cut_by_a_boot_hook(engine: Engine, project: Project) -> None:
    device = engine.device
    assert engine.call("info")["capabilities"]["guard"] == "process"
    reply = engine.apply(release(project, "32"), deadline=8)
    assert reply["state"] == "unconfirmed", reply
    assert (device.root / HOOK).exists()
    device.cut()
    device.start()
    found = engine.wait_for("restored", "broken", timeout=40)
    assert (found["state"], found["code"], found["boots"]) == ("restored", "DEADLINE", 1), found
    assert evidence.read(device, CURRENT) == "31\n"
    engine.wait_for_tidy()
    assert not (device.root / HOOK).exists(), "it is there only while a transaction is open"


def test_a_release_reboots_it_and_is_confirmed(engine: Engine, project: Project) -> None:
    device, before = engine.device, engine.device.boots
    reply = engine.apply(release(project, "33", reboot="always"))
    assert reply["state"] == "rebooting", reply
    engine.wait_for_boot(before + 1)
    assert engine.wait_for("unconfirmed", "restored", "broken")["state"] == "unconfirmed"
    device.wait()
    assert engine.call("confirm")["outcome"] == "updated"
    assert evidence.read(device, CURRENT) == "33\n"


@pytest.mark.long
def test_without_the_hook_it_is_refused(engine: Engine, project: Project) -> None:
    (engine.device.root / "etc/init.d/rcS").write_text("#!/bin/sh\n")
    reply = engine.apply(release(project, "34"))
    assert (reply["outcome"], reply["code"]) == ("refused", "NO_GUARD"), reply
    reply = engine.apply(release(project, "35", reboot="always"), guard="process")
    assert (reply["outcome"], reply["code"]) == ("refused", "NO_GUARD"), reply
