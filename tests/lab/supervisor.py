# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A device's power supply and firmware: mounts its disk, boots it, boots it again when it reboots.

Runs as ``python -m tests.lab.supervisor FOLDER`` in a mount namespace of its own, so that mounts and loop devices end
with the processes, however those end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from . import host
from .cgroup import ControlGroup
from .errors import LabError

REBOOT = 133  # what systemd-nspawn with --keep-unit ends with when the system inside asked for a reboot
DETACH_TIMEOUT = 20.0


class Supervisor:
    """Boots one device as often as it asks for."""

    def __init__(self, folder: Path) -> None:
        """:param folder: the device's folder, with `device.json` as `Device` wrote it"""
        self.folder = folder
        self.config: dict[str, Any] = json.loads((folder / "device.json").read_text())
        self.group = ControlGroup(self.config["machine"])
        self.root = folder / "root"
        self.boots = folder / "boots"

    def serve(self) -> None:
        """Boot until the device powers off or does not come up."""
        while True:
            number = int(self.boots.read_text()) + 1 if self.boots.exists() else 1
            self.boots.write_text(str(number))
            binds = self.mount()
            code = self.boot(binds)
            self.unmount()
            print(f"boot {number} of {self.config['machine']} ended with {code}", flush=True)
            if code != REBOOT:
                return

    def mount(self) -> list[str]:
        """Mount the disk at `root`; returns what else nspawn shall bind into the device."""
        kind = self.config["fs"]
        if kind == "overlay":
            layers = f"lowerdir={self.config['base']},upperdir={self.folder}/upper,workdir={self.folder}/work"
            host.run(["mount", "-t", "overlay", "-o", layers, "overlay", str(self.root)])
            return []
        disk = self.folder / "disk.img"
        wait_detached(disk)
        options = "loop,compress=zstd:1" if kind == "btrfs" else "loop"
        host.run(["mount", "-o", options, str(disk), str(self.root)])
        seeded = self.folder / "seeded"
        if not seeded.exists():
            host.run(["cp", "-a", f"{self.folder}/seed/.", str(self.root)])
            seeded.touch()
        if kind != "btrfs":
            return []
        # The tree above the subvolumes, where a root can be renamed and another be made the default.
        source = host.run(["findmnt", "-n", "-o", "SOURCE", str(self.root)]).split("[")[0].strip()
        host.run(["mount", "-o", "subvolid=5", source, str(self.folder / "top")])
        return [f"--bind={self.folder}/top:/.btrfs"]

    def unmount(self) -> None:
        """Take the disk out again, so that the next boot mounts it anew."""
        if self.config["fs"] == "btrfs":
            host.run(["umount", str(self.folder / "top")])
        host.run(["umount", str(self.root)])

    def boot(self, binds: list[str]) -> int:
        """Run systemd-nspawn until the device stops; returns its exit code."""
        argv = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--kill-signal=SIGRTMIN+3"]
        argv += [f"--machine={self.config['machine']}", f"--hostname={self.config['hostname']}"]
        argv += [f"--directory={self.root}", f"--network-namespace-path=/run/netns/{self.config['netns']}"]
        argv += ["--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=pipe", *binds, "--boot"]
        return subprocess.run(
            argv, stdin=subprocess.DEVNULL, preexec_fn=lambda: self.group.add("machine", os.getpid()), check=False
        ).returncode


def hide_old_cgroups() -> None:
    """Show the device a pure version 2 hierarchy where this machine has version 1 ones beside it.

    systemd 256 and newer refuse anything else; the mount is only in our own namespace.
    """
    mount = host.cgroup_mount()
    if mount is not None and mount != Path("/sys/fs/cgroup"):
        host.run(["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"])


def wait_detached(disk: Path) -> None:
    """Wait until no loop device holds the image: the kernel lets go of it a moment after the last process ended."""
    deadline = time.monotonic() + DETACH_TIMEOUT
    while host.run(["losetup", "--noheadings", "--output", "NAME", "--associated", str(disk)]).strip():
        if time.monotonic() > deadline:
            raise LabError(f"{disk} is still attached to a loop device; `losetup -a` names it")
        time.sleep(0.02)


def main() -> None:
    """Run the supervisor of the folder named on the command line."""
    hide_old_cgroups()
    Supervisor(Path(sys.argv[1])).serve()


if __name__ == "__main__":
    main()
