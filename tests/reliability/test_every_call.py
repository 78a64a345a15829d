# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every program of a transaction, killed at every call to the file system, and with every such call failing.

Afterwards the device settles: at the next boot, or at a controller's next call. Then it is exactly the old one or
exactly the new one, its record says which, nothing is left over, and the next update goes through.
"""

from __future__ import annotations

import dataclasses
import io
import random
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device import verbs
from ansible_collections.fleet.ota.plugins.module_utils._device.base import states
from ansible_collections.fleet.ota.plugins.module_utils._device.system import background
from ansible_collections.fleet.ota.plugins.module_utils._device.system import boot as _boot
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout
from ansible_collections.fleet.ota.plugins.module_utils._device.transaction import recover as watch
from ansible_collections.fleet.ota.plugins.module_utils._device.transaction import worker

from .device import Directory, differences, leftovers
from .releases import Releases
from .report import Report
from .strace import Point, Program

#: The engine's own, which starts processes.
START, CLOCK = background.start, _boot.clock
#: What can be wrong with a disk.
ERRORS = ("ENOSPC", "EIO", "EROFS")
#: Points of each program and fault that a short run takes; a long one takes all.
SAMPLE = 14


@dataclasses.dataclass
class Case:
    """A device made ready, the program to hurt, and the trees that may come of it, by the outcome on record."""

    template: Directory
    work: Path
    arguments: tuple[str, ...]
    request: dict[str, t.Any] | None
    old: dict[str, t.Any]
    new: dict[str, t.Any]

    def device(self) -> Directory:
        """A fresh one, always at the same place."""
        return self.template.copy(self.work)

    def program(self) -> Program:
        """What the device itself starts, with the engine's own way to start detached work."""
        layout, arguments, request = Layout(str(self.work)), self.arguments, self.request

        def run() -> None:
            _boot.clock = CLOCK
            sys.argv = [str(self.template.program)]
            # A worker that a request starts would work on beside the test: it is as good as killed at once.
            background.start = START if request is None else lambda *_: None
            if request is not None:
                verbs.answer({"v": 1, "root": str(self.work), **request}, io.BytesIO())
            elif arguments[0] == "worker":
                worker.work(layout, arguments[1])
            else:
                watch.run(layout, arguments[1], arguments[2])

        return Program(run)


def prepare(name: str, device: Directory, releases: Releases, work: Path) -> Case:
    """The device just before program ``name`` is started."""
    old = new = device.tree()
    arguments: tuple[str, ...] = ()
    request: dict[str, t.Any] | None = None
    if name == "apply":
        device.stage(releases.get(2))
        options = {"rollout": "2", "generation": 1, "guard": "process"}
        request = {"verb": "apply", "bundle": releases.get(2).bundle, **options}
        other = device.copy(work)
        other.update(releases.get(2))
        new = other.tree()
        return Case(device, work, (), request, old, new)
    if name == "rollback":
        device.update(releases.get(2))
        old = device.tree()
        device.ask("rollback", rollout="back", generation=1, guard="process")
        other = device.copy(work)
        other.queue = device.queue
        other.queue[0][1][0] = str(work)
        other.run()
        assert other.transaction()["state"] == "unconfirmed", other.transaction()
        new = other.tree()
    else:
        device.begin(releases.get(2))
        other = device.copy(work)
        other.queue = [("worker", [str(work), "", device.transaction()["id"]])]
        other.run()
        assert other.transaction()["state"] == "unconfirmed", other.transaction()
        new = other.tree()
    device.queue = []
    identifier = device.transaction()["id"]
    if name in ("worker", "rollback"):
        arguments = ("worker", identifier)
    else:
        device.queue = [("worker", [str(device.root), "", identifier])]
        device.run()
        if name == "confirm":
            request = {"verb": "confirm", "transaction": identifier}
        else:
            device.pass_time("deadline")
            arguments = ("guard", identifier, "deadline")
    return Case(device, work, arguments, request, old, new)


PROGRAMS = ("apply", "worker", "confirm", "guard", "rollback")


