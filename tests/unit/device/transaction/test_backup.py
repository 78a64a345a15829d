# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Data is backed up elsewhere before anything is touched, with the real restic and a repository in a folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.admission import requests
from ansible_collections.fleet.ota.plugins.module_utils._device.base.errors import OtaError
from ansible_collections.fleet.ota.plugins.module_utils._device.documents import data
from ansible_collections.fleet.ota.plugins.module_utils._device.enrolment import sealed
from ansible_collections.fleet.ota.plugins.module_utils._device.system import command
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout
from ansible_collections.fleet.ota.plugins.module_utils._device.transaction import backup

from ..conftest import Device, Publisher
from .test_transaction import apply

pytestmark = pytest.mark.one_python

RESTIC = shutil.which("restic")
real = pytest.mark.skipif(RESTIC is None, reason="restic is not installed on this machine")
DB = "/srv/app/db"
ENTRY: data.Entry = {"path": DB, "on_restore": "keep", "backup": True}
QUICK = {"passes": 1, "interval": 0.1, "timeout": 5, "checks": [{"name": "runs", "type": "command", "argv": ["true"]}]}
#: Spoils the data when it is activated.
SPOIL = {"bin/app": "#!/bin/sh\necho spoiled >$FLEET_OTA_ROOT%s/rows\n" % DB}
CHANGES: dict[str, t.Any] = {"content": SPOIL, "payload": {"activate": ["bin/app"]}, "health": QUICK, "data": [ENTRY]}


