# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A device as the engine of commit f1b2194 left it goes on: its releases, its ways back, its open transaction."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest

from ..conftest import Device

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the files of the device belong to root")


def unpack(name: str, folder: Path, program: Path) -> Device:
    """The device, with the times of its files to the nanosecond, which tar does not keep."""
    with tarfile.open(str(HERE / ("device-%s-f1b2194.tar.gz" % name))) as archive:
        archive.extractall(str(folder))
    device = Device(folder / "device", program)
    for snapshot in sorted((device.state / "snapshots").iterdir(), key=lambda path: path.stat().st_mtime):
        for kind in ("manifest.jsonl", "after.jsonl"):
            if (snapshot / kind).exists():
                for line in (snapshot / kind).read_text().splitlines():
                    entry = json.loads(line)
                    path = device.root / entry["p"].lstrip("/")
                    if "mt" in entry and os.path.lexists(str(path)):
                        os.utime(str(path), ns=(entry["mt"], entry["mt"]), follow_symlinks=False)
    return device


def test_what_is_installed_is_known_and_rolls_back(tmp_path: Path, program: Path) -> None:
    device = unpack("confirmed", tmp_path, program)
    info = device.call("info")
    assert info["releases"]["app"]["current"]["version"] == "2" and info["releases"]["app"]["counter"] == 2
    reply = device.call("rollback", rollout="back", generation=1, wait=20)
    assert reply["state"] == "unconfirmed", reply
    assert device.call("confirm", transaction=reply["transaction"])["outcome"] == "updated"
    assert device.read("opt/app/current/bin/app") == "app 1"
    assert not (device.root / "opt/app/releases/2").exists()


@pytest.mark.parametrize("verb", ["confirm", "restore"])
def test_an_open_transaction_comes_to_its_end(tmp_path: Path, program: Path, verb: str) -> None:
    device = unpack("open", tmp_path, program)
    found = json.loads((device.state / "transaction.json").read_text())
    found["guard"] = "none"  # the guard of that machine is on that machine
    found.pop("guard_pid", None)
    (device.state / "transaction.json").write_text(json.dumps(found))
    reply = device.call(verb, transaction=found["id"], wait=30)
    end = {"confirm": ("confirmed", "updated", "app 3"), "restore": ("restored", "restored", "app 2")}[verb]
    assert (reply["state"], reply["outcome"], device.read("opt/app/current/bin/app")) == end, reply
