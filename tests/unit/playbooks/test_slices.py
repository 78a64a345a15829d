# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A wave in slices on several machines with one journal; here the machines are processes of this one."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal import Journal

if t.TYPE_CHECKING:
    from .conftest import Fleet, MakeFleet, Result

pytestmark = pytest.mark.one_core

SECRET = "canary {{ 1 + 1 }} slices"
#: A team's tasks on the worker: they see the values of the inventory as they are, and the groups.
LOOK = [
    {
        "ansible.builtin.assert": {
            "that": ["(password | hash('sha256')) == digest", "'line' in group_names", "groups['line'] | length == 2"]
        }
    }
]
#: Ends a machine without a word: the processes above this one, up to that whose pid is in the file, and once only.
KILL = """
mv "$1" "$1.taken" || exit 0
wanted=$(cat "$1.taken") process=$PPID found=
while [ "$process" -gt 1 ] && [ "$process" != "$wanted" ]; do
    found="$found $process" process=$(awk '{print $4}' /proc/$process/stat)
done
if [ "$process" = "$wanted" ]; then kill -KILL $wanted $found; fi
mv "$1.taken" "$1"
"""


class Machines:
    """Workers for one fleet: each a process that leaves its pid in a file."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.temporary = fleet.folder / "tmp"
        self.temporary.mkdir()
        fleet.environment["TMPDIR"] = str(self.temporary)
        fleet.file("team/roles/none", "")
        fleet.common["fleet_ota_worker_files"] = str(fleet.folder / "team")

    def one(self, name: str, **more: t.Any) -> Result:
        """A worker."""
        command = ["sh", "-c", f'echo $$ >{self.pid(name)}; exec "$@"', name]
        return {"name": name, "command": command, "runner": self.fleet.program("ansible-runner"), **more}

    def pid(self, name: str) -> pathlib.Path:
        """Where its pid is."""
        return self.fleet.folder / f"pid-{name}"

    def dies(self, name: str) -> None:
        """Worker ``name`` is gone when the first of its devices waits for its confirm."""
        script = self.fleet.file("kill.sh", KILL)
        tasks = [{"ansible.builtin.command": {"argv": ["sh", script, str(self.pid(name))]}, "changed_when": False}]
        self.fleet.common["fleet_ota_hook_installed"] = self.fleet.file("team/installed.yml", tasks)

    def ended(self) -> dict[str, list[tuple[list[str], str | None]]]:
        """Worker -> its slices that ended with open devices, and why."""
        found: dict[str, list[tuple[list[str], str | None]]] = {}
        for record in self.fleet.records():
            if record["event"] == "slice.ended":
                data = record["data"]
                found.setdefault(data["worker"], []).append((data["open"], data.get("reason")))
        return found


def verified(fleet: Fleet) -> list[Result]:
    """The records of the only journal, its chain checked."""
    (path,) = (fleet.folder / "journal").glob("*/journal.jsonl")
    return Journal(path).verify()


def test_two_workers(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2", "d3", "d4", "d5")
    machines = Machines(fleet)
    fleet.groups["line"] = ["d1", "d2", "d5"]
    fleet.common.update(
        {
            "password": {"__ansible_unsafe": SECRET},
            "digest": "{{ password | hash('sha256') }}",
            "fleet_ota_notify": [],
            "fleet_ota_hook_before": fleet.file("team/look.yml", LOOK),
        }
    )
    workers = [machines.one("one", forks=2), machines.one("two", forks=2)]
    waves = [{"name": "line", "group": "line", "turns": 1}, {"percent": 100}]
    ran = fleet.play("rollout", "-vvvv", fleet_ota_workers=workers, fleet_ota_waves=waves)
    assert ran.rc != 0, "three hosts of the group line are never together on one worker"
    print(ran.text[-5000:])
