# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fleet in one table: devices that answer, are off or cannot answer, and what a rollout knows of them."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.journal import Journal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.state import Controller
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan
from ansible_collections.fleet.ota.plugins.plugin_utils._control.rollout import rollout

from .test_catch_up import OFF

if t.TYPE_CHECKING:
    from .conftest import MakeFleet

pytestmark = pytest.mark.one_core

RELEASE = {"name": "gateway", "version": "2", "counter": 2, "digest": "1a2b3c4d" * 8, "channel": "stable"}
ME: Controller = {"host": "a", "boot": "b", "namespace": "c", "pid": 1, "begun": "1"}


def test_every_device_is_a_row_and_nothing_changes(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2", "d3", "d4")
    fleet.variables["d1"] = dict(OFF)  # the first of a play, which runs what runs once
    fleet.variables["d3"] = {"ansible_python_interpreter": "/nowhere/python3"}
    waves = [{"name": "canary", "hosts": ["d1"]}, {"name": "rest", "percent": 100}]
    made = plan.make(hosts=["d1", "d2", "d3"], groups={}, release=RELEASE, waves=waves)
    book = Journal(rollout.start(pathlib.Path(fleet.common["fleet_ota_journal_dir"]), made, ME).path)
    book.outcome("d2", "deferred", code="WINDOW")
    fleet.environment = {"ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}  # YAML would fold the lines
    trees, kept = fleet.trees(state=True), book.path.read_bytes()
    ran = fleet.play("status", "--check", fleet_ota_check_health=True)
    assert ran.rc == 0, ran.text
    table = ran.text[ran.text.rindex("TASK [Show the fleet]") :]
    for line in (
        "d1      no       unknown    unknown   unknown      unknown  gateway-2-1a2b3c4d canary untouched",
        "d2      yes      gateway 1  none      updated      yes      gateway-2-1a2b3c4d rest deferred",
        "d3      yes      unknown    unknown   unknown      unknown  gateway-2-1a2b3c4d rest untouched",
        "d4      yes      gateway 1  none      updated      yes      none",
        "4 devices, 3 reached",
        "gateway 1: 2",
        "unknown: 2",
        "d1: no contact: ",
        "d3: NO_PYTHON: /nowhere/python3 was not found",
    ):
        assert line in table, ran.text
    assert "changed=0" in table
    assert "changed=1" not in table
    assert fleet.trees(state=True) == trees
    assert book.path.read_bytes() == kept
