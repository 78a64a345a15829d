# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who of a turn waits, for which reason, and what lets him go."""

from __future__ import annotations

import datetime
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.outcomes import Standing
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning.settings import Options
from ansible_collections.fleet.ota.plugins.plugin_utils._control.rollout import deferrals

RELEASE = {"name": "gateway", "version": "2.0", "counter": 2, "digest": "1a2b3c4d" * 8, "channel": "stable"}
HOSTS = ["gw", "d1", "d2", "d3", "d4", "d5"]
EVERYBODY = tuple(HOSTS)
GROUPS = {"all": [*HOSTS, "elsewhere"], "gateways": ["gw", "elsewhere"]}
SATURDAY = {"install": [{"days": ["sat"], "start": "22:00", "length": "4h"}]}
OPEN = datetime.datetime(2026, 11, 28, 23, 0, tzinfo=datetime.UTC)
CLOSED = datetime.datetime(2026, 11, 24, 12, 0, tzinfo=datetime.UTC)

Variables = dict[str, dict[str, t.Any]]


def find(
    *standings: Standing,
    inventory: Variables | None = None,
    now: datetime.datetime = OPEN,
    hosts: t.Sequence[str] = EVERYBODY,
    live: Variables | None = None,
    **given: t.Any,
) -> dict[str, deferrals.Deferral]:
    """What ``live``, the inventory now, and the journal give for a plan of ``inventory``."""
    known: Variables = {name: {"site": "north" if name < "d4" or name == "gw" else "south"} for name in HOSTS}
    for name, entry in (inventory or {}).items():
        known[name].update(entry)
    made = plan.make(
        hosts=HOSTS,
        groups=GROUPS,
        release=RELEASE,
        waves=[{"percent": 100}],
        inventory=known,
        options=Options(**given),
    )
    return deferrals.find(made, {one.device: one for one in standings}, hosts, live or known, now)


def codes(*standings: Standing, **given: t.Any) -> dict[str, str]:
    return {name: one.code for name, one in find(*standings, **given).items()}


def test_without_any_setting_nobody_waits() -> None:
    assert find() == {}


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        (True, "fleet_ota_hold is set"),
        ("valve is open", "valve is open"),
        (1, "is set"),
        ("yes", "yes"),
        (False, None),
        (None, None),
        ("", None),
        ("false", None),
        ("No", None),
    ],
)
def test_a_maintenance_flag_holds_a_device(flag: t.Any, words: str | None) -> None:
    found = find(live={"d1": {"fleet_ota_hold": flag}})
    assert set(found) == ({"d1"} if words else set())
    if words:
        assert found["d1"].code == "HOLD"
        assert words in found["d1"].message


def test_outside_of_its_window_a_device_waits_and_is_told_for_what() -> None:
    own = {"fleet_ota_windows": {"install": [{"start": "12:00", "length": "1h"}]}, "fleet_ota_timezone": "UTC"}
    found = find(now=CLOSED, windows=SATURDAY, inventory={"d3": own})
    assert set(found) == set(HOSTS) - {"d3"}
    assert found["d1"] == deferrals.Deferral(
        "WINDOW",
        "d1 is outside its window; the next begins at 2026-11-28T22:00+00:00 (UTC); run the rollout again then",
    )
    assert codes(now=OPEN, windows=SATURDAY, inventory={"d3": own}) == {"d3": "WINDOW"}


def test_a_freeze_in_an_open_window() -> None:
    found = find(windows=SATURDAY, freezes=[{"from": "2026-11-20", "until": "2026-12-01", "reason": "harvest"}])
    assert {one.code for one in found.values()} == {"FREEZE"}
    assert "harvest, until 2026-12-02T00:00+00:00 (UTC)" in found["gw"].message


def test_an_urgent_release_passes_windows_and_freezes_but_neither_interlocks_nor_the_budget() -> None:
    given: dict[str, t.Any] = {
        "now": CLOSED,
        "windows": SATURDAY,
        "freezes": [{"from": "2026-11-20", "until": "2026-12-01"}],
        "budget": [{"max_unavailable": 2}],
        "inventory": {"d2": {"fleet_ota_after": ["gw"]}},
        "live": {"d1": {"fleet_ota_hold": True}},
    }
    assert codes(**given, urgent=True) == {
        "d1": "HOLD",
        "d2": "DEPENDENCY",
        "d4": "BUDGET",
        "d5": "BUDGET",
    }
    assert set(codes(**given).values()) == {"HOLD", "FREEZE"}


@pytest.mark.parametrize(
    ("standing", "waits"),
    [
        (None, "nothing is recorded"),
        (Standing("gw", "updated"), None),
        (Standing("gw", "current"), None),
        (Standing("gw", "updated", healthy=False), "unhealthy"),
        (Standing("gw", "restored"), "restored"),
        (Standing("gw", "deferred"), "deferred"),
        (Standing("gw", "pending"), "pending"),
    ],
)
def test_a_device_waits_until_whom_it_comes_after_is_as_planned(standing: Standing | None, waits: str | None) -> None:
    found = find(*filter(None, [standing]), inventory={"d1": {"fleet_ota_after": "gw"}}, hosts=["d1", "d2"])
    assert set(found) == ({"d1"} if waits else set())
    if waits:
        assert found["d1"].code == "DEPENDENCY"
        assert f"gw ({waits})" in found["d1"].message


