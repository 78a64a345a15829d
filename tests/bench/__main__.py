# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Interleaved runs of every way to update, and their ratio to the plain playbook."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import yaml

# The collection must be importable before the modules that use it are.
from tests import conftest
from tests.bench import measure
from tests.integration.project import HARDWARE, Project
from tests.lab import archives, host, processes
from tests.lab.fleet import Fleet

HERE = Path(__file__).resolve().parent
#: name -> pipelining
STOCK = {"stock": False, "stock, pipelining": True}
ONE, APPLY, ROLLOUT = "one module", "fleet.ota apply+confirm", "fleet.ota.rollout"


class Bench:
    """One fleet, one repository, a new version for each run."""

    def __init__(self, fleet: Fleet, folder: Path, padding: int) -> None:
        self.fleet, self.folder, self.padding = fleet, folder, padding
        self.project = Project(folder / "project")
        inventory = yaml.safe_load(fleet.inventory.read_text())
        variables = inventory["devices"]["vars"]
        wrapper, self.calls = measure.counting_ssh(folder, variables["ansible_ssh_executable"])
        variables["ansible_ssh_executable"] = str(wrapper)
        self.inventory = folder / "inventory.yml"
        self.inventory.write_text(yaml.safe_dump(inventory))
        self.version = 0
        self.log = folder / "ansible.log"

    def play(self, playbook: str, variables: dict[str, object], *, pipelining: bool = True) -> measure.Cost:
        """Run a playbook on all devices over cold connections."""
        environment = {
            **os.environ,
            "ANSIBLE_FORKS": "20",
            "ANSIBLE_PIPELINING": str(pipelining),
            "ANSIBLE_LIBRARY": str(HERE / "library"),
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=60s",
            "ANSIBLE_NOCOLOR": "1",
        }
        path = self.folder / "variables.json"
        path.write_text(json.dumps(variables))
        argv = [sys.executable, "-m", "ansible", "playbook", "-i", str(self.inventory), "-e", f"@{path}", playbook]
        return measure.run(argv, environment=environment, folder=self.folder, log=self.log, calls=self.calls)

    def enroll(self) -> None:
        """Enroll every device."""
        root = str(self.project.trust_root)
        self.play("fleet.ota.enroll", {"fleet_ota_trust_root": root, "fleet_ota_hardware": HARDWARE})

    def update(self, way: str) -> measure.Cost:
        """Bring a new version to every device in one of the ways."""
        self.version += 1
        version = str(self.version)
        document = self.project.gateway(version, padding=self.padding)
        bundle = self.project.publish(document)
        saved = bundle.save(self.folder / "bundles" / f"{version}.json")
        payload = bundle.payloads()[0]
        with self.fleet.serve(self.project.repository) as mirror:
            if way == APPLY:
                return self.play(str(HERE / "apply.yml"), {"bundle": str(saved), "mirror": mirror})
            if way == ROLLOUT:
                return self.play("fleet.ota.rollout", self._rollout(version, mirror))
            variables: dict[str, object] = {
                "url": f"{mirror}/targets/payloads/{payload['sha256']}",
                "sha256": payload["sha256"],
                "version": version,
                "health": f"http://127.0.0.1:{archives.PORT}/health",
            }
            if way == ONE:
                return self.play(str(HERE / "onemodule.yml"), variables)
            return self.play(str(HERE / "stock.yml"), variables, pipelining=STOCK[way])

    def _rollout(self, version: str, mirror: str) -> dict[str, object]:
        return {
            "fleet_ota_repository": str(self.project.repository),
            "fleet_ota_trust_root": str(self.project.trust_root),
            "fleet_ota_cache": str(self.folder / "cache"),
            "fleet_ota_journal_dir": str(self.folder / "journal"),
            "fleet_ota_channel": "stable",
            "fleet_ota_release": f"gateway/{version}",
            "fleet_ota_waves": [{"percent": 100}],
            "fleet_ota_transfer": "pull",
            "fleet_ota_mirrors": [mirror],
        }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("devices", type=int, nargs="?", default=6)
    parser.add_argument("--runs", type=int, default=3, help="runs of each way, interleaved (the median counts)")
    parser.add_argument("--padding", type=int, default=2_000_000, help="bytes that make the payload larger")
    arguments = parser.parse_args()
    reason = host.why_not()
    if reason:
        print(f"make bench: {reason}")
        return 1
    processes.adopt_orphans()  # ssh puts its shared connections, which do the cryptography, in the background
    fleet = Fleet("bench")
    with tempfile.TemporaryDirectory(prefix="fleet-ota-bench-") as folder:
        fleet.up(arguments.devices)
        try:
            bench = Bench(fleet, Path(folder).resolve(), arguments.padding)
            bench.enroll()
            ways = [*STOCK, ONE, APPLY, ROLLOUT]
            bench.update(APPLY)  # brings the engine and warms every cache once
            costs = _interleave(ways, arguments.runs, bench.update)
            _print(costs, arguments.devices, arguments.runs)
        finally:
            fleet.down()
    return 0


def _interleave(ways: list[str], runs: int, update: Callable[[str], measure.Cost]) -> dict[str, list[measure.Cost]]:
    costs: dict[str, list[measure.Cost]] = {way: [] for way in ways}
    for number in range(runs):
        for way in ways:
            cost = update(way)
            costs[way].append(cost)
            print(f"run {number + 1}: {way:24} {cost.wall:6.1f} s {cost.cpu:6.1f} CPU-s", file=sys.stderr, flush=True)
    return costs


def _print(costs: dict[str, list[measure.Cost]], devices: int, runs: int) -> None:
    def middle(way: str, field: str) -> float:
        return statistics.median(getattr(cost, field) for cost in costs[way])

    print(f"\n{devices} devices, median of {runs} interleaved runs, cold connections\n")
    heads = (
        "way",
        "wall s",
        "controller CPU-s",
        "remote commands per device",
        "peak MB per device",
        "CPU, times one module",
    )
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for way in costs:
        wall, cpu, commands, memory = (middle(way, field) for field in ("wall", "cpu", "commands", "memory"))
        cells = (wall, cpu, commands / devices, memory / devices / 1e6, cpu / middle(ONE, "cpu"))
        print(f"| {way} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |")
    first = next(iter(STOCK))
    for way in (APPLY, ROLLOUT):
        wall, cpu = middle(first, "wall") / middle(way, "wall"), middle(first, "cpu") / middle(way, "cpu")
        print(f"\n{way}: {wall:.1f} times faster and {cpu:.1f} times less controller CPU than the plain playbook")


if __name__ == "__main__":
    assert conftest.ROOT  # importing it has arranged the collection
    raise SystemExit(main())