class Elsewhere:
    """restic's repository, and the file on the device that names it."""

    def __init__(self, folder: Path, device: Device) -> None:
        self.repository = folder / "elsewhere"
        self.variables = {"RESTIC_REPOSITORY": str(self.repository), "RESTIC_PASSWORD": "x"}
        self.variables["RESTIC_CACHE_DIR"] = str(folder / "cache")
        self.settings = device.root / backup.SETTINGS.lstrip("/")
        self.settings.parent.mkdir(parents=True)
        self.write("".join("%s=%s\n" % pair for pair in self.variables.items()))

    def write(self, text: str, mode: int = 0o600) -> None:
        self.settings.write_text("# where it goes\n\n" + text)
        self.settings.chmod(mode)

    def run(self, *argv: str) -> str:
        """What restic says."""
        environment = {**os.environ, **self.variables}
        done = subprocess.run(["restic", *argv], env=environment, check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout

    def snapshots(self) -> list[dict[str, t.Any]]:
        return t.cast("list[dict[str, t.Any]]", json.loads(self.run("snapshots", "--json")) or [])


@pytest.fixture()
def elsewhere(tmp_path: Path, device: Device) -> Elsewhere:
    """A repository, and a device with data and the settings."""
    folder = device.root / DB.lstrip("/")
    folder.mkdir(parents=True)
    (folder / "rows").write_text("good")
    return Elsewhere(tmp_path, device)


@real
def test_it_is_made_while_all_is_quiet_and_before_anything_changes(
    device: Device, publisher: Publisher, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    elsewhere.run("init")
    quiet = "$FLEET_OTA_ROOT%s/quiet" % DB
    hooks = {"quiesce": [["sh", "-c", "touch " + quiet]], "resume": [["sh", "-c", "rm -f " + quiet]]}
    publisher.release(1, **{**CHANGES, **hooks})
    reply = apply(device, publisher)
    assert reply["state"] == "unconfirmed", reply
    assert device.read("srv/app/db/rows") == "spoiled\n"
    (found,) = elsewhere.snapshots()
    assert (found["hostname"], sorted(found["tags"])) == ("dev1", sorted(["fleet-ota", reply["transaction"]]))
    record = json.loads((device.state / "transaction.json").read_text())
    assert found["id"].startswith(record["backup"])
    elsewhere.run("restore", record["backup"], "--target", str(tmp_path / "back"))
    back = Path(str(tmp_path / "back") + str(device.root) + DB)
    assert {path.name: path.read_text() for path in back.iterdir()} == {"rows": "good", "quiet": ""}


@real
def test_one_that_fails_refuses_the_update_untouched(
    device: Device, publisher: Publisher, elsewhere: Elsewhere
) -> None:
    """There is no repository: nobody made one."""
    before = device.tree()
    publisher.release(1, **CHANGES)
    reply = apply(device, publisher)
    assert (reply["outcome"], reply["code"]) == ("refused", "BACKUP"), reply
    assert DB in reply["message"] and "nothing was touched" in reply["message"]
    assert device.tree() == before
    states = [json.loads(line)["state"] for line in (device.state / "history.jsonl").read_text().splitlines()]
    assert states == ["staged", "verified", "rehearsed", "refused"]
    elsewhere.run("init")
    assert apply(device, publisher)["state"] == "unconfirmed", "it says nothing against the release"


@real
def test_the_inventory_decides_and_what_is_not_there_yet_is_left_out(
    device: Device, publisher: Publisher, elsewhere: Elsewhere
) -> None:
    """Without a repository anything that is backed up fails."""
    publisher.release(1, **CHANGES)
    later = {"path": "/srv/later", "on_restore": "keep", "backup": True}
    reply = apply(device, publisher, data=[{"path": DB, "on_restore": "keep", "backup": False}, later])
    assert reply["state"] == "unconfirmed", reply
    assert "there is no /srv/later yet" in (device.state / "transactions" / reply["transaction"] / "log").read_text()


def test_without_a_way_to_back_up_nothing_begins(
    device: Device, publisher: Publisher, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(str(device.root))
    monkeypatch.setattr(command, "which", lambda program: "/usr/bin/" + program)
    backup.require_possible(layout, [ENTRY])
    wrong = {
        "is open to others": ("RESTIC_REPOSITORY=/r\n", 0o640),
        "line 3: only NAME=value": ("export RESTIC_REPOSITORY=/r\n", 0o600),
        "line 4: only NAME=value": ("RESTIC_REPOSITORY=/r\nPATH=/tmp\n", 0o600),
        "names no RESTIC_REPOSITORY": ("RESTIC_PASSWORD=x\n", 0o600),
    }
    for message, (text, mode) in wrong.items():
        elsewhere.write(text, mode)
        assert message in refusal(layout)
    elsewhere.settings.unlink()
    assert backup.SETTINGS in refusal(layout)
    monkeypatch.setattr(command, "which", lambda program: None)
    assert "install it" in refusal(layout)
    backup.require_possible(layout, [{**ENTRY, "backup": False}, {"path": "/x", "on_restore": "keep"}])
    publisher.release(1, **CHANGES)
    reply = apply(device, publisher)
    assert reply["error"]["code"] == "REQUIREMENT", reply
    assert not (device.state / "transaction.json").exists()


def refusal(layout: Layout) -> str:
    with pytest.raises(OtaError) as caught:
        backup.require_possible(layout, [ENTRY])
    assert (caught.value.code, caught.value.outcome) == ("REQUIREMENT", "refused")
    return caught.value.message


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([], True),
        ([{"path": DB, "on_restore": "keep"}], True),
        ([{"path": DB + "/", "on_restore": "keep", "backup": False}], False),
        ([{"path": DB, "on_restore": "restore"}], True),
    ],
)
def test_what_the_inventory_does_not_say_the_release_does(given: list[t.Any], wanted: bool) -> None:
    (found,) = data.merged({"data": [ENTRY]}, given)
    assert (found["path"], found["backup"]) == (DB, wanted)


def test_a_sealed_device_lets_its_controller_ask_for_one() -> None:
    """Where it goes is the device's own matter, so it takes nothing out of its owner's hands."""
    settings = sealed.Settings(login="ota", protect=(DB,))
    request = {"v": 1, "verb": "apply", "data": [{"path": DB, "on_restore": "restore", "backup": True}]}
    assert requests.admit(Layout(), settings, request, 1)["data"] == request["data"]
