# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may join a wave, and that nobody closes it while they are at work."""

from __future__ import annotations

import os
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import JournalError, PlanError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal import journal, runs
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.state import Controller
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan
from ansible_collections.fleet.ota.plugins.plugin_utils._control.rollout import join as joining
from ansible_collections.fleet.ota.plugins.plugin_utils._control.rollout import rollout as rollouts

pytestmark = pytest.mark.one_core

RELEASE = {"name": "gateway", "version": "2.0", "counter": 2, "digest": "1a2b3c4d" * 8, "channel": "stable"}
ROLLOUT = "gateway-2.0-1a2b3c4d"
HOSTS = ["d1", "d2", "d3", "d4"]
WAVES = [{"name": "canary", "count": 1}, {"name": "rest", "percent": 100}]
MADE = plan.make(hosts=HOSTS, groups={"all": HOSTS}, release=RELEASE, waves=WAVES)


def me() -> Controller:
    return {**runs.controller(os.getpid()), "user": "ann"}


@pytest.fixture
def opened(tmp_path: pathlib.Path) -> journal.Journal:
    """A rollout whose second wave is open."""
    book = journal.Journal(rollouts.start(tmp_path, MADE, me()).path)
    book.outcome("d1", "updated")
    said = {"decision": "promote", "reason": "", "counts": {}}
    book.append("wave.started", data={"wave": 0, "name": "canary", **said})
    book.append("wave.ended", data={"wave": 0, "name": "canary", **said})
    book.append("wave.started", data={"wave": 1, "name": "rest", "open": True, **said})
    book.append("rollout.ended", data={"result": "held"})
    return book


def join(book: journal.Journal, *hosts: str, **options: t.Any) -> joining.Joined:
    controller = options.pop("controller", me())
    return joining.join(book.path.parents[1], ROLLOUT, "rest", hosts, controller, **options)


def test_each_takes_its_own_devices_of_the_wave(opened: journal.Journal) -> None:
    joined = join(opened, "d3", "d1", "d2", "elsewhere")
    assert joined.hosts == ["d2", "d3"]
    assert (joined.generation, joined.path) == (1, opened.path)
    opened.outcome("d2", "updated")
    assert joining.leave(opened, joined.slice) == ["d3"]
    assert opened.last()["data"]["open"] == ["d3"]
    assert join(opened, "d2", "d3", "d4").hosts == ["d3", "d4"]


def test_a_wave_that_is_open_is_no_loss(opened: journal.Journal) -> None:
    end = rollouts.result_of(opened.state())
    assert (end.result, end.opened) == ("held", 1)
    assert end.reason == "wave rest is open for runs that join it"
    opened.outcome("d2", "broken", code="RESTORE")
    assert rollouts.result_of(opened.state()).result == "halted"


def test_nobody_closes_a_wave_while_somebody_is_at_work(
    opened: journal.Journal, other: subprocess.Popen[bytes]
) -> None:
    them = {**runs.controller(other.pid), "user": "bob"}
    joined = join(opened, "d2", controller=them)
    folder = opened.path.parents[1]
    with pytest.raises(JournalError, match=r"run by bob on .*, who has 1 devices of a wave") as caught:
        rollouts.start(folder, MADE, me())
    assert caught.value.code == "BUSY"
    # others may join with other devices, and nobody with these
    assert join(opened, "d3").hosts == ["d3"]
    with pytest.raises(JournalError, match="run by bob"):
        join(opened, "d2", "d4")
    joining.leave(opened, joined.slice)
    assert rollouts.start(folder, MADE, me()).generation == 2


def test_who_was_killed_is_followed_at_once(opened: journal.Journal, other: subprocess.Popen[bytes]) -> None:
    join(opened, "d2", controller={**runs.controller(other.pid), "user": "bob"})
    opened.pending("d2", 1)
    other.kill()
    other.wait()
    assert join(opened, "d2").hosts == ["d2"]
    assert rollouts.start(opened.path.parents[1], MADE, me()).unresolved == ["d2"]


def test_who_is_elsewhere_is_waited_for_or_taken_over(opened: journal.Journal) -> None:
    join(opened, "d2", controller={**me(), "host": "pod-7"})
    with pytest.raises(JournalError, match="fleet_ota_take_over=true or wait until"):
        join(opened, "d2")
    assert join(opened, "d2", take_over=True).hosts == ["d2"]


def test_only_an_open_wave_is_joined(opened: journal.Journal, tmp_path: pathlib.Path) -> None:
    for rollout, wave, error, text in (
        ("gateway-3.0-1a2b3c4d", "rest", JournalError, "has no journal in .*; open the wave first"),
        (ROLLOUT, "canary", JournalError, "wave canary of .* is not open; open it first"),
        (ROLLOUT, "more", PlanError, "has no wave 'more'; it has canary, rest"),
    ):
        before = opened.path.read_bytes()
        with pytest.raises(error, match=text):
            joining.join(tmp_path, rollout, wave, HOSTS, me())
        assert opened.path.read_bytes() == before
    rollouts.start(tmp_path, MADE, me())
    with pytest.raises(JournalError, match="is not open"):
        join(opened, "d2")
    # a run that does the wave itself has not opened it
    said = {"decision": "promote", "reason": "", "counts": {}}
    opened.append("wave.started", data={"wave": 1, "name": "rest", **said})
    with pytest.raises(JournalError, match="is not open"):
        join(opened, "d2")
