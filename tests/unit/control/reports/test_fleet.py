# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of a fleet: a row for whoever gave no answer, nothing guessed, and totals that add up."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.journal import Journal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.state import Controller
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan
from ansible_collections.fleet.ota.plugins.plugin_utils._control.reports import fleet
from ansible_collections.fleet.ota.plugins.plugin_utils._control.rollout import rollback, rollout

pytestmark = pytest.mark.one_core

HOSTS = ["d1", "d2", "d3", "d4"]
ME: Controller = {"host": "a", "boot": "b", "namespace": "c", "pid": 1, "begun": "1"}
ROLLOUT = "gateway-2.0-1a2b3c4d"


def release(version: str) -> dict[str, t.Any]:
    return {"name": "gateway", "version": version}


def info(version: str | None, before: str | None = None, **more: t.Any) -> dict[str, t.Any]:
    """What a device says that runs ``version``."""
    current = {"current": version and release(version), "previous": before and release(before), "counter": 1}
    return {"enrolled": True, "releases": {"gateway": current}, "transaction": None, "witness": [], **more}


def started(folder: pathlib.Path, hosts: list[str], digest: str = "1a2b3c4d" * 8) -> Journal:
    known = {**release("2.0"), "counter": 2, "digest": digest, "channel": "stable"}
    waves = [{"name": "canary", "count": 1}, {"name": "rest", "percent": 100}]
    made = plan.make(hosts=hosts, groups={}, release=known, waves=waves)
    return Journal(rollout.start(folder, made, ME).path)


def row(name: str, found: dict[str, t.Any], **more: t.Any) -> fleet.Row:
    known, checked = more.get("known", {}), more.get("checked", {})
    return fleet.rows([name], {name: found}, {name: checked}, known)[0]


def test_every_kind_of_answer_has_its_row_and_counts_once() -> None:
    open_ = {"state": "unconfirmed", "outcome": None, "code": None, "rollout": "r"}
    infos = {
        "d1": info("2.0", "1.0", transaction={"state": "confirmed", "outcome": "updated", "code": None}),
        "d2": {"unreachable": True, "msg": "Task failed: d2: no contact:\n timed out"},
        "d3": {"failed": True, "code": "NO_PYTHON", "msg": "d3: NO_PYTHON: not found"},
        "d4": info(None, transaction=open_),
    }
    found = fleet.rows(HOSTS, infos, {}, {})
    assert [one["device"] for one in found] == HOSTS
    assert [one["reached"] for one in found] == [True, False, True, True]
    assert [one["releases"] for one in found] == [["gateway 2.0"], None, None, []]
    assert [one["previous"] for one in found] == [["gateway 1.0"], None, None, []]
    assert [one["waiting"] for one in found] == [False, None, None, True]
    assert [one["problem"] for one in found] == [None, "no contact: timed out", "NO_PYTHON: not found", None]
    assert fleet.totals(found) == {"gateway 2.0": 1, "no release": 1, "unknown": 2}
    assert fleet.lines(found) == [
        "device  reached  release      previous     transaction         healthy  rollout",
        "d1      yes      gateway 2.0  gateway 1.0  updated             unknown  none",
        "d2      no       unknown      unknown      unknown             unknown  none",
        "d3      yes      unknown      unknown      unknown             unknown  none",
        "d4      yes      no release   none         waits, unconfirmed  unknown  none",
        "4 devices, 3 reached",
        "gateway 2.0: 1",
        "no release: 1",
        "unknown: 2",
        "d2: no contact: timed out",
        "d3: NO_PYTHON: not found",
    ]


def test_a_host_that_nobody_asked_is_a_row() -> None:
    (found,) = fleet.rows(["d1"], {}, {}, {})
    assert (found["reached"], found["releases"], found["problem"]) == (False, None, "was not asked")


def test_the_newest_rollout_that_has_a_device_says_where_it_is(tmp_path: pathlib.Path) -> None:
    older = started(tmp_path, ["d1", "d4"], "9" * 64)
    book = started(tmp_path, ["d1", "d2", "d3"])
    book.outcome("d1", "updated")
    book.outcome("d2", "restored", code="HEALTH")
    (tmp_path / "ruined").mkdir()
    (tmp_path / "ruined/journal.jsonl").write_text("no JSON\n")
    known, problems = fleet.places(tmp_path, HOSTS)
    assert {name: place[:4] for name, place in known.items()} == {
        "d1": (ROLLOUT, "canary", "updated", True),
        "d2": (ROLLOUT, "rest", "restored", None),
        "d3": (ROLLOUT, "rest", None, None),
        "d4": (older.last()["rollout"], "rest", None, None),
    }
    assert len(problems) == 1
    assert "ruined" in problems[0]
    # ruined in the middle: told, and its devices are where the rollout before has them
    book.path.write_text(book.path.read_text().replace("\n", "\nno JSON\n", 1))
    known, problems = fleet.places(tmp_path, HOSTS)
    assert set(known) == {"d1", "d4"}
    assert len(problems) == 2


