# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine on the virtual machine, and the releases of its kernel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.integration.engine import STATE, Engine
from tests.integration.project import Project
from tests.lab import debs

from . import image
from .machine import Machine

#: What the package brings beside the kernel and its entry.
STAMP = "/usr/lib/edge-boot/version"


class MachineEngine(Engine):
    """The engine on the machine; its record is read over SSH."""

    call_timeout = 600.0

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)  # type: ignore[arg-type]
        self.machine = machine

    def transaction(self) -> dict[str, Any]:
        text = self.machine.run(f"cat {STATE}/transaction.json", check=False)
        found: dict[str, Any] = json.loads(text) if text.strip() else {"state": "idle"}
        return found


def boot_release(project: Project, version: int, *, postinst: str = "", **changes: Any) -> Path:
    """A package with a boot entry, a copy of the kernel and of its initrd as `/boot/*-VERSION`.

    :param postinst: shell commands at the end of the installation, when all of it is on disk
    :param changes: more keys of the release document
    """
    kernel, initrd = (image.ensure() / "kernel").read_text().split()
    entry = image.ENTRY.format(version=version, kernel=f"vmlinuz-{version}", initrd=f"initrd-{version}")
    copies = f"cp /boot/{kernel} /boot/vmlinuz-{version}\ncp /boot/{initrd} /boot/initrd-{version}\nsync\n"
    files = {"/boot/grub/entry.cfg": (0o644, entry), STAMP: (0o644, f"{version}\n")}
    scripts = {"postinst": f"#!/bin/sh\nset -e\n{copies}{postinst}"}
    package = debs.package("edge-boot", str(version), "", files, scripts, project.folder / "build")
    payload = {"name": "boot", "type": "deb", "source": str(package.relative_to(project.folder))}
    document = {"format": 1, "name": "boot", "version": str(version), "counter": version, "payloads": [payload]}
    return project.write({**document, "protect": ["/boot"], **changes})


def shown(machine: Machine) -> list[str]:
    """What of the machine a release changes: boot files with their digests, the package, and what it brought."""
    command = f"sha256sum /boot/* /boot/grub/* 2>/dev/null; cat {STAMP} 2>&1; dpkg-query -W edge-boot 2>&1; lvs"
    return machine.run(command + " --noheadings -o lv_name").splitlines()
