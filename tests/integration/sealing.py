# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sealed devices, and whoever holds the key of their login."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tests.lab import Device, Fleet, evidence

from .engine import STATE

LOGIN = "fleet-ota"
PROGRAM = "/usr/local/sbin/fleet-ota"
ASK = f"sudo -n {PROGRAM}"
#: Without an approved plan, so that these tests are about the login alone.
SETTINGS = {"require_approval": False}
#: What an honest use of the program writes: staged payloads, metadata, and the record of transactions. All of it is
#: the engine's own; nothing in it is run or decides who may do what.
RECORD = (
    "inbox",
    "transactions",
    "history.jsonl",
    "transaction.json",
    "lease.json",
    "lease.lock",
    "lock",
    "trust/floor.json",
)

Tree = dict[str, evidence.Entry]


def variables(fleet: Fleet, **settings: Any) -> dict[str, Any]:
    """Variables of the role enroll that seal a device."""
    key = (fleet.folder / "id_ed25519.pub").read_text().strip()
    return {
        "fleet_ota_sealed": True,
        "fleet_ota_sealed_keys": [key],
        "fleet_ota_sealed_settings": {**SETTINGS, **settings},
    }


class Thief:
    """Somebody with the private key of the login: a stolen controller."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def sh(self, script: str, data: bytes = b"", *, timeout: float = 60) -> subprocess.CompletedProcess[bytes]:
        """Run a shell script as the login, by SSH; `data` is its standard input."""
        command = self.device.ssh(script, user=LOGIN)
        return subprocess.run(command, input=data, capture_output=True, check=False, timeout=timeout)

    def ask(self, verb: str, data: bytes = b"", *, how: str = ASK, **request: Any) -> dict[str, Any]:
        """One request to the program, and its reply; an error's code is where a transaction has it too."""
        line = json.dumps({"v": 1, "verb": verb, **request}).encode() + b"\n"
        done = self.sh(how, line + data)
        assert done.stdout, done.stderr.decode()
        reply: dict[str, Any] = json.loads(done.stdout)
        return {**reply.get("error", {}), **reply}

    def start(self, script: str) -> subprocess.Popen[bytes]:
        """Begin a script whose standard input stays open."""
        pipe = subprocess.PIPE
        return subprocess.Popen(self.device.ssh(script, user=LOGIN), stdin=pipe, stdout=pipe, stderr=pipe)


def everything(device: Device) -> Tree:
    """Every file of the device, its state included, except what only runs, logs and caches."""
    volatile = [path for path in evidence.VOLATILE if path not in (STATE, "/tmp", "/var/tmp")]
    found = evidence.tree(device, leave_out=[*volatile, *(f"{STATE}/{name}" for name in RECORD)])
    # What the login may leave in places that are open to everybody is its own: no program of the system looks there.
    return {path: entry for path, entry in found.items() if not path.startswith(("/tmp/", "/var/tmp/"))}