def test_a_way_back_is_no_place_of_a_device(tmp_path: pathlib.Path) -> None:
    book = started(tmp_path, ["d1"])
    book.outcome("d1", "updated")
    back = rollback.make(directory=tmp_path, rollout=ROLLOUT, hosts=["d1"], groups={}, wave=None)
    rollout.start(tmp_path, back, ME)
    known, problems = fleet.places(tmp_path, ["d1"])
    assert (known["d1"].rollout, problems) == (ROLLOUT, [])


def test_a_device_that_was_rolled_back_is_so_before_the_rollout_runs_again(tmp_path: pathlib.Path) -> None:
    book = started(tmp_path, ["d1", "d2"])
    for device in ("d1", "d2"):
        book.outcome(device, "updated")
    back = rollback.make(directory=tmp_path, rollout=ROLLOUT, hosts=["d1", "d2"], groups={}, wave=None)
    way = Journal(rollout.start(tmp_path, back, ME).path)
    way.outcome("d1", "updated")
    way.outcome("d2", "refused")
    known = fleet.places(tmp_path, ["d1", "d2"])[0]
    assert [(known[name].rollout, known[name].outcome) for name in ("d1", "d2")] == [
        (ROLLOUT, "rolled_back"),
        (ROLLOUT, "updated"),
    ]
    book.outcome("d1", "updated")  # and forward again: the newer word counts
    assert fleet.places(tmp_path, ["d1"])[0]["d1"].outcome == "updated"


def test_a_device_without_a_transaction_waits_for_nothing_and_one_that_went_back_says_why() -> None:
    found = row("d1", info("1.0"))
    assert (found["waiting"], found["ahead"], found["enrolled"], found["problem"]) == (False, None, True, None)
    last = {"state": "restored", "outcome": "restored", "code": "HEALTH", "rollout": "r"}
    found = row("d1", info("1.0", transaction=last), checked={"healthy": False})
    assert found["transaction"] == last
    (_titles, line, *_rest) = fleet.lines([found])
    assert line.split() == ["d1", "yes", "gateway", "1.0", "none", "restored", "(HEALTH)", "no", "none"]
    assert " restored (HEALTH)  no " in line


@pytest.mark.parametrize(("healthy", "shown"), [(True, "yes"), (False, "no"), (None, "unknown")])
def test_the_table_says_healthy_of_no_device_that_is_not(healthy: bool | None, shown: str) -> None:
    found = row("d1", info("2.0"), checked={} if healthy is None else {"healthy": healthy})
    assert found["healthy"] is healthy
    assert fleet.lines([found])[1].split() == ["d1", "yes", "gateway", "2.0", "none", "none", shown, "none"]


@pytest.mark.parametrize(
    ("seen", "checked", "reached", "healthy"),
    [
        (True, {}, True, True),
        (False, {}, True, False),
        # asked just now: that counts
        (True, {"healthy": False, "failed": True}, True, False),
        (False, {"healthy": True}, True, True),
        # who cannot be reached may look otherwise by now
        (True, {}, False, None),
        (True, {"unreachable": True}, True, True),
    ],
)
def test_health_is_what_was_seen_last_of_those_that_answer(
    tmp_path: pathlib.Path, seen: bool, checked: dict[str, t.Any], reached: bool, healthy: bool | None
) -> None:
    book = started(tmp_path, ["d1"])
    book.outcome("d1", "updated")
    book.seen("d1", healthy=seen)
    known, _problems = fleet.places(tmp_path, ["d1"])
    told = info("2.0") if reached else {"unreachable": True, "msg": "no contact"}
    assert row("d1", told, known=known, checked=checked)["healthy"] is healthy


def test_a_device_that_witnessed_more_than_the_journal_has_says_so(tmp_path: pathlib.Path) -> None:
    book = started(tmp_path, ["d1"])
    known, _problems = fleet.places(tmp_path, ["d1"])
    kept = book.checkpoint()
    assert row("d1", info("2.0", witness=[kept]), known=known)["ahead"] is False
    assert row("d1", info("2.0", witness=[{**kept, "journal": "0" * 64, "size": 9}]), known=known)["ahead"] is False
    found = row("d1", info("2.0", witness=[{**kept, "size": 9}]), known=known)
    assert found["ahead"] is True
    assert fleet.lines([found])[1].endswith(f"{ROLLOUT} canary untouched, ahead of the journal")
