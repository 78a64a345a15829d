# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waves by expression and by growth, order, dependencies, what goes together, the budget at plan time."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base import files
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import PlanError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.plan import Plan
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning.settings import Options

RELEASE = {"name": "gateway", "version": "2.0", "counter": 2, "digest": "1a2b3c4d" * 8, "channel": "stable"}
HOSTS = [f"d{number}" for number in range(1, 9)]
ALL = ({"percent": 100},)
#: d1 to d4 are in the north, d5 to d8 in the south; d4 and d8 are gateways
INVENTORY = {
    name: {"site": "north" if name < "d5" else "south", "line": int(name[1:]) % 4, "role": {"name": "edge"}}
    for name in HOSTS
}
GROUPS = {"all": [*HOSTS, "elsewhere"], "gateways": ["d4", "d8"], "devices": ["d1", "d2", "d3", "d5", "d6", "d7"]}

Variables = dict[str, t.Any]


def compute(waves: t.Any = None, unfit: t.Any = None, hosts: t.Sequence[str] = HOSTS, **given: t.Any) -> plan.Planned:
    """``after`` maps hosts to ``fleet_ota_after``; the rest are fields of Options."""
    inventory: dict[str, Variables] = {name: dict(entry) for name, entry in INVENTORY.items()}
    for name, others in given.pop("after", {}).items():
        inventory[name]["fleet_ota_after"] = others
    return plan.compute(
        hosts=hosts,
        groups={**GROUPS, **given.pop("groups", {})},
        release=RELEASE,
        waves=waves,
        inventory=given.pop("inventory", inventory),
        options=Options(**given),
        unfit=unfit,
    )


def turns(waves: t.Any = ALL, **given: t.Any) -> list[list[list[str]]]:
    """Waves, turns, hosts."""
    return [Plan.turns(wave) for wave in compute(waves, **given).plan.document["waves"]]


def hosts_of(waves: t.Any, **given: t.Any) -> list[list[str]]:
    return [wave["hosts"] for wave in compute(waves, **given).plan.document["waves"]]


def problems(waves: t.Any = ALL, **given: t.Any) -> list[str]:
    with pytest.raises(PlanError) as caught:
        compute(waves, **given)
    return t.cast("list[str]", caught.value.detail["problems"])


# -- where -------------------------------------------------------------------------------------------------------------


def test_an_expression_selects_by_the_variables_of_each_host() -> None:
    wanted = [{"where": "site == 'south' && role.name == 'edge'"}, {"where": "line == `1`"}, *ALL]
    assert hosts_of(wanted) == [["d5", "d6", "d7", "d8"], ["d1"], ["d2", "d3", "d4"]]


def test_an_expression_goes_together_with_group_count_and_percent() -> None:
    assert hosts_of([{"where": "site == 'south'", "group": "gateways"}]) == [["d8"]]
    assert hosts_of([{"where": "site == 'south'", "count": 1}]) == [["d5"]]
    assert hosts_of([{"where": "site == 'south'", "percent": 50}]) == [["d5", "d6"]]


def test_what_an_expression_gives_is_true_as_jmespath_sees_it() -> None:
    inventory = {
        "d1": {"x": 0},
        "d2": {"x": ""},
        "d3": {"x": []},
        "d4": {"x": False},
        "d5": {},
        "d6": {"x": "a"},
        "d7": {"x": {"y": 0}},
    }
    assert hosts_of([{"where": "x"}], inventory=inventory) == [["d1", "d6", "d7"]]


@pytest.mark.parametrize("wanted", [{"where": "site == 'east'"}, {"group": "nobody"}])
def test_a_canary_that_no_device_is_would_make_the_next_wave_the_canary(wanted: dict[str, t.Any]) -> None:
    with pytest.raises(PlanError, match="wave east: the inventory has no such device"):
        compute([{"name": "east", **wanted}, *ALL], groups={"nobody": []})
    made = compute([{"name": "east", "may_be_empty": True, **wanted}, *ALL], groups={"nobody": []}).plan
    assert made.document["empty"] == ["east"]


