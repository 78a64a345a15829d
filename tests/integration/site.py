# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A project, six enrolled devices, and the collection's playbooks run against them as a team would run them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.lab import Device, Fleet, evidence, service

from .engine import STATE, Engine
from .project import HARDWARE, Project

REPOSITORY = Path(__file__).resolve().parents[2]
CANARY_THEN_REST = [{"name": "canary", "count": 1}, {"name": "rest", "percent": 100}]

# Everything that must be as before after a device went back: files, packages, the service's answer.
Evidence = tuple[dict[str, evidence.Entry], dict[str, tuple[str, str]], "dict[str, Any] | None"]


class Site:
    """One test's view: its own journals, the session's devices and project."""

    def __init__(self, project: Project, fleet: Fleet, journals: Path) -> None:
        """:param journals: an empty folder"""
        self.project = project
        self.fleet = fleet
        self.journals = journals
        self.devices = fleet.devices
        journals.mkdir(parents=True, exist_ok=True)
        self.log = journals / "ansible.log"

    def engine(self, number: int) -> Engine:
        """The engine of device `number`."""
        return Engine(self.fleet[number])

    # -- playbooks ------------------------------------------------------------------------------------------------

    def variables(self, **changes: Any) -> dict[str, Any]:
        """The rollout's variables, as a team keeps them in group_vars."""
        return {
            "fleet_ota_repository": str(self.project.repository),
            "fleet_ota_trust_root": str(self.project.trust_root),
            "fleet_ota_cache": str(self.journals / "cache"),
            "fleet_ota_journal_dir": str(self.journals),
            "fleet_ota_channel": "stable",
            "fleet_ota_hardware": HARDWARE,
            "fleet_ota_site": "north",
            "fleet_ota_waves": CANARY_THEN_REST,
            **changes,
        }

    def command(self, playbook: str, **variables: Any) -> list[str]:
        """The command line of one of the collection's playbooks."""
        path = self.journals / f"variables-{playbook}.json"
        path.write_text(json.dumps(self.variables(**variables)))
        ansible = [sys.executable, "-m", "ansible", "playbook", "-i", str(self.fleet.inventory)]
        return [*ansible, "-e", f"@{path}", f"fleet.ota.{playbook}"]

    def environment(self) -> dict[str, str]:
        """The environment for it: the sample configuration; tests/conftest.py has arranged the collection."""
        sample = REPOSITORY / "inventories/example/ansible.cfg"
        return {**os.environ, "ANSIBLE_CONFIG": str(sample), "ANSIBLE_NOCOLOR": "1", "PYTHONUNBUFFERED": "1"}

    def start(self, playbook: str, **variables: Any) -> subprocess.Popen[str]:
        """Start a playbook in a process group of its own; its output goes to `log`."""
        with self.log.open("a") as stream:
            return subprocess.Popen(
                self.command(playbook, **variables),
                env=self.environment(),
                cwd=self.journals,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def play(self, playbook: str, **variables: Any) -> int:
        """Run a playbook to its end and return its exit code."""
        process = self.start(playbook, **variables)
        try:
            return process.wait(timeout=300)
        finally:
            kill(process)

    def rollout(self, release: str, **variables: Any) -> int:
        """Run ``fleet.ota.rollout`` for a release (``NAME/VERSION``)."""
        return self.play("rollout", fleet_ota_release=release, **variables)

    # -- what came of it ------------------------------------------------------------------------------------------

    def journal(self) -> list[dict[str, Any]]:
        """The records of this test's only rollout."""
        (path,) = self.journals.glob("*/journal.jsonl")
        return [json.loads(line) for line in path.read_text().splitlines()]

    def outcomes(self) -> dict[str, tuple[str, str | None]]:
        """Device -> the outcome and code that the journal recorded last."""
        records = [record for record in self.journal() if record["event"] == "device.outcome"]
        return {record["device"]: (record["outcome"], record.get("code")) for record in records}

    def result(self) -> str:
        """How the journal says the rollout ended."""
        ends: list[str] = [r["data"]["result"] for r in self.journal() if r["event"] == "rollout.ended"]
        return ends[-1]

    def said(self) -> str:
        """What ansible-playbook said, for messages of failing tests."""
        return self.log.read_text()[-6000:] if self.log.exists() else ""


def look(device: Device) -> Evidence:
    """Everything that must be as before after a device went back."""
    return evidence.tree(device), evidence.packages(device), evidence.http_json(device, service.PORT, wait=3)


def look_at_all(devices: Iterable[Device]) -> dict[str, Evidence]:
    """`look` by device name."""
    return {device.name: look(device) for device in devices}


def assert_same(before: Evidence, after: Evidence) -> None:
    """Fail with the differences, not with two trees."""
    differences = evidence.differences(before[0], after[0])
    assert differences == {}, differences
    assert after[1:] == before[1:]


def confirmed(device: Device) -> list[str]:
    """Transactions that the device's own history says were confirmed, each once per entry."""
    history = evidence.read(device, f"{STATE}/history.jsonl") or ""
    records = [json.loads(line) for line in history.splitlines()]
    return [record["transaction"] for record in records if record.get("state") == "confirmed"]


def history(device: Device) -> str:
    """The device's own history, as it is."""
    return evidence.read(device, f"{STATE}/history.jsonl") or ""


def kill(process: subprocess.Popen[str]) -> None:
    """End a playbook with its forks at once, as a crash of the controller would; fine when it has ended."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def copy_of(project: Project, folder: Path) -> Project:
    """A project of its own with the same keys, repository and pinned root, for tests that damage it."""
    shutil.copytree(project.folder, folder)
    return project.moved(folder)
