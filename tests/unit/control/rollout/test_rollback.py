# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of the way back: only who runs what the rollout brought, and under a rollout id of its own."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import PlanError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.journal import Journal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan
from ansible_collections.fleet.ota.plugins.plugin_utils._control.rollout import rollback, rollout

HOSTS = ["d1", "d2", "d3", "d4"]
RELEASE = {"name": "gateway", "version": "2.0", "counter": 2, "digest": "1a2b3c4d" * 8, "channel": "stable"}


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> pathlib.Path:
    """d1 and d3 run the release, d2 was restored, d4 never touched."""
    waves = [{"name": "canary", "count": 1}, {"name": "rest", "percent": 100}]
    made = plan.make(hosts=HOSTS, groups={"all": HOSTS}, release=RELEASE, waves=waves)
    book = Journal(rollout.start(tmp_path, made, {}).path)
    for device, outcome in (("d1", "updated"), ("d2", "restored"), ("d3", "current")):
        book.outcome(device, outcome)
    return tmp_path


def make(directory: pathlib.Path, **changes: t.Any) -> plan.Plan:
    given = {"directory": directory, "rollout": "gateway-2.0-1a2b3c4d", "hosts": HOSTS, "groups": {"all": HOSTS}}
    return rollback.make(**{**given, "wave": None, **changes})


def test_only_who_runs_the_release_goes_back(directory: pathlib.Path) -> None:
    assert make(directory).order() == ["d1", "d3"]
    assert make(directory, wave="rest").order() == ["d3"]
    assert make(directory, hosts=["d1", "d4"]).order() == ["d1"]


def test_who_a_later_run_left_out_goes_back_too(directory: pathlib.Path) -> None:
    """A run with ``--limit`` follows a plan of its own, and so does one after hosts were taken from the inventory."""
    waves = [{"name": "canary", "hosts": ["d4"]}, {"name": "south", "percent": 100}]
    for hosts in (HOSTS[2:], ["d4"]):
        made = plan.make(hosts=hosts, groups={"all": HOSTS}, release=RELEASE, waves=waves)
        Journal(rollout.start(directory, made, {}).path).outcome("d4", "updated")
    # in the order of the newest plan that has each
    assert make(directory).order() == ["d4", "d3", "d1"]
    assert make(directory, wave="canary").order() == ["d4", "d1"]
    assert make(directory, wave="south").order() == ["d3"]
    assert make(directory, wave="rest").order() == ["d3", "d4"]
    assert make(directory, hosts=["d1", "d2"]).order() == ["d1"]


def test_the_way_back_is_a_rollout_of_its_own(directory: pathlib.Path) -> None:
    made = make(directory)
    assert made.document["rollout"] != "gateway-2.0-1a2b3c4d"
    assert made == make(directory)
    assert not rollout.start(directory, made, {}).resumed


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"rollout": "../../x"}, "no rollout's id"),
        ({"wave": "middle"}, "no wave 'middle'"),
        ({"hosts": ["d2", "d4"]}, "nothing is to go back"),
    ],
)
def test_what_cannot_go_back_is_told(directory: pathlib.Path, changes: dict[str, t.Any], part: str) -> None:
    with pytest.raises(PlanError, match=part):
        make(directory, **changes)
