# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Code goes back, data stays: with a real database that is written to all the time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from ..conftest import Device, Publisher
from .test_transaction import apply, update, wait_for

pytestmark = pytest.mark.one_python

#: Commits one row after the other; writes down each one that SQLite has confirmed.
WRITER = """
import sqlite3, sys

database = sqlite3.connect(sys.argv[1] + "/rows.db", isolation_level=None, timeout=60)
database.execute("pragma journal_mode=wal")
database.execute("create table if not exists rows (n integer primary key)")
for number in range(1, 1 << 30):
    database.execute("insert into rows values (?)", (number,))
    with open(sys.argv[1] + "/committed.new", "w") as handle:
        handle.write(str(number))
    import os
    os.rename(sys.argv[1] + "/committed.new", sys.argv[1] + "/committed")
"""
SICK = {"passes": 1, "interval": 0.1, "timeout": 0.2, "checks": [{"name": "never", "type": "tcp", "port": 1}]}
KEEP: dict[str, t.Any] = {"data": [{"path": "/srv/app/db", "on_restore": "keep"}], "protect": ["/srv/app"]}


@pytest.fixture()
def writer(device: Device) -> t.Iterator[Path]:
    """A database in /srv/app/db with a service that writes into it."""
    folder = device.root / "srv/app/db"
    folder.mkdir(parents=True)
    (device.root / "srv/app/conf").write_text("old")
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)])
    try:
        beyond(folder, 0)
        yield folder
        assert process.poll() is None, "the service went on all the time"
    finally:
        process.kill()
        process.wait()


def beyond(folder: Path, count: int) -> int:
    """Wait until more than ``count`` rows are committed; how many are."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        path = folder / "committed"
        found = int(path.read_text()) if path.exists() else 0
        if found > count:
            return found
        time.sleep(0.01)
    raise AssertionError("nothing was committed")


def assert_no_row_lost(folder: Path) -> None:
    import sqlite3

    committed = int((folder / "committed").read_text())
    with sqlite3.connect(str(folder / "rows.db"), timeout=60) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
        count = database.execute("select count(*) from rows where n <= ?", (committed,)).fetchone()[0]
    assert count == committed


def changing(text: str) -> dict[str, t.Any]:
    script = "#!/bin/sh\nprintf %s > $FLEET_OTA_ROOT/srv/app/conf\n" % text
    return {"content": {"bin/app": script}, "payload": {"activate": ["bin/app"]}, **KEEP}


def test_no_committed_row_is_lost_by_update_restore_rollback_or_a_killed_engine(
    device: Device, publisher: Publisher, writer: Path
) -> None:
    update(device, publisher, 1, **changing("one"))
    seen = beyond(writer, 0)

    publisher.release(2, health=SICK, **changing("two"))
    assert apply(device, publisher)["outcome"] == "restored"
    assert device.read("srv/app/conf") == "one", "code and configuration went back"
    seen = beyond(writer, seen)
    assert_no_row_lost(writer)

    slow = dict(SICK, timeout=60)
    publisher.release(3, health=slow, **changing("three"))
    reply = apply(device, publisher, wait=0)
    wait_for(device, "checking")
    pid = json.loads((device.state / "transactions" / reply["transaction"] / "worker.json").read_text())["pid"]
    os.kill(pid, signal.SIGKILL)
    reply = wait_for(device, "restored")
    assert (reply["outcome"], reply["code"]) == ("restored", "INTERRUPTED"), reply
    assert device.read("srv/app/conf") == "one"
    seen = beyond(writer, seen)
    assert_no_row_lost(writer)

    update(device, publisher, 4, **changing("four"))
    reply = device.call("rollback", wait=20)
    device.call("confirm", transaction=reply["transaction"])
    assert device.read("srv/app/conf") == "one"
    beyond(writer, seen)
    assert_no_row_lost(writer)


def test_data_that_shall_go_back_does(device: Device, publisher: Publisher) -> None:
    (device.root / "srv/app").mkdir(parents=True)
    (device.root / "srv/app/conf").write_text("old")
    changes = changing("new")
    changes.update(data=[{"path": "/srv/app", "on_restore": "restore"}], protect=[])
    publisher.release(1, health=SICK, **changes)
    assert apply(device, publisher)["outcome"] == "restored"
    assert device.read("srv/app/conf") == "old"


def said(device: Device) -> list[str]:
    path = device.root / "srv/said"
    return path.read_text().split() if path.exists() else []


def command(text: str) -> list[str]:
    return ["/bin/sh", "-c", text]


STOP, GO = command("echo stop >>$FLEET_OTA_ROOT/srv/said"), command("echo go >>$FLEET_OTA_ROOT/srv/said")


def test_quiesce_and_resume_are_around_the_snapshot_and_nothing_else(device: Device, publisher: Publisher) -> None:
    (device.root / "srv").mkdir()
    script = "#!/bin/sh\necho install >>$FLEET_OTA_ROOT/srv/said\n"
    payload = {"activate": ["bin/app"]}
    publisher.release(1, content={"bin/app": script}, payload=payload, quiesce=[STOP], resume=[GO])
    assert apply(device, publisher)["state"] == "unconfirmed"
    assert said(device) == ["stop", "go", "install"]


def test_a_quiesce_that_fails_is_undone_and_refused(device: Device, publisher: Publisher) -> None:
    (device.root / "srv").mkdir()
    publisher.release(1, quiesce=[STOP, command("exit 3")], resume=[command("exit 1"), GO])
    reply = apply(device, publisher)
    assert (reply["outcome"], reply["code"]) == ("refused", "REQUIREMENT"), reply
    assert said(device) == ["stop", "go"]


def test_an_engine_killed_while_all_is_quiet_leaves_nothing_quiet(device: Device, publisher: Publisher) -> None:
    (device.root / "srv").mkdir()
    publisher.release(1, quiesce=[STOP, command("sleep 60")], resume=[GO])
    reply = apply(device, publisher, wait=0)
    end = time.monotonic() + 20
    while said(device) != ["stop"] and time.monotonic() < end:
        time.sleep(0.02)
    pid = json.loads((device.state / "transactions" / reply["transaction"] / "worker.json").read_text())["pid"]
    os.kill(pid, signal.SIGKILL)
    while said(device) != ["stop", "go"] and time.monotonic() < end:
        time.sleep(0.02)  # nobody asks the device anything
    assert said(device) == ["stop", "go"]
    assert device.call("info")["transaction"]["state"] == "rehearsed"


def test_what_is_wrong_with_data_is_told_before_anything(publisher: Publisher) -> None:
    from ansible_collections.fleet.ota.plugins.module_utils._device.documents import release

    wrong: dict[str, t.Any] = {"data": [{"path": "srv", "on_restore": "lose"}], "quiesce": ["stop"]}
    with pytest.raises(release.ReleaseError) as error:
        publisher.release(1, **wrong)
    assert {problem.split(":")[0] for problem in error.value.problems} == {
        "data[0].path",
        "data[0].on_restore",
        "quiesce",
        "resume",
    }
