# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A wave in slices on several machines with one journal; here the machines are processes of this one."""

from __future__ import annotations

import hashlib
import json
import pathlib
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.journal import Journal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.record import Record

from .conftest import STATE

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
#: Ends a machine without a word: the processes above this one, up to that whose pid is in the file, and once only. From
#: above, or one could tell of the end of another.
KILL = """
mv "$1" "$1.taken" || exit 0
wanted=$(cat "$1.taken") process=$PPID found=
while [ "$process" -gt 1 ] && [ "$process" != "$wanted" ]; do
    found="$process $found" process=$(awk '{print $4}' /proc/$process/stat)
done
if [ "$process" = "$wanted" ]; then kill -KILL $wanted $found; fi
mv "$1.taken" "$1"
"""

#: A callback of the main run that leaves its pid in the same way.
PID = """
import os
from ansible.plugins.callback import CallbackBase

class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "pid"

    def v2_playbook_on_start(self, playbook):
        if not os.path.exists(os.environ["PID"]):  # workers of this machine have it in their environment too
            with open(os.environ["PID"], "w") as handle:
                handle.write(str(os.getpid()))
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


def verified(fleet: Fleet) -> list[Record]:
    """The records of the only journal, its chain checked."""
    (path,) = (fleet.folder / "journal").glob("*/journal.jsonl")
    return Journal(path).verify()


def test_two_workers(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2", "d3", "d4")
    machines = Machines(fleet)
    fleet.groups["line"] = list(fleet.devices)
    fleet.common["password"] = {"__ansible_unsafe": SECRET}
    fleet.common["digest"] = hashlib.sha256(SECRET.encode()).hexdigest()
    fleet.common["fleet_ota_hook_before"] = fleet.file("team/look.yml", LOOK)
    workers = [machines.one("one", forks=2), machines.one("two", forks=2)]
    ran = fleet.play("rollout", "-vvvv", fleet_ota_workers=workers)
    assert ran.rc == 0, ran.text
    assert fleet.outcomes() == dict.fromkeys(fleet.devices, ("updated", None))
    assert fleet.running() == dict.fromkeys(fleet.devices, "2")
    records = verified(fleet)
    by = {record["device"]: record["data"]["worker"] for record in records if record["event"] == "device.outcome"}
    assert by == {"d1": "one", "d2": "one", "d3": "two", "d4": "two"}
    # every device is on record before its slice begins, and witnesses the rollout's journal, not the slice's
    for name, device in fleet.devices.items():
        events = [record["event"] for record in records if record.get("device") == name]
        assert events == ["device.pending", "device.outcome", "device.seen"]
        history = [json.loads(line) for line in (device.root / STATE / "history.jsonl").read_text().splitlines()]
        (checkpoint,) = {json.dumps(entry["checkpoint"]) for entry in history if entry.get("checkpoint")}
        (path,) = (fleet.folder / "journal").glob("*/journal.jsonl")
        assert Journal(path).holds(json.loads(checkpoint))
    assert list(machines.temporary.iterdir()) == []
    assert SECRET not in ran.text
    found = [path for path in fleet.folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert [path.name for path in found] == ["inventory.json"]


def test_a_worker_dies(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2", "d3")
    machines = Machines(fleet)
    machines.dies("one")
    workers = [machines.one("one", forks=2), machines.one("two", forks=1)]
    ran = fleet.play("rollout", fleet_ota_workers=workers)
    assert ran.rc == 0, ran.text
    assert fleet.outcomes() == dict.fromkeys(fleet.devices, ("updated", None))
    assert fleet.running() == dict.fromkeys(fleet.devices, "2")
    # nothing is done twice: one transaction more than the device had
    assert {device.transactions() for device in fleet.devices.values()} == {2}
    records = verified(fleet)
    by = {record["device"]: record["data"]["worker"] for record in records if record["event"] == "device.outcome"}
    assert set(by.values()) == {"two"}
    left = machines.ended()
    assert left["one"][0][0] == ["d1", "d2"]
    assert "broke off" in str(left["one"][0][1])
    # what the dead one left is its own, and of its user alone
    (folder,) = machines.temporary.glob("fleet-ota-slice.*")
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.long
def test_no_worker_is_left(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1")
    machines = Machines(fleet)
    workers = [{"name": "gone", "command": ["false"]}, {"name": "nowhere", "command": ["/no/such/program"]}]
    ran = fleet.play("rollout", fleet_ota_workers=workers)
    assert ran.rc == 0, ran.text
    assert fleet.outcomes() == {"d1": ("updated", None)}
    assert set(machines.ended()) == {"gone", "nowhere", "controller"}
    assert list(machines.temporary.iterdir()) == []


def test_the_controller_is_killed(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2")
    machines = Machines(fleet)
    workers = [machines.one("one", forks=1), machines.one("two", forks=1)]
    machines.dies("main")
    fleet.file("callbacks/pid.py", PID)
    fleet.environment.update(ANSIBLE_CALLBACK_PLUGINS=str(fleet.folder / "callbacks"), PID=str(machines.pid("main")))
    ran = fleet.play("rollout", fleet_ota_workers=workers)
    assert ran.rc == -9, ran.text
    before = verified(fleet)
    assert [record["event"] for record in before].count("device.pending") == 2
    # made where the killed run worked, with the logins of devices; the next one clears them away
    assert list(machines.temporary.glob("fleet-ota-slices.*"))
    del fleet.common["fleet_ota_hook_installed"]
    ran = fleet.play("rollout", fleet_ota_workers=workers)
    assert ran.rc == 0, ran.text
    assert list(machines.temporary.glob("fleet-ota-slices.*")) == []
    assert fleet.running() == {"d1": "2", "d2": "2"}
    assert {device.transactions() for device in fleet.devices.values()} == {2}
    last = {record["device"]: record["outcome"] for record in verified(fleet) if record["event"] == "device.outcome"}
    assert set(last.values()) <= {"updated", "current"}


def test_refused_before_anything_is_touched(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1")
    fleet.common["fleet_ota_hook_before"] = fleet.file("elsewhere/hook.yml", [])
    before = fleet.trees(state=True)
    ran = fleet.play("rollout", fleet_ota_workers=[{"name": "one", "command": ["true"]}])
    assert ran.rc != 0
    assert "fleet_ota_worker_files" in ran.text
    assert fleet.records() == []
    assert fleet.trees(state=True) == before


def test_a_folder_that_is_missing_is_told_before_anything_begins(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1")
    ran = fleet.play(
        "rollout",
        fleet_ota_workers=[{"name": "one", "command": ["true"]}],
        fleet_ota_worker_files=str(fleet.folder / "none"),
    )
    assert ran.rc != 0
    assert "fleet_ota_worker_files is " in ran.text and "name one that is there" in ran.text
    assert fleet.records() == []