@pytest.mark.parametrize(
    ("where", "part"),
    [
        ("site ==", "'site ==' is not a JMESPath expression"),
        ("", "must be a JMESPath expression"),
        (5, "must be a JMESPath expression"),
        ("length(line)", "'length(line)' cannot be asked of d1"),
        ("no_such(site)", "there is no function no_such()"),
        ("starts_with(site)", "starts_with() takes 2 arguments, not 1"),
    ],
)
def test_a_wrong_expression_is_named(where: t.Any, part: str) -> None:
    found = problems([{"where": where}])
    assert len(found) == 1
    assert part in found[0]


# -- growth ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grow", "sizes"),
    [
        ({}, [1, 2, 4, 1]),
        ({"start": 1, "factor": 2, "most": 2}, [1, 2, 2, 2, 1]),
        ({"start": 3, "factor": 1}, [3, 3, 2]),
        ({"start": 1, "factor": 1.5}, [1, 2, 3, 2]),  # 1, 1.5, 2.25, 3.375, each rounded up
        ({"start": 100}, [8]),
        ({"start": 9, "most": 4}, [4, 4]),
    ],
)
def test_growth_expands_to_waves_until_nobody_is_left(grow: t.Any, sizes: list[int]) -> None:
    made = compute([{"name": "more", "grow": grow, "soak": 60}]).plan
    assert made.serial() == sizes
    assert [wave["name"] for wave in made.document["waves"]] == [
        f"more-{number}" for number in range(1, len(sizes) + 1)
    ]
    assert {wave["soak"] for wave in made.document["waves"]} == {60}
    assert made.order() == HOSTS


def test_growth_within_a_selection_after_a_pilot() -> None:
    wanted = [{"name": "pilot", "hosts": ["d6"]}, {"name": "south", "where": "site == 'south'", "grow": {}}, *ALL]
    assert hosts_of(wanted) == [["d6"], ["d5"], ["d7", "d8"], ["d1", "d2", "d3", "d4"]]


@pytest.mark.parametrize(
    ("wave", "part"),
    [
        ({"grow": 2}, "must be a mapping"),
        ({"grow": {"start": 0}}, "grow.start"),
        ({"grow": {"factor": 0.5}}, "grow.factor"),
        ({"grow": {"factor": float("nan")}}, "grow.factor"),
        ({"grow": {"most": "10"}}, "grow.most"),
        ({"grow": {"by": 2}}, "grow.by: unknown"),
        ({"grow": {}, "percent": 50}, "exclude each other"),
        ({"grow": {}, "hosts": ["d1"]}, "exclude each other"),
        ({"where": "site", "hosts": ["d1"]}, "exclude each other"),
        ({"percent": 5, "soak": -1}, "soak"),
        ({"percent": 5, "soak": "1h"}, "soak"),
        ({"percent": 5, "approval": "yes"}, "approval"),
        ({"percent": "5"}, "percent: must be a number above 0"),
        ({"name": 5, "count": 1}, "name: 5 is not a name"),
        ({"hosts": "d1"}, "hosts: must be a list of inventory names"),
        ({"hosts": ["d1", 1]}, "hosts: must be a list of inventory names"),
        ({"grow": {"factor": "2"}}, "factor: must be a number from 1"),
    ],
)
def test_wrong_entries_are_refused(wave: t.Any, part: str) -> None:
    assert any(part in problem for problem in problems([wave]))


def test_names_after_growth_are_unique() -> None:
    assert "name of two waves" in problems([{"name": "x-1", "count": 1}, {"name": "x", "grow": {}}])[0]


def test_what_the_gate_reads_of_a_wave_is_there_only_when_given() -> None:
    made = compute([{"count": 1, "soak": 0, "approval": True}, *ALL]).plan
    assert {key: made.document["waves"][0][key] for key in ("soak", "approval")} == {"soak": 0, "approval": True}
    assert set(made.document["waves"][1]) == {"index", "name", "hosts", "turns"}


# -- order and dependencies --------------------------------------------------------------------------------------------


def test_devices_of_a_later_group_come_in_a_later_turn_or_wave() -> None:
    made = turns(order=["gateways", "devices"])
    assert made == [[["d4", "d8"], ["d1", "d2", "d3", "d5", "d6", "d7"]]]
    # whoever is first by inventory would be a device; the pilot is a gateway
    assert turns([{"count": 1}, *ALL], order=["gateways", "devices"]) == [
        [["d4"]],
        [["d8"], ["d1", "d2", "d3", "d5", "d6", "d7"]],
    ]


