# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an approved plan covers, and what it does not."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.approvals import approval
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import PlanError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning.settings import Options

RELEASE = {"name": "gateway", "version": "2.0", "counter": 2, "digest": "1a2b3c4d" * 8, "channel": "stable"}
HOSTS = ["d1", "d2", "d3", "d4", "d5", "d6"]
EVERYBODY = tuple(HOSTS)
GROUPS = {"all": HOSTS, "gateways": ["d1"], "devices": HOSTS[1:], "other": ["d1"]}
WINDOWS = {"install": [{"days": ["sat"], "start": "22:00", "length": "4h"}]}
WAVES: list[dict[str, t.Any]] = [{"name": "north", "hosts": HOSTS[:3]}, {"name": "south", "percent": 100, "soak": 60}]

Given = dict[str, t.Any]
SETTINGS: Given = {
    "order": ["gateways", "devices"],
    "together": "line",
    "budget": [{"by": "site", "max_unavailable": 1}, {"max_unavailable": "50%"}],
    "windows": WINDOWS,
    "freezes": [{"from": "2026-12-20", "until": "2027-01-02"}],
}


def made(
    hosts: t.Sequence[str] = EVERYBODY,
    variables: dict[str, Given] | None = None,
    waves: t.Any = None,
    limits: t.Any = None,
    conditions: t.Any = None,
    **changes: t.Any,
) -> plan.Plan:
    inventory: dict[str, Given] = {
        name: {"site": "north" if name < "d4" else "south", "line": name, "fleet_ota_after": ["d1"]} for name in HOSTS
    }
    del inventory["d1"]["fleet_ota_after"]
    for name, entry in (variables or {}).items():
        inventory[name].update(entry)
    return plan.make(
        hosts=hosts,
        groups=GROUPS,
        release=RELEASE,
        waves=WAVES if waves is None else waves,
        limits=limits,
        conditions=conditions,
        inventory=inventory,
        options=Options(**{**SETTINGS, **changes}),
    )


def test_a_plan_is_urgent_as_its_hosts_say() -> None:
    assert "urgent" not in made().document
    everybody: dict[str, Given] = {name: {"fleet_ota_urgent": "yes"} for name in HOSTS}
    assert made(variables=everybody) == made(urgent=True)
    with pytest.raises(PlanError, match="urgent for all or for none") as caught:
        made(variables={"d1": {"fleet_ota_urgent": True}})
    assert len(caught.value.detail["problems"]) == 1


def test_a_plan_covers_itself_and_fewer_devices() -> None:
    assert approval.covers(made(), made()) is None
    for hosts in (["d1"], ["d2", "d6"], HOSTS[:5], ["d4", "d5", "d6"]):
        assert approval.covers(made(), made(hosts)) is None, hosts


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"limits": {"max_failures": 1}}, "other limits"),
        ({"conditions": {"soak": 5}}, "other conditions"),
        ({"waves": [WAVES[0], {"name": "south", "percent": 100}]}, "before or after wave south"),
        ({"waves": [WAVES[0], {**WAVES[1], "approval": True}]}, "before or after wave south"),
        ({"waves": [{"percent": 100}]}, "other waves"),
        ({"order": None}, "another order"),
        ({"order": ["other", "devices"]}, "another order"),
        ({"together": None}, "others together"),
        ({"urgent": True}, "another urgency"),
        ({"budget": None}, "another budget"),
        ({"budget": [{"by": "site", "max_unavailable": 2}, {"max_unavailable": "50%"}]}, "another budget"),
        ({"budget": SETTINGS["budget"][:1]}, "another budget"),
        ({"variables": {"d2": {"site": "south"}}}, "another budget"),
        ({"variables": {"d2": {"site": None}}}, "another budget"),
        ({"windows": None}, "other windows or freezes"),
        ({"freezes": None}, "other windows or freezes"),
        ({"back_minutes": 1}, "other windows or freezes"),
        ({"variables": {"d5": {"fleet_ota_timezone": "Asia/Kathmandu"}}}, "other windows or freezes"),
        ({"variables": {"d5": {"fleet_ota_windows": {}}}}, "other windows or freezes"),
        ({"variables": {"d5": {"fleet_ota_after": []}}}, "after others"),
        ({"variables": {"d5": {"fleet_ota_after": ["d4"]}}}, "after others"),
    ],
)
def test_what_was_not_approved_is_not_covered(given: Given, part: str) -> None:
    assert part in (approval.covers(made(), made(**given)) or "")
    assert approval.covers(made(**given), made()) is not None


def test_what_stands_about_others_does_not_matter() -> None:
    assert approval.covers(made(variables={"d6": {"fleet_ota_timezone": "Asia/Kathmandu"}}), made(HOSTS[:5])) is None


def test_a_smaller_budget_is_covered_and_a_bigger_one_is_not() -> None:
    budget = [{"min_available": 3}]
    assert [group["most"] for entry in made(budget=budget).document["budget"] for group in entry["groups"]] == [3]
    assert approval.covers(made(budget=budget), made(HOSTS[:5], budget=budget)) is None
    assert approval.covers(made(HOSTS[:5], budget=budget), made(HOSTS[:5], budget=budget)) is None
    grown = made(budget=budget)
    grown.document["budget"][0]["groups"][0]["most"] = 4
    assert "another budget" in (approval.covers(made(budget=budget), grown) or "")
