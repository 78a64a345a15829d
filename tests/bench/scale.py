# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a rollout costs its controller as the fleet grows, and its ratio to an empty play of as many tasks.

Devices are simulated by a fake connection (``connection/simulated.py``): what is measured is Ansible, the plan, the
journal and the gates, without SSH and without devices.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests import conftest
from tests.bench import measure
from tests.integration.project import Project
from tests.lab import processes

HERE = Path(__file__).resolve().parent
#: The yardstick, a play of so many empty tasks: it stays, so that figures of different days can be compared.
TASKS = 6
FORKS = 20


class Simulated:
    """A repository with one release, and fleets of any size."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = Project(folder / "project")
        self.project.publish(self.project.gateway("1"))
        self.calls = folder / "calls"

    def play(self, devices: int, playbook: str, variables: dict[str, object]) -> measure.Cost:
        """Run a playbook on a fleet that is as new."""
        states = self.folder / "states"
        shutil.rmtree(states, ignore_errors=True)
        states.mkdir()
        shutil.rmtree(self.folder / "journal", ignore_errors=True)
        inventory = self.folder / "inventory.json"
        names = dict.fromkeys(f"d{number:05}" for number in range(devices))
        inventory.write_text(json.dumps({"all": {"hosts": names, "vars": {"ansible_connection": "simulated"}}}))
        environment = {
            **os.environ,
            "ANSIBLE_CONNECTION_PLUGINS": str(HERE / "connection"),
            "ANSIBLE_INVENTORY_ENABLED": "ansible.builtin.yaml",
            "ANSIBLE_FORKS": str(FORKS),
            "ANSIBLE_NOCOLOR": "1",
            "FLEET_OTA_SIMULATED": str(states),
        }
        extra = self.folder / "variables.json"
        extra.write_text(json.dumps(variables))
        argv = [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory), "-e", f"@{extra}", playbook]
        return measure.run(argv, environment=environment, folder=self.folder, log=self.folder / "log", calls=self.calls)

    def ours(self, playbook: str, devices: int, most: int = 0) -> measure.Cost:
        """A playbook of the collection, with three waves: 1, then a tenth, then the others.

        With ``most``, waves that grow up to so many devices.
        """
        waves: list[dict[str, object]] = [{"count": 1}, {"percent": 10}, {"percent": 100}]
        if most:
            waves = [{"count": 1}, {"name": "fleet", "grow": {"start": 20, "factor": 5, "most": most}}]
        return self.play(
            devices,
            f"fleet.ota.{playbook}",
            {
                "fleet_ota_repository": str(self.project.repository),
                "fleet_ota_trust_root": str(self.project.trust_root),
                "fleet_ota_cache": str(self.folder / "cache"),
                "fleet_ota_journal_dir": str(self.folder / "journal"),
                "fleet_ota_channel": "stable",
                "fleet_ota_release": "gateway/1",
                "fleet_ota_waves": waves,
            },
        )

    def empty(self, devices: int) -> measure.Cost:
        """A play whose tasks do nothing on a device but ask the same connection."""
        playbook = self.folder / "empty.yml"
        tasks = [{"name": f"Task {number}", "ansible.builtin.raw": "true"} for number in range(TASKS)]
        playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
        return self.play(devices, str(playbook), {})


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench-scale", description=__doc__)
    parser.add_argument("devices", type=int, nargs="*", default=[100, 1000, 5000])
    parser.add_argument("--most", type=int, default=0, help="devices of a wave at most, instead of three waves")
    parser.add_argument("--plan", type=int, default=10000, help="devices of the fleet that is planned only")
    arguments = parser.parse_args()
    processes.adopt_orphans()  # what a run leaves behind counts too
    with tempfile.TemporaryDirectory(prefix="fleet-ota-scale-") as folder:
        simulated = Simulated(Path(folder).resolve())
        print("| devices | what | wall s | CPU-s | ms CPU per device | peak MB | CPU, times the empty play |")
        print("|---|---|---|---|---|---|---|", flush=True)
        for devices in arguments.devices:
            empty = simulated.empty(devices)
            _row(devices, f"{TASKS} empty tasks", empty, empty)
            what = "`fleet.ota.rollout`" + (f", waves of at most {arguments.most}" if arguments.most else "")
            _row(devices, what, simulated.ours("rollout", devices, arguments.most), empty)
        if arguments.plan:
            _row(arguments.plan, "`fleet.ota.plan`", simulated.ours("plan", arguments.plan), None)
    return 0


def _row(devices: int, what: str, cost: measure.Cost, peer: measure.Cost | None) -> None:
    ratio = f"{cost.cpu / peer.cpu:.1f}" if peer else "-"
    each = 1000 * cost.cpu / devices
    print(
        f"| {devices} | {what} | {cost.wall:.1f} | {cost.cpu:.1f} | {each:.1f} | {cost.memory / 1e6:.0f} | {ratio} |",
        flush=True,
    )


if __name__ == "__main__":
    assert conftest.ROOT  # importing it has arranged the collection
    raise SystemExit(main())