def test_a_wave_never_comes_before_whom_it_comes_after() -> None:
    wanted = [{"name": "early", "group": "devices"}, {"name": "late", "group": "gateways"}]
    found = compute(wanted, order=["gateways", "devices"])
    assert [wave["name"] for wave in found.plan.document["waves"]] == ["late"]
    assert found.plan.document["empty"] == ["early"]
    assert Plan.turns(found.plan.document["waves"][0]) == [["d4", "d8"], ["d1", "d2", "d3", "d5", "d6", "d7"]]
    [entry] = [entry for entry in found.explain if entry["host"] == "d1"]
    assert entry["reason"] == "in group devices, but not in early: what it comes after is in late"


def test_a_device_comes_after_whom_its_variable_names() -> None:
    after = {"d1": ["d4"], "d2": "d1", "d5": ["gateways"], "d6": []}
    assert turns(after=after) == [[["d3", "d4", "d6", "d7", "d8"], ["d1", "d5"], ["d2"]]]
    made = compute(ALL, after=after).plan
    assert made.document["dependencies"] == {
        "after": {"d1": ["d4"], "d2": ["d1"], "d5": ["gateways"], "d6": []},
        "groups": {"gateways": ["d4", "d8"]},
    }


def test_selection_keeps_the_order_of_the_inventory_where_it_can() -> None:
    assert hosts_of([{"count": 3}, *ALL], after={"d1": ["d3"]}) == [["d2", "d3", "d1"], ["d4", "d5", "d6", "d7", "d8"]]


def test_a_host_that_is_no_target_is_left_to_the_gate() -> None:
    made = compute(ALL, after={"d1": ["elsewhere"]}).plan
    assert made.document["waves"][0]["turns"] == [8]
    assert made.document["dependencies"]["after"] == {"d1": ["elsewhere"]}


@pytest.mark.parametrize(
    ("given", "around"),
    [
        ({"after": {"d1": ["d1"]}}, "d1 after d1 is a circle"),
        ({"after": {"d2": ["d3"], "d3": ["d4"], "d4": ["d2"]}}, "d2 after d3 after d4 after d2 is a circle"),
        ({"after": {"d4": ["gateways"]}}, "d4 after group gateways after d4"),
        (
            {"after": {"d4": ["d1"]}, "order": ["gateways", "devices"]},
            "d1 after group gateways (order) after d4 after d1",
        ),
    ],
)
def test_a_circle_is_named(given: t.Any, around: str) -> None:
    [found] = problems(**given)
    assert around in found


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"order": "gateways"}, "must be a list of groups"),
        ({"order": ["nowhere", "gateways"]}, "no group 'nowhere'"),
        ({"order": ["gateways", "gateways"]}, "named twice"),
        ({"after": {"d1": ["nobody"]}}, "fleet_ota_after of d1: the inventory has no host or group 'nobody'"),
        ({"after": {"d1": 5}}, "fleet_ota_after of d1: must be a list"),
        ({"together": 5}, "together: must be the name"),
        ({"together": "cell"}, "no target has the variable 'cell'"),
        ({"together": "role"}, "give that host a text or a number"),
        ({"urgent": "yes"}, "urgent: must be true or false"),
        ({"expected_minutes": "soon"}, "expected_minutes: must be a number"),
    ],
)
def test_wrong_settings_are_refused(given: t.Any, part: str) -> None:
    assert any(part in problem for problem in problems(**given))


# -- together ----------------------------------------------------------------------------------------------------------


def test_a_line_goes_together_and_sizes_round_up_to_whole_lines() -> None:
    wanted = [{"count": 1}, {"percent": 30}, *ALL]
    assert hosts_of(wanted, together="line") == [["d1", "d5"], ["d2", "d6", "d3", "d7"], ["d4", "d8"]]
    assert hosts_of([{"hosts": ["d7"]}, *ALL], together="line")[0] == ["d3", "d7"]
    found = compute([{"hosts": ["d7"]}], together="line").explain
    assert found[2] == {"host": "d3", "wave": "wave-1", "turn": 0, "reason": "goes with d7 (line 3)"}
    assert found[0]["reason"] == "in no wave"