@pytest.fixture(params=PROGRAMS)
def case(request: pytest.FixtureRequest, device: Directory, releases: Releases, tmp_path: Path) -> Case:
    return prepare(request.param, device, releases, tmp_path / "work")


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return str(request.node.callspec.params["case"])


def chosen(points: list[Point], request: pytest.FixtureRequest, seed: int) -> list[Point]:
    """All of them in a long run, else some: the seed is printed."""
    if request.config.getoption("--long") or len(points) <= SAMPLE:
        return points
    print("seed", seed)
    return random.Random(seed).sample(points, SAMPLE)


def test_killed_at_every_call(
    case: Case, name: str, releases: Releases, request: pytest.FixtureRequest, later: None, seed: int
) -> None:
    case.device()
    program = case.program()
    points = program.points(case.work)
    assert len(points) > 10, points
    report = Report("killed-at-call-%s" % name, seed)
    for number, point in enumerate(chosen(points, request, seed)):
        device = case.device()
        report.interruptions += program.killed_at(point)
        report.iterations += 1
        report.violation("%s %s" % (name, point), recover(device, case, releases, boot=bool(number % 2)))
    report.close()


@pytest.mark.parametrize("error", ERRORS)
def test_every_call_fails(
    case: Case, name: str, error: str, releases: Releases, request: pytest.FixtureRequest, later: None, seed: int
) -> None:
    case.device()
    program = case.program()
    points = program.points(case.work)
    report = Report("failing-call-%s-%s" % (name, error), seed)
    for number, point in enumerate(chosen(points, request, seed)):
        on = request.config.getoption("--long") or number % 2 == 1
        for goes_on in (False, True) if request.config.getoption("--long") else (on,):
            device = case.device()
            program.failing_at(point, error, on=goes_on)
            report.iterations += 1
            report.interruptions += 1
            where = "%s %s%s %s" % (name, error, " from then on" if goes_on else "", point)
            report.violation(where, recover(device, case, releases, boot=bool(number % 2), broken=goes_on))
    report.close()


def recover(device: Directory, case: Case, releases: Releases, *, boot: bool, broken: bool = False) -> list[str]:
    """Let the device settle, and say what does not hold then."""
    try:
        return list(_recover(device, case, releases, boot, broken))
    except Exception as error:
        return ["%s: %s" % (type(error).__name__, error)]
    finally:
        device.end()


def _recover(device: Directory, case: Case, releases: Releases, boot: bool, broken: bool) -> t.Iterator[str]:
    if boot:
        device.guard("boot")
    else:
        device.call("status")
    found = device.transaction()
    if broken and found.get("state") == "broken":  # nothing could be put back while the fault lasted; now it can
        device.call("restore")
        found = device.transaction()
    if found.get("state") == "unconfirmed":
        yield from _is("new", device, case.new)
        device.guard("deadline")
        found = device.transaction()
    outcome = found.get("outcome")
    if found.get("state") not in states.ENDED or not found.get("tidied"):
        yield "it did not settle: %s" % found.get("state")
    if outcome == "broken":
        yield "broken: %s" % found.get("message")
    if found["kind"] == "update" and found["release"]["version"] == "1":
        outcome = "deferred"  # the new one was never taken up
    yield from _is("old" if outcome != "updated" else "new", device, case.old if outcome != "updated" else case.new)
    history = device.history()
    if (history[-1]["transaction"], history[-1]["state"]) != (found["id"], found["state"]):
        yield "the history ends with %s, the record is %s" % (history[-1]["state"], found["state"])
    left = [
        name for name in leftovers(device) if name.startswith("snapshots/")
    ]  # the rest is small, and goes next time
    if left and not broken:  # what could not be removed then is removed the next time
        yield "left over: %s" % ", ".join(left)
    reply = device.update(releases.get(3), rollout="next", retry_rejected=True)
    if reply.get("outcome") != "updated":
        yield "the next update: %s" % (reply.get("error") or reply)
    left = leftovers(device)
    if left:
        yield "left over after the next update: %s" % ", ".join(left)


def _is(which: str, device: Directory, wanted: dict[str, t.Any]) -> t.Iterator[str]:
    wrong = differences(wanted, device.tree())
    if wrong:
        yield "not the %s one: %s" % (which, ", ".join(wrong[:5]))
