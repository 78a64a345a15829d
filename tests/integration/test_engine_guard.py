# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A device gets back to its old release whatever is done to its guard: all of it on one device with real systemd.

Its state directory has a name that has to be quoted in a unit file.
"""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import pytest

from tests.lab import Device, archives, evidence

from .engine import Engine
from .project import Project
from .test_engine_no_systemd import release

STATE = "/var/lib/fleet ota $HOME %n\\o"
CURRENT = f"{archives.DESTINATION}/current/VERSION"
UNIT = "fleet-ota-guard.service"
HOLD = "import fcntl, sys, time; fcntl.flock(open(sys.argv[1], 'w'), 2); print('held', flush=True); time.sleep(1000)"


@pytest.fixture
def engine(lab_device: Device, project: Project) -> Engine:
    engine = Engine(lab_device, STATE)
    engine.enroll(project)
    assert engine.update(release(project, "41", "supervised"))["outcome"] == "updated"
    return engine


def say(engine: Engine, command: str) -> str:
    return engine.device.run(["sh", "-c", command], check=False).stdout.strip()


def settled(engine: Engine, timeout: float = 60) -> dict[str, object]:
    """The reply of a device that has come to its end by itself: nothing is asked of it meanwhile."""
    deadline = time.monotonic() + timeout
    while say(engine, f"cat {shlex.quote(STATE)}/history.jsonl").count('"restored"') < 1:
        assert time.monotonic() < deadline, say(engine, f"journalctl -b -u {UNIT} --no-pager | tail")
        time.sleep(0.2)
    return engine.call("status", wait=20)


def hurt(engine: Engine) -> None:
    """Everything at once, while it waits for its confirm."""
    state = engine.device.root / STATE.lstrip("/")
    for signal in ("TERM", "KILL"):
        pid = say(engine, f"systemctl show -P MainPID {UNIT}")
        assert int(pid) > 0
        say(engine, f"kill -{signal} {pid}")
        wait_for_another(engine, pid)
    (state / "transaction.json").write_bytes(b"\0" * 700)
    history = (state / "history.jsonl").read_bytes()
    (state / "history.jsonl").write_bytes(history[:-20] + b"\0" * 19 + b"\n")
    next((state / "releases").iterdir()).write_text("{}")
    lock = shlex.quote(f"{STATE}/lock")
    say(engine, f"systemd-run -q --unit=thief python3 -c {shlex.quote(HOLD)} {lock.replace('$', '$$')} other.pyz")
    until(engine, "journalctl -b -u thief -o cat --no-pager | grep -cx held", "1")
    say(engine, "echo 1 >/sys/fs/cgroup$(systemctl show -P ControlGroup thief)/cgroup.freeze")
    say(engine, "mount -o remount,size=1m /tmp; cat /dev/zero >/tmp/full")


def wait_for_another(engine: Engine, pid: str) -> None:
    deadline = time.monotonic() + 20
    while say(engine, f"systemctl show -P MainPID {UNIT}") in (pid, "0"):
        assert time.monotonic() < deadline, say(engine, f"systemctl status {UNIT}")
        time.sleep(0.1)


def until(engine: Engine, command: str, wanted: str) -> None:
    deadline = time.monotonic() + 20
    while say(engine, command) != wanted:
        assert time.monotonic() < deadline, (command, say(engine, command))
        time.sleep(0.1)


def test_whatever_is_done_to_the_guard_the_device_goes_back(engine: Engine, project: Project) -> None:
    reply = engine.apply(release(project, "42", "supervised"), deadline=20)
    assert reply["state"] == "unconfirmed", reply
    assert say(engine, f"systemctl show -P OOMScoreAdjust {UNIT}") == "-900"
    hurt(engine)
    found = settled(engine)
    assert (found["state"], found["code"]) == ("restored", "DEADLINE"), found
    assert evidence.read(engine.device, CURRENT) == "41\n"
    until(engine, f"systemctl show -P ActiveState {UNIT}", "inactive")
    assert not (engine.device.root / f"etc/systemd/system/{UNIT}").exists()
    engine.device.cut()  # /tmp is as before, and the quoted unit has to be understood by the next boot
    engine.device.start()
    assert engine.apply(release(project, "43", "supervised"), deadline=600)["state"] == "unconfirmed"
    engine.device.cut()
    engine.device.start()
    engine.wait_for_count(1)
    reply = engine.call("restore", wait=30)
    assert (reply["state"], reply["code"]) == ("restored", "REQUESTED"), reply
    assert evidence.read(engine.device, CURRENT) == "41\n"


def test_a_state_directory_in_memory_is_refused_where_a_guard_is_wanted(
    lab_device: Device, project: Project, tmp_path: Path
) -> None:
    lab_device.run(["sh", "-c", "mkdir -p /srv/state && mount -t tmpfs -o mode=700 tmpfs /srv/state"])
    engine = Engine(lab_device, "/srv/state")
    engine.enroll(project)
    reply = engine.apply(release(project, "44", "supervised"))
    assert (reply["outcome"], reply["code"]) == ("refused", "VOLATILE_STATE"), reply
    assert engine.apply(release(project, "44", "supervised"), guard="none")["state"] == "unconfirmed"
