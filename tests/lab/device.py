# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One device: power, cable, reset button, and ways to look inside that do not depend on its network."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from . import base, host, network, seed
from .cgroup import ControlGroup
from .errors import LabError

REPOSITORY = Path(__file__).resolve().parents[2]
BOOT_TIMEOUT = 90.0
# ext4's own way to play a power loss for tests: from now on nothing reaches the disk, not even the journal.
# include/uapi/linux/ext4.h: EXT4_IOC_SHUTDOWN = _IOR('X', 125, __u32), EXT4_GOING_FLAGS_NOLOGFLUSH = 2
EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = (2).to_bytes(4, sys.byteorder)


@dataclass(frozen=True)
class Disk:
    """What a device's root file system is.

    `kind` is overlay, btrfs or ext4; `base` the folder of the base system; `size` bytes of an image.
    """

    kind: str
    base: str
    size: int


@dataclass(frozen=True)
class Status:
    """`power` and `cable` as booleans, `boots` since the last reset, `pid` of the device's pid 1 on this machine."""

    name: str
    address: str
    power: bool
    cable: bool
    boots: int
    pid: int | None


class Device:
    """Device `number` of a fleet. All of it lies in one folder and in namespaces and a control group named after it."""

    def __init__(self, fleet_folder: Path, fleet: str, number: int, controller: str, disk: Disk) -> None:
        """:param fleet_folder: the fleet's state; :param controller: its network namespace"""
        self.number = number
        self.name = f"dev{number}"
        self.address = network.address(number)
        self.folder = fleet_folder / f"d{number}"
        self.disk = disk
        self.machine = f"fleet-ota-lab-{fleet}-d{number}"
        self._fleet = fleet
        self._fleet_folder = fleet_folder
        self._controller = controller
        self._group = ControlGroup(self.machine)
        self._unplugged = self.folder / "unplugged"

    def __repr__(self) -> str:
        return f"<device {self.name} of fleet {self._fleet}>"

    # -- power ----------------------------------------------------------------------------------------------------

    def prepare(self, public_key: str) -> None:
        """Make the device's folder and what is its own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        seed.make(self.folder / "seed", fleet=self._fleet, name=self.name, public_key=public_key)

    def launch(self) -> None:
        """Switch on without waiting; does nothing when it is on."""
        if self.on:
            return
        self._group.kill()  # what a killed run may have left
        for name in ("root", "top", "work"):
            (self.folder / name).mkdir(exist_ok=True)
        self._make_disk()
        network.attach(self._controller, self.machine, self.number, plugged=not self._unplugged.exists())
        self._group.make()
        config = {**asdict(self.disk), "fs": self.disk.kind, "machine": self.machine, "netns": self.machine}
        (self.folder / "device.json").write_text(json.dumps({**config, "hostname": self.name}))
        argv = ["unshare", "--mount", "--propagation", "private"]
        argv += [sys.executable, "-m", "tests.lab.supervisor", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            null = subprocess.DEVNULL
            supervisor = subprocess.Popen(
                argv, cwd=REPOSITORY, stdin=null, stdout=log, stderr=log, start_new_session=True
            )
        self._group.add("keeper", supervisor.pid)

    def wait(self, timeout: float = BOOT_TIMEOUT) -> None:
        """Wait until SSH answers (with the cable plugged) and systemd has come to rest.

        :param timeout: seconds
        :raises LabError: when the device does not come up
        """
        if not self._unplugged.exists():
            try:
                network.wait_for_banner(self._controller, [self.address], timeout)
            except LabError as error:
                raise LabError(f"{self.name}: {error} {self.folder}/log") from error
        self._until(self._at_rest, "did not come up", timeout)

    def start(self) -> None:
        """Switch on and wait until the device is up."""
        self.launch()
        self.wait()

    def cut(self, *, lose_unsynced: bool = False) -> None:
        """Power cut: everything ends at once, the disk stays as it is. Peers of open connections are not told.

        The machine's page cache survives, so writes that the device never synced are normally kept.

        :param lose_unsynced: throw them away, as a real power cut does (ext4 only)
        :raises LabError: when that is not possible on this disk
        """
        if lose_unsynced:
            self._shut_file_system_down()
        network.pull(self._controller, self.number)
        self._group.kill()
        network.remove(self.machine)

    def reboot(self) -> None:
        """Reboot in good order from inside, and wait until the device is up again."""
        before = self.boots
        self.run(["systemctl", "reboot"], check=False)  # may itself be ended by the reboot
        self._until(lambda: self.boots > before, "did not boot again")
        self.wait()

    def keep(self, name: str) -> None:
        """Power cut, and keep the disk as it is now under a name for `reset`; the device stays off."""
        self.cut()
        kept = self.folder / f"kept-{name}"
        host.run(["rm", "-rf", str(kept)])
        kept.mkdir()
        for disk in self._disk_files():
            host.run(["cp", "-a", "--sparse=always", "--reflink=auto", str(disk), str(kept)])

    def reset(self, kept: str | None = None) -> None:
        """Factory reset: power cut, a new disk, and up again; the host key stays and the cable is plugged.

        :param kept: go back to the disk that `keep` kept under this name instead
        :raises LabError: when nothing was kept under it
        """
        source = self.folder / f"kept-{kept}"
        if kept is not None and not source.is_dir():
            raise LabError(f"{self.name} has kept no disk {kept!r}; keep one first")
        self.cut()
        for path in (*self._disk_files(), self.folder / "work"):
            host.run(["rm", "-rf", "--one-file-system", str(path)])
        for name in ("boots", "unplugged"):
            (self.folder / name).unlink(missing_ok=True)
        if kept is not None:
            host.run(["cp", "-a", "--sparse=always", "--reflink=auto", f"{source}/.", str(self.folder)])
        self.start()

    def _disk_files(self) -> list[Path]:
        names = ("upper",) if self.disk.kind == "overlay" else ("disk.img", "seeded")
        return [self.folder / name for name in names if (self.folder / name).exists()]

    # -- cable ----------------------------------------------------------------------------------------------------

    def unplug(self) -> None:
        """Pull the network cable; it stays out over power cuts and reboots."""
        self._unplugged.touch()
        if network.exists(self.machine):
            network.switch(self._controller, self.number, plugged=False)

    def plug(self) -> None:
        """Put the network cable back."""
        self._unplugged.unlink(missing_ok=True)
        if network.exists(self.machine):
            network.switch(self._controller, self.number, plugged=True)

    def lose_controller(self) -> None:
        """Cut it off from the controller alone, without a sign to either; it boots with the way back open."""
        network.mislead(self.machine, network.CONTROLLER)

    # -- looking inside -------------------------------------------------------------------------------------------

    @property
    def on(self) -> bool:
        """Whether anything of the device runs."""
        return self._group.populated()

    @property
    def boots(self) -> int:
        """How often it booted since the last reset."""
        try:
            return int((self.folder / "boots").read_text())
        except (OSError, ValueError):
            return 0

    @property
    def pid(self) -> int | None:
        """Process id, on this machine, of the device's pid 1; None when it is off or still below systemd."""
        depth = len(_namespace_pids("self"))
        for process in self._group.processes():
            pids = _namespace_pids(str(process))
            if len(pids) == depth + 1 and pids[-1] == "1":
                return process
        return None

    @property
    def root(self) -> Path:
        """The running device's root folder, readable from this machine.

        :raises LabError: when it is off
        """
        return Path(f"/proc/{self._pid_or_error()}/root")

    def run(
        self, argv: Sequence[str], *, check: bool = True, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside as root without SSH, so also while the cable is out.

        :raises LabError: when the device is off, or the program fails and `check` is set
        """
        enter = ["nsenter", "--target", str(self._pid_or_error()), "--mount", "--uts", "--ipc", "--net", "--pid"]
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        command = [*enter, "--root", "--wd", "env", "-i", path, "HOME=/root", "LC_ALL=C.UTF-8", *argv]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise LabError(f"{self.name}: {' '.join(argv)} ended with {done.returncode}: {done.stderr or done.stdout}")
        return done

    def ssh(self, *command: str, user: str = "root") -> list[str]:
        """The argument list of an ssh call to this device, to be given to subprocess."""
        return ["ssh", "-F", str(self._fleet_folder / "ssh_config"), "-l", user, self.name, *command]

    def status(self) -> Status:
        """Everything at a glance."""
        pid = self.pid
        return Status(self.name, self.address, pid is not None, not self._unplugged.exists(), self.boots, pid)

    @property
    def boot_id(self) -> str:
        """The kernel's random id of this boot, as the device sees it."""
        return self.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout.strip()

    # -- inner parts ----------------------------------------------------------------------------------------------

    def _pid_or_error(self) -> int:
        pid = self.pid
        if pid is None:
            raise LabError(f"{self.name} is off; switch it on with `start {self.number}`")
        return pid

    def _make_disk(self) -> None:
        if self.disk.kind == "overlay":
            if not (self.folder / "upper").exists():
                shutil.rmtree(self.folder / "upper.new", ignore_errors=True)
                host.run(["cp", "-a", str(self.folder / "seed"), str(self.folder / "upper.new")])
                (self.folder / "upper.new").rename(self.folder / "upper")
            return
        disk = self.folder / "disk.img"
        if not disk.exists():
            (self.folder / "seeded").unlink(missing_ok=True)
            template = base.image(Path(self.disk.base), self.disk.kind, self.disk.size)
            unfinished = disk.with_suffix(".new")
            host.run(["cp", "--sparse=always", "--reflink=auto", str(template), str(unfinished)])
            unfinished.rename(disk)

    def _at_rest(self) -> bool:
        pid = self.pid
        if pid is None:
            return False
        if Path(f"/proc/{pid}/comm").read_text().strip() in ("init", "busybox"):
            return True  # no systemd: whoever listens is up
        # Waits by itself once systemd's message bus is there, and fails before that.
        answer = self.run(["systemctl", "is-system-running", "--wait"], check=False).stdout.strip()
        return answer in ("running", "degraded")

    def _until(self, done: Callable[[], bool], otherwise: str, timeout: float = BOOT_TIMEOUT) -> None:
        """Wait for something that gives no event to this machine; fail at once when the device is off."""
        deadline = time.monotonic() + timeout
        while not done():
            if time.monotonic() > deadline or not self.on:
                raise LabError(f"{self.name} {otherwise}; see {self.folder}/log")
            time.sleep(0.02)

    def _shut_file_system_down(self) -> None:
        if self.disk.kind != "ext4":
            raise LabError(f"{self.name}: un-synced writes can only be lost on ext4, this disk is {self.disk.kind}")
        handle = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(handle, EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH)
        finally:
            os.close(handle)


def _namespace_pids(process: str) -> list[str]:
    """A process's ids from the outermost visible namespace to its own; empty when it is gone."""
    try:
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return line.split()[1:]
    except OSError:
        pass
    return []