def test_a_line_that_has_to_wait_waits_together() -> None:
    # d1 comes after d8, which is in the last wave; d5 is of the line of d1
    wanted = [{"hosts": ["d1"]}, {"hosts": ["d2"]}, {"hosts": ["d8"]}, *ALL]
    assert hosts_of(wanted, together="line", after={"d1": ["d8"]}) == [
        ["d2", "d6"],
        ["d5", "d4", "d8", "d1"],
        ["d3", "d7"],
    ]


def test_two_lines_that_need_each_other_are_in_one_wave() -> None:
    after = {"d1": ["d2"], "d6": ["d5"]}
    assert hosts_of([{"hosts": ["d1"]}, {"hosts": ["d2"]}], together="line", after=after) == [["d5", "d2", "d1", "d6"]]


def test_a_line_of_which_one_cannot_take_the_release_is_skipped_whole() -> None:
    made = compute(ALL, together="line", unfit={"d2": "is incompatible"}).plan
    assert made.document["skipped"] == [
        {"host": "d2", "reason": "is incompatible"},
        {"host": "d6", "reason": "goes with d2 (line 2), which cannot: is incompatible"},
    ]
    assert len(made.order()) == 6


# -- budget at plan time -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ([{"max_unavailable": 3}], [["d1", "d2", "d3"], ["d4", "d5", "d6"], ["d7", "d8"]]),
        ([{"max_unavailable": "25%"}], [["d1", "d2"], ["d3", "d4"], ["d5", "d6"], ["d7", "d8"]]),
        ([{"max_unavailable": "1%"}], [[name] for name in HOSTS]),
        ([{"min_available": 5}], [["d1", "d2", "d3"], ["d4", "d5", "d6"], ["d7", "d8"]]),
        ([{"min_available": "60%"}], [["d1", "d2", "d3"], ["d4", "d5", "d6"], ["d7", "d8"]]),
        ([{"min_available": "99%"}], [[name] for name in HOSTS]),
        (
            [{"by": "site", "max_unavailable": 1}],
            [["d1", "d5"], ["d2", "d6"], ["d3", "d7"], ["d4", "d8"]],
        ),
        ([{"by": "line", "min_available": 1}], [["d1", "d2", "d3", "d4"], ["d5", "d6", "d7", "d8"]]),
        (
            [{"by": "line", "min_available": 1}, {"by": "site", "max_unavailable": 3}],
            [["d1", "d2", "d3", "d8"], ["d4", "d5", "d6", "d7"]],
        ),
        ([], [HOSTS]),
    ],
)
def test_no_turn_exceeds_the_budget(budget: t.Any, expected: list[list[str]]) -> None:
    assert turns(budget=budget) == [expected]


def test_every_wave_has_its_own_turns_and_its_order_counts_too() -> None:
    made = turns([{"count": 3}, *ALL], budget=[{"max_unavailable": 2}], after={"d2": ["d1"]})
    assert made == [[["d1", "d3"], ["d2"]], [["d4", "d5"], ["d6", "d7"], ["d8"]]]


def test_the_budget_stands_in_the_plan_with_who_counts_where() -> None:
    made = compute(ALL, budget=[{"by": "site", "max_unavailable": 2}, {"min_available": 5}]).plan
    assert made.document["budget"] == [
        {
            "by": "site",
            "max_unavailable": 2,
            "groups": [
                {"value": "north", "most": 2, "hosts": ["d1", "d2", "d3", "d4"]},
                {"value": "south", "most": 2, "hosts": ["d5", "d6", "d7", "d8"]},
            ],
        },
        {"by": None, "min_available": 5, "groups": [{"value": None, "most": 3, "hosts": None}]},
    ]


