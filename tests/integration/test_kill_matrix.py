# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Killed in every state of a transaction, in every way, on real devices.

The engine is held in a state from outside (`hold.py`), so nothing depends on luck. Then its worker is killed, or what
drives it, or the power is cut, or the cable. In the end the device is exactly the old one or the new one and healthy,
its own record says which, and the next run carries on to success.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base import states
from ansible_collections.fleet.ota.plugins.plugin_utils._control.client.bundle import Bundle

from tests.lab import Device, Fleet, archives, debs, evidence, service
from tests.reliability.report import Report

from .engine import Engine
from .project import Project
from .site import Evidence, assert_same, look

FAULTS = ("engine", "controller", "power", "link")
#: State -> the request after ``apply`` that leads there.
STATES: dict[str, str | None] = {
    "staged": None,
    "verified": None,
    "rehearsed": None,
    "snapshotted": None,
    "armed": None,
    "installing": None,
    "rebooting": None,
    "checking": None,
    "unconfirmed": None,
    "confirmed": "confirm",
    "restoring": "restore",
    "restored": "restore",
}
#: Ends whose only step is the tidying up that ``restored`` has too; tests/reliability kills that at every call.
TIDY_ONLY = {"broken", "refused", "deferred"}
#: Entered only by releases that ask for a reboot, here an archive: the device goes down by itself, and up again.
REBOOTING = "rebooting"
#: Seconds after which a device whose cable is out goes back by itself.
DEADLINE = 12
HOLD = Path(__file__).with_name("hold.py")
PLACE = "/usr/local/lib/fleet-ota-hold.py"
SERVICES = {"deb": (service.PORT, debs.UNIT), "archive": (archives.PORT, archives.UNIT)}


def test_every_state_has_a_row() -> None:
    known = {*states.AT_WORK, *states.ENDED, "unconfirmed"}
    assert {*STATES, *TIDY_ONLY} == known, "a new state needs a row in STATES"


def wrapper(program: str) -> str:
    """A script in the place of ``program``: an engine among its arguments runs by way of what holds it."""
    return f"""\
#!/bin/sh
n=$#
while [ $n -gt 0 ]; do
    case $1 in *.pyz) set -- "$@" {PLACE} "$1" ;; *) set -- "$@" "$1" ;; esac
    shift
    n=$((n - 1))
done
exec {program} "$@"
"""


class HeldEngine(Engine):
    """An engine that stops in a chosen state, also when it is called over SSH."""

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self._program = self._path
        self._path = f"{PLACE} {self._program}"

    def install(self) -> None:
        """Put the program and what holds it where they belong."""
        self._path = self._program
        super().install()
        self._path = f"{PLACE} {self._program}"
        self._ssh(f"cat >{PLACE}", HOLD.read_bytes())
        found_first = "/usr/local/sbin/systemd-run"  # on the engine's fixed PATH
        self._ssh(f"cat >{found_first}; chmod 755 {found_first}", wrapper("/usr/bin/systemd-run").encode())

    def hold(self, state: str) -> None:
        """Stop as soon as the device is in this state."""
        (self.device.root / "run/fleet-ota-hold").write_text(state)

    def wait_held(self, timeout: float = 60) -> str:
        """Wait until it stopped; the process id inside the device."""
        deadline = time.monotonic() + timeout
        path = self.device.root / "run/fleet-ota-held"
        while not path.exists():
            assert time.monotonic() < deadline, f"{self.device.name}: never held, {self.transaction()}"
            time.sleep(0.02)
        return path.read_text()

    def at_rest(self, timeout: float = 90) -> str:
        """Ask as a controller does until nothing happens by itself; the state."""
        deadline = time.monotonic() + timeout
        while True:
            state = str(self.call("status", wait=20)["state"])
            if state not in states.AT_WORK:
                return state
            assert time.monotonic() < deadline, self.transaction()


class Ready:
    """Four devices that run version 1 of a package and of an archive, and how each of them looks."""

    def __init__(self, fleet: Fleet, project: Project) -> None:
        self.fleet, self.project = fleet, project
        self.new: dict[str, Bundle] = {}
        first = [project.fetch(f"meter/{debs.VERSIONS['1'].version}"), project.publish(project.gateway("1"))]
        self.new = {"deb": project.fetch("meter/2"), "archive": project.publish(project.gateway("2"))}
        self.new[REBOOTING] = project.publish(project.gateway("3", reboot="always"))

        def prepare(device: Device) -> None:
            engine = HeldEngine(device)
            engine.enroll(project)
            for bundle in first:
                assert engine.update(bundle)["outcome"] == "updated"
            device.keep("ready")

        fleet.each(prepare, fleet.devices)
        fleet.reset(kept="ready")
        self.before: dict[str, Evidence] = {device.name: look(device) for device in fleet.devices}
        self.used = False

    def fresh(self) -> None:
        """As they were."""
        if self.used:
            self.fleet.reset(kept="ready")
        self.used = True


def ready(kind: str, project: Project) -> Iterator[Ready]:
    fleet = Fleet(f"k{kind[0]}{os.getpid()}")
    fleet.up(len(FAULTS), kind=kind, owner=os.getpid())
    try:
        yield Ready(fleet, project)
    finally:
        fleet.down()


