# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release that reboots into its own kernel and boot entry, on a machine with a boot loader.

Which entry ran is what the boot loader says on the console and the kernel in `/proc/cmdline`; both are looked at from
outside, and nobody calls the engine between an `apply` and what the tests call the controller's return. The releases'
health is which entry was booted, so no look before the reboot can pass for one after it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.integration.project import Project

from .engine import MachineEngine, boot_release, shown
from .machine import Machine

#: Emulated, the six boots of each test take too long for every change.
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0, reason="the disks of the machine are made by root only"),
]
#: What a look at the health says on the console.
LOOKS = "looks at the entry"


def release(project: Project, version: int, *, entry: int, interval: float = 0.2) -> Path:
    """A kernel release that reboots.

    :param entry: the version of the boot entry in which it calls the machine healthy
    :param interval: seconds between its two looks
    """
    look = f"echo '{LOOKS}' >/dev/ttyS0; grep -qw edge.version={entry} /proc/cmdline"
    check = {"name": "entry", "type": "command", "argv": ["sh", "-c", look]}
    health = {"passes": 2, "interval": interval, "timeout": 1 + 2 * interval, "checks": [check]}
    return boot_release(project, version, reboot="always", health=health)


def version(machine: Machine) -> str:
    """The version of the boot entry that runs."""
    return machine.run("cat /proc/cmdline").rpartition("edge.version=")[2].strip()


def goes_down(engine: MachineEngine, document: Path, project: Project, *entries: int) -> None:
    """Apply a release and wait until the boot loader has started these entries since power came on."""
    output, _errors = engine.start_apply(project.publish(document), deadline=3000).communicate(timeout=600)
    reply = json.loads(output or "{}")  # none if the machine went down first
    assert reply.get("outcome") is None and "error" not in reply, reply
    engine.machine.wait_for_entries(*entries)


def came_back(engine: MachineEngine, before: str) -> dict[str, Any]:
    """The machine's record when it waits for its confirm or has come to its end, in another boot than `before`."""
    engine.machine.wait_for_boot(after=before)
    found: dict[str, Any] = engine.wait_for("unconfirmed", "restored", "broken", timeout=600)
    return found


def confirmed(engine: MachineEngine) -> tuple[list[str], str]:
    """Confirm release 1 as a controller does: over a connection that is younger than the installation.

    Returns what the machine looks like then, and the id of the boot.
    """
    assert version(engine.machine) == "1"
    engine.machine.disconnect()
    assert engine.call("confirm")["outcome"] == "updated"
    return shown(engine.machine), engine.machine.wait_for_boot()


def assert_back(engine: MachineEngine, before: list[str], *entries: int) -> None:
    """Once it is tidied: release 1 runs, the machine looks as before, and these entries were started, no more."""
    engine.wait_for_tidy(timeout=600)
    assert version(engine.machine) == "1"
    assert shown(engine.machine) == before
    assert engine.machine.entries() == [str(entry) for entry in entries]


def test_a_kernel_is_booted_and_proven_and_the_next_one_goes_back_by_itself(tmp_path: Path, machine: Machine) -> None:
    project = Project(tmp_path / "p")
    engine = MachineEngine(machine)
    engine.enroll(project)
    boot = machine.wait_for_boot()

    # (a) The machine goes down and comes up with the new entry by itself, and waits there, healthy, for the confirm.
    goes_down(engine, release(project, 1, entry=1), project, 0, 1)
    found = came_back(engine, boot)
    assert (found["state"], found["boots"], found["snapshot_kind"]) == ("unconfirmed", 1, "lvm"), found
    status = engine.call("status")
    assert status["boot_id"] != boot and status["rebooting"] is False, status
    before, boot = confirmed(engine)

    # (b) Power is lost as the machine is on its way into an entry that is healthy in the old one only. Nobody asks it
    # anything: it comes to its end, back in the old entry.
    goes_down(engine, release(project, 2, entry=1), project, 0, 1, 2)
    machine.cut()
    machine.switch_on()
    machine.wait_for_entries(2, 1)
    found = came_back(engine, boot)
    assert (found["state"], found["outcome"], found["code"]) == ("restored", "restored", "HEALTH"), found
    assert found["boots"] == 2 and "after the reboot: entry:" in found["message"], found
    assert_back(engine, before, 2, 1)  # one boot there and one back


def test_power_cuts_while_it_is_proven_and_on_the_way_back(tmp_path: Path, machine: Machine) -> None:
    project = Project(tmp_path / "p")
    engine = MachineEngine(machine)
    engine.enroll(project)
    boot = machine.wait_for_boot()

    # (a) Between two looks at the health of the new kernel: proven in the next boot, and waits for its confirm.
    goes_down(engine, release(project, 1, entry=1, interval=20), project, 0, 1)
    machine.wait_for_text(LOOKS)
    machine.cut()
    machine.start()
    found = came_back(engine, boot)
    assert (found["state"], found["boots"]) == ("unconfirmed", 2), found
    before, boot = confirmed(engine)

    # (b) Everything is put back and the machine goes down to boot it: proven in the next boot.
    goes_down(engine, release(project, 2, entry=1), project, 1, 2, 1)
    machine.cut()
    machine.start()
    found = came_back(engine, boot)
    assert (found["state"], found["code"], found["boots"]) == ("restored", "HEALTH", 2), found
    assert_back(engine, before, 1)
