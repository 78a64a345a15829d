# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL under a service that commits all the time: code and configuration go back, no committed row is lost."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.client.bundle import Bundle

from tests.lab import Device, Fleet, archives, evidence, packages

from .engine import Engine
from .project import HARDWARE, Project

#: Commits row after row, each in a transaction of its own, and writes down what PostgreSQL has confirmed.
WRITER = """
import os, subprocess, time
log = open("/srv/committed", "ab", buffering=0)
command = "runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1".split()
while True:
    session = subprocess.Popen(command, stdin=-1, stdout=-1, stderr=subprocess.DEVNULL, cwd="/")
    try:
        while True:
            session.stdin.write(b"insert into rows default values returning n;\\n")
            session.stdin.flush()
            answer = session.stdout.readline()
            if not answer.endswith(b"\\n"):
                break
            log.write(answer)
            os.fsync(log.fileno())
    except OSError:
        pass
    session.kill()
    session.wait()
    time.sleep(0.1)
"""
UNIT = "[Service]\nExecStart=/usr/bin/python3 /srv/writer.py\n[Install]\nWantedBy=multi-user.target\n"
SQL = ["runuser", "-u", "postgres", "--", "psql", "-XqAtc"]
DATA = "/var/lib/postgresql"
FIRST = "create table rows (n bigserial primary key)"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose counters nobody else raises."""
    return Project(tmp_path / "p")


@pytest.fixture
def own_disk(lab_host: None) -> Iterator[Device]:
    """A device whose power cut throws away what was not synced."""
    fleet = Fleet(f"pg{os.getpid()}")
    try:
        fleet.up(1, kind="ext4", owner=os.getpid())
        yield fleet[1]
    finally:
        fleet.down()


@pytest.fixture(params=["lab_device", pytest.param("own_disk", marks=pytest.mark.long)])
def engine(request: pytest.FixtureRequest, project: Project) -> Engine:
    """A device with PostgreSQL, whose configuration comes with the release, and the service; it has release 41."""
    device: Device = request.getfixturevalue(request.param)
    packages.offer(device, ["postgresql"])
    install = ["apt-get", "-qy", "-o", "Dpkg::Options::=--force-unsafe-io", "install", "postgresql"]
    device.run(["env", "DEBIAN_FRONTEND=noninteractive", *install])
    device.run([*SQL, FIRST])
    configuration = device.root / f"etc/postgresql/{major(device)}/main/conf.d/app.conf"
    configuration.symlink_to(f"{archives.DESTINATION}/current/share/app.conf")
    (device.root / "srv/writer.py").write_text(WRITER)
    (device.root / "etc/systemd/system/rows.service").write_text(UNIT)
    device.run(["systemctl", "daemon-reload"])
    found = Engine(device)
    found.enroll(project)
    assert found.update(release(device, project, 41))["outcome"] == "updated"
    device.run(["systemctl", "enable", "--now", "rows"])
    return found


def major(device: Device) -> str:
    return device.run(["ls", "/usr/lib/postgresql"]).stdout.strip()


def release(device: Device, project: Project, counter: int, *, waits_for: str = "", timeout: float = 60) -> Bundle:
    """A release that sets PostgreSQL's `work_mem` to its own number, in MB, and restarts it.

    Healthy only when the file ``waits_for`` is there within ``timeout`` seconds.
    """
    content = {"share/app.conf": b"work_mem = '%dMB'\n" % counter}
    archive = archives.build(str(counter), project.folder / "build", extra=content)
    unit = f"postgresql@{major(device)}-main.service"
    payload = {"name": "app", "type": "archive", "source": str(archive.relative_to(project.folder)), "units": [unit]}
    checks: list[dict[str, Any]] = [{"name": "database", "type": "command", "argv": [*SQL, "select 1"]}]
    checks += [{"name": "waits", "type": "file", "path": waits_for}] if waits_for else []
    document: dict[str, Any] = {"format": 1, "name": "shop", "version": str(counter), "counter": counter}
    document["payloads"] = [{**payload, "destination": archives.DESTINATION}]
    document["compatible"] = {"hardware": [HARDWARE]}
    document["protect"] = ["/etc/postgresql", DATA]
    document["data"] = [{"path": DATA, "on_restore": "keep"}]
    document["quiesce"] = [["systemctl", "stop", "rows"], [*SQL, "checkpoint"]]
    document["resume"] = [["systemctl", "start", "rows"]]
    document["health"] = {"passes": 2, "interval": 0.2, "timeout": timeout, "checks": checks}
    return project.publish(project.write(document))


def committed(device: Device) -> list[int]:
    """What PostgreSQL has confirmed to the service; a last line without an end was cut off."""
    text = evidence.read(device, "srv/committed") or ""
    return [int(line) for line in text.split("\n")[:-1]]


def wait_for_more(device: Device, count: int = 20) -> list[int]:
    """Wait until so many more rows are confirmed."""
    wanted, end = len(committed(device)) + count, time.monotonic() + 60
    while len(found := committed(device)) < wanted:
        assert time.monotonic() < end, "the service goes on"
        time.sleep(0.05)
    return found


def assert_all_there(device: Device, told: list[int], runs: int) -> None:
    """Every row of `told` is there, and PostgreSQL runs with the configuration of release `runs`."""
    there = {int(line) for line in device.run([*SQL, "select n from rows"]).stdout.split()}
    assert told and sorted(set(told) - there) == []
    assert device.run([*SQL, "show work_mem"]).stdout == f"{runs}MB\n"


def test_no_committed_row_is_lost(engine: Engine, project: Project) -> None:
    device = engine.device
    before = len(wait_for_more(device))
    assert engine.update(release(device, project, 42))["outcome"] == "updated"
    told = wait_for_more(device)
    assert len(told) > before
    assert_all_there(device, told, 42)

    # not healthy, while rows are committed under the new configuration
    call = engine.start_apply(release(device, project, 43, waits_for="/srv/never", timeout=8))
    engine.wait_for("checking")
    told = wait_for_more(device)
    reply = engine.wait_for("restored", "broken", timeout=90)
    assert (reply["state"], reply["code"]) == ("restored", "HEALTH"), reply
    call.wait()
    assert_all_there(device, told, 42)
    assert_all_there(device, wait_for_more(device), 42)

    # the power is cut while the new configuration runs and is not proven yet; on a disk of its own, what was not
    # synced is gone too
    call = engine.start_apply(release(device, project, 44, waits_for="/srv/go", timeout=300))
    engine.wait_for("checking")
    told = wait_for_more(device)
    assert device.run([*SQL, "show work_mem"]).stdout == "44MB\n"
    device.cut(lose_unsynced=device.disk.kind == "ext4")
    call.kill()
    device.start()
    reply = engine.wait_for("restored", "broken", timeout=90)
    assert (reply["state"], reply["code"]) == ("restored", "INTERRUPTED"), reply
    assert_all_there(device, told, 42)
    assert_all_there(device, wait_for_more(device), 42)
