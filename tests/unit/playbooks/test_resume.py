# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A controller that is killed at any task: the same command goes on where it stopped."""

from __future__ import annotations

import typing as t

import pytest

if t.TYPE_CHECKING:
    from .conftest import Fleet, MakeFleet

pytestmark = pytest.mark.one_core

#: Kills the whole run, as the loss of a pod does, when the task with the number in the environment begins.
KILLER = """
import os, signal
from ansible.plugins.callback import CallbackBase

class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "killer"

    def __init__(self):
        super().__init__()
        self.left = int(os.environ["KILL_AT"])
        self.when = os.environ["KILL_WHEN"]

    def _count(self, what):
        if what == self.when:
            self.left -= 1
            if self.left == 0:
                open(os.environ["KILLED"], "w").close()
                os.kill(os.getpid(), signal.SIGKILL)

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._count("begin")

    def v2_playbook_on_handler_task_start(self, task):
        self._count("begin")

    def v2_runner_on_ok(self, result):
        self._count("end")
"""
#: More tasks than any rollout of two devices has: the test ends at the first number that kills nothing.
MOST = 60
STEP = 8


def killed(fleet: Fleet, number: int, when: str) -> bool:
    """Whether a rollout was killed when its task ``number`` began, or when the first device had ended it."""
    mark = fleet.folder / "killed"
    fleet.file("callbacks/killer.py", KILLER)
    fleet.environment = {
        "ANSIBLE_CALLBACK_PLUGINS": str(fleet.folder / "callbacks"),
        "KILL_AT": str(number),
        "KILL_WHEN": when,
        "KILLED": str(mark),
    }
    ran = fleet.play("rollout")
    fleet.environment = {}
    assert ran.rc == (-9 if mark.exists() else 0), ran.text
    return mark.exists()


def comes_to_its_end(make_fleet: MakeFleet, number: int, when: str) -> bool:
    """Kill a rollout there, run it again, and look; False if it came to its end before that task."""
    fleet = make_fleet("d1", "d2")
    fleet.common["fleet_ota_waves"] = [{"count": 1}, {"percent": 100}]
    if not killed(fleet, number, when):
        return False
    ran = fleet.play("rollout")
    assert ran.rc == 0, f"killed at {when} of task {number}\n{ran.text}"
    assert fleet.running() == {"d1": "2", "d2": "2"}
    # once each: what the killed run did is not done again
    assert {name: device.transactions() for name, device in fleet.devices.items()} == {"d1": 2, "d2": 2}
    last = {record["device"]: record for record in fleet.records() if record["event"] == "device.outcome"}
    assert {record["outcome"] for record in last.values()} <= {"updated", "current"}
    assert fleet.records()[-1]["data"]["result"] == "complete"
    return True


def test_killed_at_tasks(make_fleet: MakeFleet) -> None:
    tried = 0
    for number in range(1, MOST, STEP):
        if not comes_to_its_end(make_fleet, number, "end" if tried % 2 else "begin"):
            break
        tried += 1
    assert tried >= 2, "a rollout of two devices has more tasks"


@pytest.mark.long
@pytest.mark.parametrize("when", ["begin", "end"])
def test_killed_at_every_task(make_fleet: MakeFleet, when: str) -> None:
    for number in range(1, MOST):
        if not comes_to_its_end(make_fleet, number, when):
            assert number > 15
            return
    pytest.fail("never came to an end")