@pytest.fixture(scope="module")
def own_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A repository whose channel nobody else has taken further."""
    project = Project(tmp_path_factory.mktemp("matrix") / "p")
    for name in ("1", "2"):
        project.publish(project.meter(name))
    return project


@pytest.fixture(scope="module")
def plain(lab_host: None, own_project: Project) -> Iterator[Ready]:
    yield from ready("overlay", own_project)


@pytest.fixture(scope="module")
def btrfs(lab_host: None, own_project: Project) -> Iterator[Ready]:
    yield from ready("btrfs", own_project)


#: Of a short run: where a device is changed, or waits. In the others nothing has changed yet, or nothing will any more.
CHANGING = ("snapshotted", "installing", REBOOTING, "checking", "unconfirmed", "restoring")


def rows() -> list[object]:
    """Every state; in a short run some, with one installer each and snapshots of kind files, btrfs for one of them."""
    found: list[object] = []
    for number, state in enumerate(STATES):
        for installer in SERVICES:
            for kind in ("files", "btrfs"):
                if (state, installer) == (REBOOTING, "deb"):
                    continue
                chosen = "deb" if number % 2 and state != REBOOTING else "archive"
                short = installer == chosen and state in CHANGING and (kind == "files" or state == "restoring")
                marks = [] if short else [pytest.mark.long]
                name = f"killed_in_{state}-{installer}-{kind}"
                found.append(pytest.param(state, installer, kind, id=name, marks=marks))
    return found


@pytest.mark.parametrize(("state", "installer", "kind"), rows())
def test_kill_matrix(state: str, installer: str, kind: str, request: pytest.FixtureRequest) -> None:
    site: Ready = request.getfixturevalue("plain" if kind == "files" else "btrfs")
    site.fresh()
    report = Report(f"killed-in-{state}-{installer}-{kind}")

    def cell(fault: str) -> None:
        device = site.fleet.devices[FAULTS.index(fault)]
        try:
            strike(device, site, installer, kind, state, fault)
        except Exception as error:
            report.violation(f"{fault} in {state}", [f"{type(error).__name__}: {error}"])
        report.iterations += 1
        report.interruptions += 1

    with ThreadPoolExecutor(len(FAULTS)) as pool:
        list(pool.map(cell, FAULTS))
    report.close()


def strike(device: Device, site: Ready, installer: str, kind: str, state: str, fault: str) -> None:
    """One cell."""
    engine, bundle = HeldEngine(device), site.new[REBOOTING if state == REBOOTING else installer]
    options: dict[str, Any] = {"rollout": "new", "deadline": DEADLINE if fault == "link" else 600, "snapshot": kind}
    if STATES[state] is None:
        engine.hold(state)
        call = engine.start_apply(bundle, **options)
    else:
        assert engine.apply(bundle, **options)["state"] == "unconfirmed"
        engine.hold(state)
        call = engine.start(str(STATES[state]), rollout="new", wait=60)
    process = engine.wait_held()
    assert engine.transaction()["state"] == state
    call.kill()  # it would only wait for its time to pass
    call.wait()
    if fault == "engine":
        device.run(["kill", "-KILL", process])
    elif fault == "power":
        device.cut()
        device.start()
    else:
        if fault == "link":
            device.unplug()
        device.run(["kill", "-CONT", process])
    if state == REBOOTING:
        come_up(engine, fault)
    if fault == "link":
        engine.wait_for(*states.ENDED)
        device.plug()
    elif fault == "power" and state not in states.UNTOUCHED:  # there is no guard before anything is touched
        engine.wait_for(*states.ENDED, "unconfirmed")
    if fault in ("link", "power"):
        hang_up(device)
    end = engine.at_rest()

    record = engine.transaction()
    assert record["state"] == end
    version = bundle.document["version"] if end in ("unconfirmed", "confirmed") else "1"
    if version == "1":
        assert record["outcome"] in ("restored", "deferred"), record
        assert_same(site.before[device.name], look(device))
    assert running(device, installer) == version

    reply = engine.apply(bundle, **{**options, "deadline": 600}, retry_rejected=True)
    if reply["state"] == REBOOTING:
        come_up(engine, "none")
        reply = engine.call("status", wait=60)
    if reply["state"] == "unconfirmed":
        reply = engine.call("confirm", rollout="new")
    assert reply["outcome"] in ("updated", "current"), reply
    assert running(device, installer) == bundle.document["version"]


def come_up(engine: HeldEngine, fault: str) -> None:
    """Wait until a device that goes down by itself has come to rest after it, nobody asking it anything."""
    device = engine.device
    if fault == "engine":
        engine.start("status").communicate(timeout=60)  # this contact finds that nobody is at work
    end = ("restored", "broken") if fault == "link" else ("unconfirmed", "restored", "broken")
    engine.wait_for(*end, timeout=120)
    if fault == "link":
        device.plug()
    device.wait()
    hang_up(device)


def hang_up(device: Device) -> None:
    """End the shared connection: one to a device that is gone would be waited for."""
    subprocess.run(["ssh", "-O", "exit", *device.ssh()[1:]], capture_output=True, check=False)


def running(device: Device, installer: str) -> str | None:
    """The version that answers, as healthy."""
    answer = evidence.http_json(device, SERVICES[installer][0], wait=10)
    return answer["version"] if answer and answer["status"] == "ok" else None
