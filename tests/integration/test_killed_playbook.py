# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL of a real ``ansible-playbook fleet.ota.rollout`` while real devices are held in states of a transaction.

One device of the second wave for each state, the first wave is done. Each device comes to the old or the new release
by itself, its record says which, and the same command run again ends with all of them updated, each of them once.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base import states
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.journal import Journal

from tests.lab import Device, evidence, processes, service

from .engine import Engine
from .site import Evidence, Site, assert_same, confirmed, history, kill, look, look_at_all
from .test_kill_matrix import STATES, HeldEngine, wrapper

#: The interpreter of devices on which the engine can be held.
PYTHON = "/usr/local/bin/fleet-ota-held-python"
WAVES = [{"name": "first", "count": 1}, {"name": "rest", "percent": 100}]
#: A team's own look at what was installed: not good enough on all but the first device, while a file is there.
HOOK = """
- name: Look at what was installed
  ansible.builtin.assert:
    that: not (bad is exists) or inventory_hostname == 'dev1'
"""
#: States that one run can pass with every device at once, the way back, and those that a run comes to on its own.
SHORT = ("installing", "unconfirmed")
TOGETHER = ("verified", "armed", "installing", "checking", "unconfirmed")
MORE_TOGETHER = ("staged", "rehearsed", "snapshotted", "checking", "unconfirmed")
WAY_BACK = ("restoring", "restored")
ALONE = ("rebooting", "confirmed")


def test_every_state_of_a_rollout_has_its_row() -> None:
    assert {*TOGETHER, *MORE_TOGETHER, *WAY_BACK, *ALONE} == {*STATES}


class HeldSite(Site):
    """The first devices of a site, in which the engine can be held, also when the playbook calls it."""

    def __init__(self, site: Site, count: int) -> None:
        super().__init__(site.project, site.fleet, site.journals)
        self.devices = site.devices[:count]
        self.fleet.each(_holdable, self.devices)

    def command(self, playbook: str, **variables: Any) -> list[str]:
        names = [device.name for device in self.devices]
        hosts = {name: {"ansible_python_interpreter": PYTHON} for name in names}
        path = self.journals / "held.json"
        path.write_text(json.dumps({"all": {"hosts": hosts}}))
        first, *rest = super().command(playbook, fleet_ota_hosts=",".join(names), **variables)
        place = rest.index("-i")
        return [first, *rest[:place], "-i", str(path), *rest[place:]]

    def kill_while(self, states: dict[Device, str], *, everything: bool, **variables: Any) -> None:
        """Start a rollout, kill it as soon as each of these devices is held in its state, and let them go on.

        :param everything: kill what it started too, as the loss of a machine does; else its process group only
        """
        held = {device: HeldEngine(device) for device in states}
        for device, state in states.items():
            held[device].hold(state)
        process = self.start("rollout", **variables)
        try:
            with ThreadPoolExecutor(len(held)) as pool:
                pids = dict(zip(held, pool.map(lambda engine: engine.wait_held(120), held.values()), strict=True))
            assert process.poll() is None, self.said()
        finally:
            if everything:
                kill_all(process)
            else:
                kill(process)
        self.fleet.forget_connections()
        for device, state in states.items():
            assert held[device].transaction()["state"] == state, self.said()
        for device, pid in pids.items():
            device.run(["kill", "-CONT", pid])


def _holdable(device: Device) -> None:
    HeldEngine(device).install()
    content = f"cat >{PYTHON}; chmod 755 {PYTHON}"
    subprocess.run(
        device.ssh(content), input=wrapper("/usr/bin/python3").encode(), check=True, capture_output=True, timeout=60
    )


def kill_all(process: subprocess.Popen[str]) -> None:
    """End a playbook with everything it started; ansible-core gives each of its workers a session of its own."""
    doomed: list[int] = []
    found = [process.pid]
    while found:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)  # starts nothing more while we look
        doomed += found
        found = [child for pid in doomed for child in processes.children(pid) if child not in doomed]
    for pid in doomed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def running(device: Device) -> str | None:
    """The version that answers, as healthy."""
    answer = evidence.http_json(device, service.PORT, wait=10)
    return answer["version"] if answer and answer["status"] == "ok" else None


def at_rest(device: Device, before: Evidence) -> None:
    """Wait until the device has come to rest, nobody asking it anything; it is what its own record says."""
    record = Engine(device).wait_for("unconfirmed", *states.ENDED, timeout=180)
    if record["state"] in ("unconfirmed", "confirmed"):
        assert running(device) == "2", record
        return
    assert record["outcome"] in ("restored", "deferred"), record
    Engine(device).wait_for_tidy()
    assert_same(before, look(device))