def test_all_of_a_group_must_be_as_planned_also_who_is_no_target() -> None:
    after = {"d1": {"fleet_ota_after": ["gateways"]}}
    assert "elsewhere (nothing is recorded)" in find(Standing("gw", "updated"), inventory=after)["d1"].message
    assert codes(Standing("gw", "updated"), Standing("elsewhere", "current"), inventory=after) == {}


@pytest.mark.parametrize(
    ("standing", "consumes"),
    [
        (Standing("gw", "lost"), True),
        (Standing("gw", "pending"), True),
        (Standing("gw", "timed_out"), True),
        (Standing("gw", "broken"), True),
        (Standing("gw", "restored", healthy=False), True),
        (Standing("gw", "updated", healthy=False), True),
        (Standing("gw", "restored"), False),
        (Standing("gw", "refused"), False),
        (Standing("gw", "deferred"), False),
        (Standing("gw", "updated"), False),
    ],
)
def test_who_is_out_of_service_keeps_consuming(standing: Standing, consumes: bool) -> None:
    found = find(standing, hosts=["d1", "d4"], budget=[{"by": "site", "max_unavailable": 1}])
    assert set(found) == ({"d1"} if consumes else set())
    if consumes:
        assert found["d1"].code == "BUDGET"
        assert f"site north has 1 of 1 out of service: gw ({standing.outcome})" in found["d1"].message


def test_one_that_consumes_already_may_be_touched_again_and_one_that_is_done_costs_nothing() -> None:
    lost, done = Standing("d1", "lost"), Standing("d2", "updated")
    assert codes(lost, done, hosts=["d1", "d2", "d3"], budget=[{"max_unavailable": 1}]) == {"d3": "BUDGET"}


def test_of_those_that_somebody_comes_after_only_the_first_are_told() -> None:
    others = ["gw", "d1", "d2", "d3", "d4"]
    found = find(inventory={"d5": {"fleet_ota_after": others}}, hosts=["d5"])
    assert "d4 (nothing is recorded); bring" in found["d5"].message
    found = find(inventory={"d5": {"fleet_ota_after": ["gateways", *others]}}, hosts=["d5"])
    assert "d3 (nothing is recorded), ...; bring" in found["d5"].message


def test_who_has_no_room_in_one_group_takes_none_in_another() -> None:
    budget = [{"by": "site", "max_unavailable": 1}, {"max_unavailable": 2}]
    assert codes(Standing("gw", "lost"), hosts=["d1", "d4", "d5"], budget=budget) == {"d1": "BUDGET", "d5": "BUDGET"}
    budget = [{"by": "site", "max_unavailable": 1}, {"max_unavailable": 3}]
    assert codes(Standing("gw", "lost"), hosts=["d1", "d2", "d4"], budget=budget) == {"d1": "BUDGET", "d2": "BUDGET"}


def test_one_that_failed_and_is_in_service_needs_room_again() -> None:
    known = Standing("gw", "lost"), Standing("d1", "restored")
    assert codes(*known, hosts=["d1"], budget=[{"max_unavailable": 1}]) == {"d1": "BUDGET"}


def test_the_fleet_is_named_and_only_the_first_of_those_who_consume_it() -> None:
    lost = [Standing(name, "lost") for name in ("gw", "d1", "d2", "d3", "d4")]
    shown = "gw (lost), d1 (lost), d2 (lost), d3 (lost), d4 (lost)"
    for least in (5, 4):  # who was lost under another plan consumes too
        (found,) = find(*lost, hosts=["d5"], budget=[{"max_unavailable": least}]).values()
        assert found.message.startswith(f"no room for d5: the fleet has 5 of {least} out of service: {shown}; ")
    live: Variables = {"d6": {}}
    (found,) = find(*lost, Standing("d6", "lost"), hosts=["d5"], live=live, budget=[{"max_unavailable": 5}]).values()
    assert f"the fleet has 6 of 5 out of service: {shown}, ...; " in found.message


@pytest.mark.parametrize(
    ("live", "waits"),
    [
        ({"x1": {"site": "north"}}, True),  # beside the plan because of a limit
        ({"x1": {"site": "south"}}, False),
        ({"x1": {}}, False),
        ({}, False),  # gone
    ],
)
def test_a_lost_device_beside_the_plan_consumes_the_budget_of_its_site(live: Variables, waits: bool) -> None:
    found = codes(Standing("x1", "lost"), hosts=["d1"], live=live, budget=[{"by": "site", "max_unavailable": 1}])
    assert found == ({"d1": "BUDGET"} if waits else {})


def test_a_lost_device_that_is_gone_consumes_nothing_of_the_fleet() -> None:
    budget = [{"max_unavailable": 1}]
    assert codes(Standing("x1", "lost"), hosts=["d1"], live={"d1": {}}, budget=budget) == {}
    assert codes(Standing("x1", "lost"), hosts=["d1"], live={"x1": {}}, budget=budget) == {"d1": "BUDGET"}


def test_the_turn_itself_consumes_and_who_waits_does_not() -> None:
    found = find(live={"d1": {"fleet_ota_hold": True}}, hosts=["d1", "d2", "d3"], budget=[{"max_unavailable": 1}])
    assert {name: one.code for name, one in found.items()} == {"d1": "HOLD", "d3": "BUDGET"}
    assert "d2 (this turn)" in found["d3"].message


def test_they_are_told_in_the_order_of_the_turn() -> None:
    hosts = ["d5", "gw", "d1"]
    assert list(find(now=CLOSED, windows=SATURDAY, hosts=hosts, live={"d1": {"fleet_ota_hold": True}})) == hosts
