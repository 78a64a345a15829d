# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power cuts of a real device while a database is quiesced, and while it is migrated: no committed row is lost."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.client.bundle import Bundle

from tests.lab import Device, archives, evidence

from .engine import Engine
from .project import HARDWARE, Project

#: Commits row after row, as long as the table has the form that this release knows; tells what SQLite has confirmed.
WRITER = """
import os, sqlite3, sys
database = sqlite3.connect("/srv/rows/rows.db", isolation_level=None, timeout=60)
database.execute("pragma journal_mode=wal")
database.execute("pragma synchronous=full")
database.execute("create table if not exists rows (n integer primary key)")
while True:
    number = database.execute("insert into rows default values").lastrowid
    with open("/srv/rows/committed.new", "w") as handle:
        handle.write(str(number))
        handle.flush()
        os.fsync(handle.fileno())
    os.rename("/srv/rows/committed.new", "/srv/rows/committed")
"""
#: Gives the table another name, row by row; `up` waits in the middle for as long as /srv/wait is there.
MIGRATE = """
import os, sqlite3, sys, time
with open("/srv/rows/said", "a") as handle:
    handle.write(sys.argv[1] + "\\n")
database = sqlite3.connect("/srv/rows/rows.db", isolation_level=None, timeout=60)
database.execute("create table if not exists moved (n integer primary key)")
source, target = ("rows", "moved") if sys.argv[1] == "up" else ("moved", "rows")
while True:
    found = database.execute("select n from %s limit 1" % source).fetchone()
    if not found:
        break
    database.execute("begin")
    database.execute("insert or ignore into %s values (?)" % target, found)
    database.execute("delete from %s where n = ?" % source, found)
    database.execute("commit")
    while sys.argv[1] == "up" and os.path.exists("/srv/wait"):
        time.sleep(0.1)
"""
#: Not enabled: after a boot it runs only if somebody resumes it.
UNIT = "[Service]\nExecStart=/usr/bin/python3 /srv/writer.py\n"
DATA = {"path": "/srv/rows", "on_restore": "keep"}
QUIET = "systemctl stop rows; touch /srv/quiet; while [ -e /srv/hold ]; do sleep 0.1; done"
COUNT = "import sqlite3; print(sqlite3.connect('/srv/rows/rows.db').execute('%s').fetchone()[0])"


@pytest.fixture
def own(tmp_path: Path) -> Project:
    """A project whose counters nobody else raises."""
    return Project(tmp_path / "data")


@pytest.fixture
def engine(lab_device: Device, own: Project) -> Engine:
    """A device with a service that writes all the time; it has release 31."""
    root = lab_device.root
    (root / "srv/rows").mkdir()
    (root / "srv/writer.py").write_text(WRITER)
    (root / "srv/migrate.py").write_text(MIGRATE)
    (root / "etc/systemd/system/rows.service").write_text(UNIT)
    lab_device.run(["systemctl", "daemon-reload"])
    lab_device.run(["systemctl", "start", "rows"])
    found = Engine(lab_device)
    found.enroll(own)
    assert found.update(release(own, "31"))["outcome"] == "updated"
    return found


def release(project: Project, version: str, **changes: Any) -> Bundle:
    """A version of `gateway` that needs no service of its own."""
    archive = archives.build(version, project.folder / "build")
    source = str(archive.relative_to(project.folder))
    payload = {"name": "app", "type": "archive", "source": source, "destination": archives.DESTINATION}
    document = {"format": 1, "name": "plain", "version": version, "counter": int(version), "payloads": [payload]}
    document.update({"compatible": {"hardware": [HARDWARE]}, "data": [DATA], "protect": ["/srv"], **changes})
    return project.publish(project.write(document))


def wait_for(device: Device, name: str) -> None:
    """Wait until the device has a file."""
    end = time.monotonic() + 60
    while not (device.root / name).exists():
        assert time.monotonic() < end, name
        time.sleep(0.02)


def committed(device: Device) -> int:
    return int(evidence.read(device, "srv/rows/committed") or 0)


def test_power_cuts_while_all_is_quiet_and_in_mid_migration(engine: Engine, own: Project) -> None:
    device = engine.device
    wait_for(device, "srv/rows/committed")

    (device.root / "srv/hold").write_text("")
    quiesce = {"quiesce": [["sh", "-c", QUIET]], "resume": [["systemctl", "start", "rows"]]}
    call = engine.start_apply(release(own, "32", **quiesce))
    wait_for(device, "srv/quiet")
    before = committed(device)
    device.cut()
    call.kill()
    device.start()
    reply = engine.wait_for("deferred")  # nobody asks the device anything
    assert reply["code"] == "INTERRUPTED", reply
    engine.wait_for_tidy()
    assert device.run(["systemctl", "is-active", "rows"]).stdout == "active\n", "the boot resumed it by itself"
    end = time.monotonic() + 30
    while committed(device) <= before:
        assert time.monotonic() < end, "the service goes on"
        time.sleep(0.05)
    assert not (device.root / "etc/systemd/system/fleet-ota-guard.service").exists()

    (device.root / "srv/wait").write_text("")
    stopped = {"quiesce": [["systemctl", "stop", "rows"]], "resume": [["true"]]}
    run = ["python3", "/srv/migrate.py"]
    entry = {**DATA, "migrate": {"forward": [*run, "up"], "back": [*run, "down"]}}
    call = engine.start_apply(release(own, "33", data=[entry], **stopped))
    wait_for(device, "srv/rows/said")
    end = time.monotonic() + 30
    while device.run(["python3", "-c", COUNT % "select count(*) from moved"], check=False).stdout != "1\n":
        assert time.monotonic() < end, "one row is moved"
        time.sleep(0.05)
    before = committed(device)
    device.cut()
    call.kill()
    device.start()
    found = engine.wait_for("restored", "broken")
    assert (found["state"], found["code"]) == ("restored", "INTERRUPTED"), found
    assert (evidence.read(device, "srv/rows/said") or "").split() == ["up", "down"]
    for query, count in (("select count(*) from moved", 0), (f"select count(*) from rows where n <= {before}", before)):
        assert json.loads(device.run(["python3", "-c", COUNT % query]).stdout) == count
    assert evidence.read(device, f"{archives.DESTINATION}/current/VERSION") == "31\n"