def assert_updated_once(device: Device) -> None:
    """It runs the new release since one transaction."""
    assert running(device) == "2"
    assert Engine(device).transaction()["state"] == "confirmed"
    assert len(confirmed(device)) == 2, "once for each of its releases"
    assert evidence.read(device, "/var/lib/meter/installed") == "1\n2\n"


def assert_all_updated_once(site: Site, done: str, *, went_back: tuple[Device, ...] = ()) -> None:
    """Every device runs the new release since one transaction, and the journal says so, from its begin to its end."""
    for device in site.devices:
        assert_updated_once(device)
    assert history(site.devices[0]) == done, "what the killed run had finished was not touched again"
    (path,) = site.journals.glob("*/journal.jsonl")
    ends = [record for record in Journal(path).verify() if record["event"] == "device.outcome"]
    for device in site.devices:
        said = [record["outcome"] for record in ends if record["device"] == device.name]
        assert said == ["restored", "updated"][device not in went_back :], device
    assert site.result() == "complete"


@pytest.mark.parametrize(
    ("states", "everything", "at_once"),
    [
        pytest.param(SHORT, True, False, id="all of it"),
        pytest.param(TOGETHER, True, False, id="all of it, in more states", marks=pytest.mark.long),
        pytest.param(TOGETHER, False, True, id="its group, run again at once", marks=pytest.mark.long),
        pytest.param(MORE_TOGETHER, False, False, id="its group", marks=pytest.mark.long),
        pytest.param(MORE_TOGETHER, True, True, id="all of it, run again at once", marks=pytest.mark.long),
        pytest.param(("confirmed",), True, False, id="while a device confirms", marks=pytest.mark.long),
    ],
)
def test_killed_in_every_state(site: Site, states: tuple[str, ...], everything: bool, at_once: bool) -> None:
    held = HeldSite(site, 1 + len(states))
    doomed, before = dict(zip(held.devices[1:], states, strict=True)), look_at_all(held.devices)
    options = {"fleet_ota_release": "meter/2", "fleet_ota_waves": WAVES}
    held.kill_while(doomed, everything=everything, **options)
    done = history(held.devices[0])
    if not at_once:
        held.fleet.each(lambda device: at_rest(device, before[device.name]), list(doomed))
    assert held.play("rollout", **options) == 0, held.said()
    assert_all_updated_once(held, done)


@pytest.mark.long
@pytest.mark.parametrize("everything", [True, False], ids=["all of it", "its group"])
def test_killed_while_devices_go_down_by_themselves(site: Site, everything: bool) -> None:
    # Another name: what others publish of `meter` later must not be older than this.
    site.project.publish(site.project.meter("2", name="meter-killed", reboot="always"))
    held = HeldSite(site, 2)
    first, second = held.devices
    boots, before = second.boots, look(second)
    options = {"fleet_ota_release": "meter-killed/2", "fleet_ota_waves": WAVES}
    held.kill_while({second: "rebooting"}, everything=everything, **options)
    done = history(first)
    at_rest(second, before)
    second.wait()
    assert held.play("rollout", **options) == 0, held.said()
    assert second.boots == boots + 1
    assert_all_updated_once(held, done)


@pytest.mark.long
@pytest.mark.parametrize("everything", [True, False], ids=["all of it", "its group"])
def test_killed_while_devices_go_back(site: Site, everything: bool) -> None:
    held = HeldSite(site, 1 + len(WAY_BACK))
    doomed, before = dict(zip(held.devices[1:], WAY_BACK, strict=True)), look_at_all(held.devices)
    hook, bad = held.journals / "hook.yml", held.journals / "bad"
    hook.write_text(HOOK)
    bad.touch()
    options = {
        "fleet_ota_release": "meter/2",
        "fleet_ota_waves": WAVES,
        "fleet_ota_hook_installed": str(hook),
        "bad": str(bad),
        # what went back is offered again at once, by everybody's leave
        "fleet_ota_retry_rejected": True,
        "fleet_ota_penalty": {"first": 0},
        "fleet_ota_limits": {"max_failures": len(doomed)},
    }
    held.kill_while(doomed, everything=everything, **options)
    done = history(held.devices[0])
    bad.unlink()
    held.fleet.each(lambda device: at_rest(device, before[device.name]), list(doomed))
    assert {Engine(device).transaction()["outcome"] for device in doomed} == {"restored"}
    assert held.play("rollout", **options) == 0, held.said()
    assert_all_updated_once(held, done, went_back=tuple(doomed))