@pytest.mark.parametrize(
    ("budget", "part"),
    [
        ("10%", "must be a list"),
        (["10%"], "must be a mapping"),
        ([{}], "either max_unavailable or min_available"),
        ([{"max_unavailable": 1, "min_available": 1}], "either max_unavailable or min_available"),
        ([{"max_unavailable": 0}], "at least 1"),
        ([{"max_unavailable": "0%"}], "at least 1"),
        ([{"max_unavailable": "101%"}], "at least 1"),
        ([{"max_unavailable": 1.5}], "at least 1"),
        ([{"min_available": "100%"}], "none may ever go"),
        ([{"by": "line", "min_available": 2}], "line 1 has 2 targets, so that none may ever go with 2; lower it"),
        ([{"min_available": 8}], "the fleet has 8 targets, so"),
        ([{"by": "cell", "max_unavailable": 1}], "no target has the variable 'cell'"),
        ([{"by": 5, "max_unavailable": 1}], "name of a host variable"),
        ([{"max_unavailable": 1, "per": "site"}], "budget[0].per: unknown"),
    ],
)
def test_a_wrong_budget_is_refused(budget: t.Any, part: str) -> None:
    assert any(part in problem for problem in problems(budget=budget))


def test_one_target_alone_is_told_as_one() -> None:
    alone = {**INVENTORY, "d1": {"site": "east"}}
    (problem,) = problems(budget=[{"by": "site", "min_available": 1}], inventory=alone)
    assert "site east has 1 target, so that none may ever go" in problem


# -- the whole ---------------------------------------------------------------------------------------------------------


def test_every_target_is_explained_and_every_mistake_told_at_once() -> None:
    found = compute([{"count": 2}, {"group": "gateways"}], unfit={"d1": "has no update path"})
    assert [entry["host"] for entry in found.explain] == HOSTS
    assert found.explain[0] == {"host": "d1", "wave": None, "turn": None, "reason": "has no update path"}
    assert found.explain[1] == {"host": "d2", "wave": "wave-1", "turn": 0, "reason": "among the first 2"}
    assert found.explain[7]["reason"] == "in group gateways"
    assert found.plan.document["skipped"][0] == {"host": "d1", "reason": "has no update path"}
    kinds = [
        {"hosts": ["d1"]},
        {"where": "site == 'north'", "count": 1},
        {"percent": 12.5},
        {"grow": {"start": 5}},
    ]
    assert [entry["reason"] for entry in compute(kinds).explain][:4] == [
        "named in hosts",
        "matches site == 'north', among the first 1",
        "among the first 12.5 %",
        "by growth",
    ]
    assert len(problems([{"where": "a b"}], order=["x"], budget=[{}], together="cell", urgent=1)) == 5


def test_the_same_settings_give_the_same_bytes_and_none_gives_none() -> None:
    given: dict[str, t.Any] = {
        "order": ["gateways", "devices"],
        "budget": [{"by": "site", "max_unavailable": 1}],
        "together": "line",
    }
    assert files.canonical(compute(**given).plan.document) == files.canonical(compute(**given).plan.document)
    assert not {"order", "together", "dependencies", "budget", "schedules", "urgent"} & set(compute().plan.document)


class _Counting(dict[str, t.Any]):
    """Variables of a host that count how often they are read."""

    reads = 0

    def get(self, key: str, default: t.Any = None) -> t.Any:
        _Counting.reads += 1
        return super().get(key, default)


def test_ten_thousand_hosts_read_each_variable_a_few_times_and_never_compare_pairs() -> None:
    hosts = [f"edge-{number:05d}" for number in range(10_000)]
    inventory = {
        name: _Counting(site=f"s{number % 100}", line=number // 20, fleet_ota_after=[hosts[number - number % 20]])
        if number % 20
        else _Counting(site=f"s{number % 100}", line=number // 20)
        for number, name in enumerate(hosts)
    }
    groups = {"all": hosts, "gateways": hosts[::20], "devices": [name for name in hosts if name not in hosts[::20]]}
    _Counting.reads = 0
    made = plan.make(
        hosts=hosts,
        groups=groups,
        release=RELEASE,
        waves=[{"where": "site == 's1'", "count": 20}, {"name": "more", "grow": {"start": 20, "factor": 3}}],
        inventory=inventory,
        options=Options(
            order=["gateways", "devices"],
            together="line",
            budget=[{"by": "site", "max_unavailable": 3}, {"max_unavailable": "5%"}],
            windows={"install": [{"days": ["sat"], "start": "22:00", "length": "4h"}]},
        ),
    )
    assert len(made.order()) == 10_000
    assert _Counting.reads <= 10 * len(hosts)
    assert max(size for wave in made.document["waves"] for size in wave["turns"]) <= 300
