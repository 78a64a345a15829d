# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release that brings another kernel and boot entry, on a machine with a boot loader, goes back whole.

Root is an LVM thin volume and goes back from a thin snapshot; `/boot` is a file system of its own and goes back file by
file. Power is cut by killing qemu. A release that reboots into its kernel: `test_reboot.py`.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.integration.project import Project

from .engine import MachineEngine, boot_release, shown
from .machine import Machine

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the disks of the machine are made by root only")
#: The installation has come to its end, and stays there; a rehearsal has a /run of its own.
REAL = "/run/edge-real"
HANGS = f"test -e {REAL} || exit 0\nsync\necho reached >/run/edge-boot\nsleep 3000\n"


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
    machine.run(f"touch {REAL}")
    bundle = project.publish(boot_release(project, 1, postinst=HANGS))
    call = engine.start_apply(bundle, deadline=3000)
    end = time.monotonic() + 600
    while not machine.run("cat /run/edge-boot 2>/dev/null", check=False):
        assert time.monotonic() < end, engine.transaction()
        time.sleep(0.5)
    assert engine.transaction()["snapshot_kind"] == "lvm"
    machine.cut()
    call.kill()
    machine.start()
    assert "edge.version=1" in machine.run("cat /proc/cmdline"), "the new entry was on disk and started"
    found = engine.wait_for("restored", "broken", timeout=600)
    assert (found["state"], found["code"]) == ("restored", "INTERRUPTED"), found
    engine.wait_for_tidy(timeout=600)  # the snapshot is removed after the end is on record
    assert shown(machine) == before
    machine.cut()
    machine.start()
    assert "edge.version=0" in machine.run("cat /proc/cmdline"), "the old kernel starts again"
    assert engine.transaction()["outcome"] == "restored"
