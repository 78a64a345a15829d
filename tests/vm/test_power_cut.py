# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release that brings another kernel and boot entry, on a machine with a boot loader, goes back whole.

Root is an LVM thin volume and goes back from a thin snapshot; `/boot` is a file system of its own and goes back file by
file. Power is cut by killing qemu. The place for a release that reboots is after `unconfirmed`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.engine import STATE, Engine
from tests.integration.project import Project
from tests.lab import debs

from . import image
from .machine import Machine

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the disks of the machine are made by root only")
STAMP = "/usr/lib/edge-boot/version"


class MachineEngine(Engine):
    """The engine on the machine; its record is read over SSH."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)  # type: ignore[arg-type]
        self.machine = machine

    def transaction(self) -> dict[str, Any]:
        text = self.machine.run(f"cat {STATE}/transaction.json", check=False)
        found: dict[str, Any] = json.loads(text) if text.strip() else {"state": "idle"}
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    found = Machine(tmp_path / "machine")
    found.start()
    yield found
    found.cut()


def boot_release(project: Project, machine: Machine, version: int, *, slow: bool = False) -> Path:
    """A package with a boot entry, a copy of the kernel and of its initrd as `/boot/*-VERSION`."""
    kernel, initrd = (image.ensure() / "kernel").read_text().split()
    entry = image.ENTRY.format(version=version, kernel=f"vmlinuz-{version}", initrd=f"initrd-{version}")
    copies = f"cp /boot/{kernel} /boot/vmlinuz-{version}\ncp /boot/{initrd} /boot/initrd-{version}\nsync\n"
    wait = "sync\necho reached >/run/edge-boot\nsleep 300\n" if slow else ""
    files = {"/boot/grub/entry.cfg": (0o644, entry), STAMP: (0o644, f"{version}\n")}
    scripts = {"postinst": f"#!/bin/sh\nset -e\n{copies}{wait}"}
    package = debs.package("edge-boot", str(version), "", files, scripts, project.folder / "build")
    payload = {"name": "boot", "type": "deb", "source": str(package.relative_to(project.folder))}
    document = {"format": 1, "name": "boot", "version": str(version), "counter": version, "payloads": [payload]}
    return project.write({**document, "protect": ["/boot"]})


def shown(machine: Machine) -> list[str]:
    """What of the machine a release changes: boot files with their digests, the package, and what it brought."""
    command = f"sha256sum /boot/* /boot/grub/* 2>/dev/null; cat {STAMP} 2>&1; dpkg-query -W edge-boot 2>&1; lvs"
    return machine.run(command + " --noheadings -o lv_name").splitlines()


def test_a_kernel_and_its_boot_entry_go_back_after_a_power_cut(tmp_path: Path, machine: Machine) -> None:
    project = Project(tmp_path / "p")
    engine = MachineEngine(machine)
    engine.enroll(project)
    assert "lvm" in engine.call("info")["capabilities"]["snapshots"]
    assert "edge.version=0" in machine.run("cat /proc/cmdline")

    # (a) The snapshot by itself: taken, proven, put back.
    machine.run("mkdir /srv/x && echo old >/srv/x/file")
    assert engine.call("snapshot", action="create", name="mine", paths=["/srv/x", "/boot/grub"])["kind"] == "lvm"
    machine.run("echo new >/srv/x/file; echo new >/boot/grub/entry.cfg; echo more >/srv/x/more")
    reply = engine.call("snapshot", action="restore", name="mine")
    assert reply["paths"] == ["/boot/grub/entry.cfg", "/srv/x/file", "/srv/x/more"], reply
    assert engine.call("snapshot", action="remove", name="mine")["changed"] is True
    before = shown(machine)
    assert [line.strip() for line in before[-2:]] == ["pool", "root"], before

    # (b) Power is lost when the new kernel and its entry are in place.
    bundle = project.publish(boot_release(project, machine, 1, slow=True))
    call = engine.start_apply(bundle, deadline=3000)
    end = time.monotonic() + 180
    while not machine.run("cat /run/edge-boot 2>/dev/null", check=False):
        assert time.monotonic() < end, engine.transaction()
        time.sleep(0.5)
    assert engine.transaction()["snapshot_kind"] == "lvm"
    machine.cut()
    call.kill()
    machine.start()
    assert "edge.version=1" in machine.run("cat /proc/cmdline"), "the new entry was on disk and started"
    found = engine.wait_for("restored", "broken", timeout=180)
    assert (found["state"], found["code"]) == ("restored", "INTERRUPTED"), found
    end = time.monotonic() + 60
    while not engine.transaction().get("tidied"):  # the snapshot is removed after the end is on record
        assert time.monotonic() < end, engine.transaction()
        time.sleep(0.5)
    assert shown(machine) == before
    machine.cut()
    machine.start()
    assert "edge.version=0" in machine.run("cat /proc/cmdline"), "the old kernel starts again"
    assert engine.transaction()["outcome"] == "restored"
