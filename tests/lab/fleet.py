# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet: N devices, the controller's side of their network, and the files Ansible and ssh need to reach them."""

from __future__ import annotations

import functools
import http.server
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import base, cgroup, host, network, seed
from .device import Device, Disk
from .errors import LabError

STATE = Path("/var/tmp")
#: For images of test fleets, where there is enough of it: a device that syncs waits for all that this machine writes.
MEMORY = Path("/dev/shm")
#: Bytes that a device with an image takes there, what tests keep of it included, and bytes that are left to others.
IMAGE_SHARE, MEMORY_LEFT = 3 * 1024**3 // 2, 3 * 1024**3
PREFIX = "fleet-ota-lab-"
KINDS = ("overlay", "btrfs", "ext4")
DISK_SIZE = 2 * 1024**3  # bytes
PARALLEL = 8  # devices booting at the same time


class Fleet:
    """A fleet by name. Several live side by side; a name belongs to one fleet on a machine."""

    def __init__(self, name: str) -> None:
        """:param name: up to 20 small letters, digits and dashes

        :raises LabError: when the name will not do
        """
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,19}", name):
            raise LabError(f"{name!r} is no name for a fleet: up to 20 small letters, digits, dashes; a letter first")
        self.name = name
        self.folder = next((folder for folder in self._places() if folder.exists()), STATE / f"{PREFIX}{name}")
        self.namespace = f"{PREFIX}{name}-ctl"
        self.devices: list[Device] = []
        settings = self._settings()
        if settings:
            self._adopt(settings)

    @property
    def inventory(self) -> Path:
        """YAML inventory; works from the machine's normal network namespace."""
        return self.folder / "inventory.yml"

    @property
    def ssh_config(self) -> Path:
        """For ``ssh -F`` and whatever reads such a file."""
        return self.folder / "ssh_config"

    @property
    def address(self) -> str:
        """The controller's address as devices see it (also as host name `controller`)."""
        return network.CONTROLLER

    def __getitem__(self, number: int) -> Device:
        """Device `number`, counted from 1."""
        if not 1 <= number <= len(self.devices):
            known = f"1 to {len(self.devices)}" if self.devices else "none, bring it up first"
            raise LabError(f"fleet {self.name} has no device {number} (it has {known})")
        return self.devices[number - 1]

    # -- life -----------------------------------------------------------------------------------------------------

    def up(self, count: int, *, kind: str = "overlay", size: int = DISK_SIZE, owner: int | None = None) -> None:
        """Bring up devices 1 to `count` and wait for them; devices that run already are left as they are.

        :param kind: root file system: overlay (a layer on the shared base), btrfs or ext4 (an image each)
        :param size: bytes of an image
        :param owner: process whose end makes this fleet rubbish (see `sweep`)
        :raises LabError: when the machine cannot, or a device does not come up
        """
        if kind not in KINDS:
            raise LabError(f"{kind!r} is no root file system of the lab; it has {', '.join(KINDS)}")
        if not 1 <= count <= 250:
            raise LabError(f"a fleet has 1 to 250 devices, not {count}")
        running = self._settings()
        if running and (running["kind"], running["size"]) != (kind, size) and any(d.on for d in self.devices):
            raise LabError(f"fleet {self.name} runs on {running['kind']}; take it down before changing its disks")
        host.prepare()
        if owner and kind != "overlay" and not self.folder.exists():
            if host.memory(MEMORY) >= count * IMAGE_SHARE + MEMORY_LEFT:
                self.folder = MEMORY / f"{PREFIX}{self.name}"
        settings: dict[str, Any] = {"kind": kind, "size": size, "base": str(base.ensure())}
        settings["count"] = max(count, running["count"] if running else 0)
        settings["owner"] = [owner, _started(owner)] if owner else None
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        (self.folder / "fleet.json").write_text(json.dumps(settings))
        self._adopt(settings)
        network.make_controller(self.namespace)
        public_key = self._login_key()
        for device in self.devices:
            device.prepare(public_key)
        self._write_files()
        self.each(Device.start, self.devices[:count])

    def down(self) -> None:
        """Switch all devices off and remove everything but the cached base system.

        Goes by what is there, not by what this object knows: another process may have brought the fleet up, or been
        killed while it did.
        """
        for name in _named(cgroup.parent(), f"{self.name}-d"):
            cgroup.ControlGroup(name).kill()
        for namespace in _named(network.NAMESPACES, f"{self.name}-d"):
            network.remove(namespace)
        network.remove(self.namespace)
        for folder in self._places():
            host.run(["rm", "-rf", "--one-file-system", str(folder)])
        self.devices = []

    def reset(self, numbers: Iterable[int] | None = None, kept: str | None = None) -> None:
        """Factory-reset devices (all by default), several at the same time.

        :param kept: go back to this kept disk instead (see `Device.keep`)
        """
        chosen = self.devices if numbers is None else [self[number] for number in numbers]
        self.each(lambda device: device.reset(kept), chosen)
        self.forget_connections()

    def each(self, action: Callable[[Device], Any], devices: Sequence[Device]) -> None:
        """Do something with several devices at once; all are tried, then the first error is raised."""
        with ThreadPoolExecutor(PARALLEL) as pool:
            jobs = [pool.submit(action, device) for device in devices]
        for job in jobs:
            job.result()

    # -- from the controller's side -------------------------------------------------------------------------------

    def enter(self, argv: Sequence[str]) -> list[str]:
        """The argument list that runs `argv` in the controller's network namespace."""
        return ["nsenter", f"--net={network.NAMESPACES / self.namespace}", *argv]

    def listen(self, port: int = 0) -> socket.socket:
        """Return a listening socket in the controller's namespace, for a server in this process."""
        return network.listen(self.namespace, self.address, port)

    @contextmanager
    def serve(self, folder: Path, port: int = 0) -> Iterator[str]:
        """Serve a folder over HTTP to the devices while the block runs; yields the URL without trailing slash."""
        handler = functools.partial(_QuietHandler, directory=str(folder))
        listener = self.listen(port)
        server = http.server.ThreadingHTTPServer(listener.getsockname(), handler, bind_and_activate=False)
        server.socket.close()
        server.socket = listener
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://{self.address}:{listener.getsockname()[1]}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def forget_connections(self) -> None:
        """End SSH masters that Ansible left open, so that the next call makes new connections."""
        for path in (self.folder / "cp").glob("*"):
            subprocess.run(["ssh", "-O", "exit", "-S", str(path), "any"], capture_output=True, check=False)
            path.unlink(missing_ok=True)

    # -- files ----------------------------------------------------------------------------------------------------

    def _places(self) -> list[Path]:
        return [place / f"{PREFIX}{self.name}" for place in (STATE, MEMORY)]

    def _settings(self) -> dict[str, Any] | None:
        try:
            settings: dict[str, Any] = json.loads((self.folder / "fleet.json").read_text())
            return settings
        except (OSError, ValueError):
            return None

    def _adopt(self, settings: dict[str, Any]) -> None:
        disk = Disk(settings["kind"], settings["base"], settings["size"])
        numbers = range(1, settings["count"] + 1)
        self.devices = [Device(self.folder, self.name, number, self.namespace, disk) for number in numbers]

    def _login_key(self) -> str:
        key = self.folder / "id_ed25519"
        if not key.with_suffix(".pub").exists():
            key.unlink(missing_ok=True)
            host.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab {self.name}", "-f", str(key)])
        return key.with_suffix(".pub").read_text()

    def _write_files(self) -> None:
        """Write inventory, ssh_config, known_hosts and the ssh wrappers."""
        known = [seed.known_host(device.folder / "seed", device.address) for device in self.devices]
        (self.folder / "known_hosts").write_text("\n".join(known) + "\n")
        (self.folder / "cp").mkdir(mode=0o700, exist_ok=True)
        programs = self.folder / "bin"
        programs.mkdir(exist_ok=True)
        for program in ("ssh", "scp", "sftp"):
            wrapper = programs / program
            inner = " ".join(self.enter([shutil.which(program) or program]))
            wrapper.write_text(f'#!/bin/sh\nexec {inner} "$@"\n')
            wrapper.chmod(0o755)
        key, hosts = self.folder / "id_ed25519", self.folder / "known_hosts"
        proxy = f"{sys.executable} -I -S {Path(__file__).with_name('proxy.py')} {self.namespace} %h %p"
        lines = [f"Host {device.name}\n  HostName {device.address}" for device in self.devices]
        lines.append(
            f"Host *\n  User root\n  IdentityFile {key}\n  IdentitiesOnly yes\n  UserKnownHostsFile {hosts}\n"
            f"  StrictHostKeyChecking yes\n  LogLevel ERROR\n  ProxyCommand {proxy}\n  ProxyUseFdpass yes"
        )
        self.ssh_config.write_text("\n".join(lines) + "\n")
        variables = {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(key),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={hosts} -o StrictHostKeyChecking=yes -o LogLevel=ERROR",
            "ansible_ssh_executable": str(programs / "ssh"),
            "ansible_scp_executable": str(programs / "scp"),
            "ansible_sftp_executable": str(programs / "sftp"),
            # Fleets share addresses, so they must not share open connections.
            "ansible_control_path_dir": str(self.folder / "cp"),
            "ansible_python_interpreter": "/usr/bin/python3",
            "lab_controller": self.address,
        }
        hosts_map = {device.name: {"ansible_host": device.address} for device in self.devices}
        # JSON is YAML: no library needed for writing it, and any reader takes it.
        content = {"devices": {"hosts": hosts_map, "vars": variables}}
        self.inventory.write_text("---\n" + json.dumps(content, indent=2) + "\n")


def sweep() -> list[str]:
    """Take down fleets whose owner has ended without doing so; returns their names."""
    swept = []
    for folder in [*STATE.glob(f"{PREFIX}*"), *MEMORY.glob(f"{PREFIX}*")]:
        fleet = Fleet(folder.name[len(PREFIX) :])
        owner = (fleet._settings() or {}).get("owner")
        if owner and _started(owner[0]) != owner[1]:
            fleet.down()
            swept.append(fleet.name)
    return swept


def _started(pid: int) -> str | None:
    """A process's start time in the kernel's ticks, which tells it from a later one with the same id."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def _named(folder: Path, stem: str) -> list[str]:
    pattern = re.compile(re.escape(PREFIX + stem) + r"\d+")
    return [path.name for path in (folder.iterdir() if folder.is_dir() else ()) if pattern.fullmatch(path.name)]


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files without a line on standard error for each."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class names it so)
        """Say nothing."""
