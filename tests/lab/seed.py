# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes one device different from the next: names, keys, who may log in."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from . import host, network

EDGE = 1000  # user and group id of `edge`, the first user of the base system


def make(seed: Path, *, fleet: str, name: str, public_key: str) -> None:
    """Write a device's own files into a folder that is later laid over the base system; keeps what is there.

    The host key survives a factory reset, so that the fleet's known_hosts stays right.

    :param seed: the folder
    :param fleet: the fleet's name
    :param name: the device's host name
    :param public_key: line for authorized_keys of `root` and `edge`
    """
    if (seed / "etc/machine-id").exists():
        return
    ssh = seed / "etc/ssh"
    ssh.mkdir(parents=True, exist_ok=True)
    key = ssh / "ssh_host_ed25519_key"
    key.unlink(missing_ok=True)
    host.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)])
    (seed / "etc/hostname").write_text(f"{name}\n")
    (seed / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {name}\n{network.CONTROLLER} controller\n")
    for home, owner in (("root", 0), ("home/edge", EDGE)):
        folder = seed / home / ".ssh"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "authorized_keys").write_text(public_key)
        for path, mode in ((seed / home, 0o700), (folder, 0o700), (folder / "authorized_keys", 0o600)):
            path.chmod(mode)
            os.chown(path, owner, owner)
    # Last, because it says that the rest is complete.
    (seed / "etc/machine-id").write_text(hashlib.md5(f"{fleet} {name}".encode()).hexdigest() + "\n")


def known_host(seed: Path, address: str) -> str:
    """The known_hosts entry of a device."""
    kind, key = (seed / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2]
    return f"{address} {kind} {key}"
