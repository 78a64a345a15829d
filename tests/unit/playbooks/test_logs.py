# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The logs of all devices come home, as far as they answer and have any."""

from __future__ import annotations

import json
import shutil
import typing as t

import pytest

from .test_catch_up import OFF

if t.TYPE_CHECKING:
    from .conftest import MakeFleet

pytestmark = pytest.mark.one_core


def test_the_logs_of_a_fleet_come_into_a_folder(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2", "d3")
    fleet.variables["d1"] = dict(OFF)
    state = fleet.devices["d2"].root / "var/lib/fleet-ota"
    identifier = json.loads((state / "transaction.json").read_text())["id"]
    with (state / "transactions" / identifier / "log").open("a") as log:
        log.write("the licence server refused\npassword=hunter2 was wrong\n")
    shutil.rmtree(fleet.devices["d3"].root / "var/lib/fleet-ota")  # one that was never enrolled
    trees = fleet.trees(state=True)
    ran = fleet.play("logs", fleet_ota_logs_dir="logs")  # from where it was started
    assert ran.rc == 0, ran.text
    home = fleet.folder / "logs"
    assert [path.name for path in home.iterdir()] == ["d2"]
    text = (home / "d2" / f"{identifier}.log").read_text()
    assert "the licence server refused" in text
    assert "hunter2" not in text and "password=***" in text
    assert "NO_PREVIOUS" in ran.text and f"d2/{identifier}.log" in ran.text
    after = fleet.trees(state=True)
    assert all(after[name] == trees[name] for name in ("d1", "d2")), "nothing changes on a device"
