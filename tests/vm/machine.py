# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual machine: power, and ways in. Software emulation, so that it runs wherever qemu does."""

from __future__ import annotations

import contextlib
import random
import re
import socket
import subprocess
import time
from pathlib import Path

from tests.lab import host
from tests.lab.errors import LabError

from . import image

BOOT_TIMEOUT = 600.0  # seconds; emulated on a busy machine, a boot takes minutes
CONSOLE_LINES = 25  # that a failure shows
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
LOADER = "Booting `edge "  # what GRUB says, before the version, when it starts an entry


def _free_port() -> int:
    """A port of this machine that nobody has, and that the kernel gives nobody as the near end of a connection.

    The machine needs it again after each power cut.
    """
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _attempt in range(100):
        port = random.randrange(1024, first)
        with socket.socket() as handle, contextlib.suppress(OSError):
            handle.bind(("127.0.0.1", port))
            return port
    raise LabError(f"none of 100 ports between 1024 and {first} is free")


class Machine:
    """One machine with disks of its own in `folder`. Its network reaches nothing; one port leads to its SSH server."""

    name = "edge"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._image = image.ensure()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("boot.ext4", "root.img"):
            host.run(["cp", "--sparse=always", str(self._image / name), str(folder / name)])
        self._port = _free_port()
        key = (self._image / "host_key.pub").read_text().split()
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{self._port} {key[0]} {key[1]}\n")

    def start(self) -> None:
        """Switch on and wait until SSH answers."""
        self.switch_on()
        self.wait_for_boot()

    def switch_on(self) -> None:
        """Switch on; the console begins anew."""
        (self.folder / "console").write_text("")  # by us: nobody may read what the last power-on left
        argv = [*image.QEMU, "-serial", f"file:{self.folder}/console", "-kernel", str(self._image / "grub.lkrn")]
        for name in ("boot.ext4", "root.img"):
            argv += ["-drive", f"file={self.folder}/{name},format=raw,if=virtio,cache=writeback"]
        argv += ["-netdev", f"user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:{self._port}-:22"]
        argv += ["-device", "virtio-net-pci,netdev=n,romfile=", "-device", "virtio-rng-pci"]
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)

    def wait_for_boot(self, after: str = "") -> str:
        """Wait until SSH answers; returns the boot's id.

        :param after: the id of the boot that has to be over
        :raises LabError: when it does not answer in time
        """
        end = time.monotonic() + BOOT_TIMEOUT
        while not (found := self.run(BOOT_ID, check=False).strip()) or found == after:
            self._still(end, "did not come up")
            time.sleep(0.5)
        return found

    def wait_for_entries(self, *versions: int) -> None:
        """Wait until the boot loader has started exactly these boot entries, in that order, since power came on.

        :raises LabError: when it has started others, or does not in time
        """
        wanted, end = [str(version) for version in versions], time.monotonic() + BOOT_TIMEOUT
        while (found := self.entries()) != wanted:
            if found != wanted[: len(found)]:
                raise LabError(f"the boot loader started the entries {found}, not {wanted}")
            self._still(end, f"started the entries {found}, not {wanted}")
            time.sleep(0.05)

    def wait_for_text(self, text: str) -> None:
        """Wait until the console shows it in the boot that runs.

        :raises LabError: when it does not in time
        """
        end = time.monotonic() + BOOT_TIMEOUT
        while text not in self.console().rpartition(LOADER)[2]:
            self._still(end, f"never showed {text!r}")
            time.sleep(0.05)

    def console(self) -> str:
        """What the serial console showed since power came on."""
        return (self.folder / "console").read_text(errors="replace")

    def entries(self) -> list[str]:
        """The versions of the boot entries that the boot loader has started since power came on."""
        return re.findall(LOADER + r"(\d+)'", self.console())

    def _still(self, end: float, problem: str) -> None:
        if time.monotonic() > end or self._process is None or self._process.poll() is not None:
            shown = "\n".join(self.console().splitlines()[-CONSOLE_LINES:])
            power = "on" if self._process is not None and self._process.poll() is None else "off"
            raise LabError(f"the machine {problem}; its power is {power}, and its console ends with\n{shown}")

    def cut(self) -> None:
        """Power cut: what the machine has not written to its disks is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self.disconnect()

    def disconnect(self) -> None:
        """Let go of the shared connection; the next call makes another."""
        subprocess.run([*self.ssh()[:-1], "-O", "exit", "127.0.0.1"], capture_output=True, check=False)

    def run(self, command: str, *, check: bool = True) -> str:
        """A shell command inside; its output."""
        done = subprocess.run(self.ssh(command), capture_output=True, text=True, check=False, timeout=600)
        if check and done.returncode:
            raise LabError(f"{command} ended with {done.returncode}: {done.stderr or done.stdout}")
        return done.stdout

    def ssh(self, *command: str, user: str = "root") -> list[str]:
        """The argument list of an ssh call."""
        known = f"UserKnownHostsFile={self.folder}/known_hosts"
        argv = ["ssh", "-F", "/dev/null", "-i", str(self._image / "id_ed25519"), "-p", str(self._port)]
        # One key exchange for each boot: emulated, it costs more than what is asked afterwards.
        argv += ["-o", "ControlMaster=auto", "-o", f"ControlPath={self.folder}/cm", "-o", "ControlPersist=300"]
        argv += ["-o", "KexAlgorithms=curve25519-sha256", "-o", "ServerAliveInterval=10"]
        argv += ["-o", known, "-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-l", user, "127.0.0.1", *command]
        return argv
