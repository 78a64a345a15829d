# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is planned into which wave, and every way to ask for it wrongly."""

from __future__ import annotations

import time
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base import files
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import PlanError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan

RELEASE = {"name": "gateway", "version": "2.0", "counter": 2, "digest": "1a2b3c4d" * 8, "channel": "stable"}
HOSTS = [f"dev{number}" for number in range(1, 9)]
GROUPS = {"all": [*HOSTS, "elsewhere"], "pilots": ["dev8", "dev2", "elsewhere"], "north": ["dev1", "dev2", "dev3"]}


def make(**changes: t.Any) -> plan.Plan:
    return plan.make(**{"hosts": HOSTS, "groups": GROUPS, "release": RELEASE, **changes})


def waves(*wanted: dict[str, t.Any]) -> list[list[str]]:
    return [wave["hosts"] for wave in make(waves=list(wanted)).document["waves"]]


def problems(**changes: t.Any) -> list[str]:
    with pytest.raises(PlanError) as caught:
        make(**changes)
    return t.cast("list[str]", caught.value.detail["problems"])


def test_default_waves_take_every_device_once() -> None:
    made = make()
    assert [len(wave["hosts"]) for wave in made.document["waves"]] == [1, 2, 5]
    assert made.order() == HOSTS
    assert made.serial() == [1, 2, 5]
    assert made.document["skipped"] == []
    assert made.document["targets"] == 8
    assert made.document["limits"] == {"max_failures": 0, "max_failure_percent": None, "min_executed": 10, "kinds": {}}


def test_rollout_id_and_digest() -> None:
    made = make()
    assert made.document["rollout"] == "gateway-2.0-1a2b3c4d"
    assert made.document["digest"] == plan.digest(made.document)
    assert plan.digest({**made.document, "targets": 9}) != made.document["digest"]


def test_same_input_gives_the_same_bytes() -> None:
    assert files.canonical(make().document) == files.canonical(make().document)


def test_a_group_gives_its_targets_in_inventory_order() -> None:
    assert waves({"group": "pilots"}, {"percent": 100}) == [
        ["dev2", "dev8"],
        [x for x in HOSTS if x not in ("dev2", "dev8")],
    ]


def test_a_group_with_count_takes_at_most_that_many() -> None:
    assert waves({"group": "pilots", "count": 1}) == [["dev2"]]
    assert waves({"group": "pilots", "count": 9}) == [["dev2", "dev8"]]


def test_percent_of_a_group_is_of_its_targets() -> None:
    assert waves({"group": "north", "percent": 50}) == [["dev1", "dev2"]]


@pytest.mark.parametrize(
    ("percent", "size"), [(1, 1), (12.5, 1), (12.6, 2), (25, 2), (26, 3), (50, 4), (99.9, 8), (100, 8), (0.1, 1)]
)
def test_percent_is_of_all_targets_and_rounds_up(percent: float, size: int) -> None:
    assert [len(hosts) for hosts in waves({"percent": percent})] == [size]


def test_percent_does_not_suffer_from_binary_fractions() -> None:
    hosts = [f"h{number}" for number in range(1000)]
    made = plan.make(hosts=hosts, groups={"all": hosts}, release=RELEASE, waves=[{"percent": 0.1}])
    assert len(made.document["waves"][0]["hosts"]) == 1  # a float's 0.1 is a bit more than a tenth


def test_a_later_wave_takes_only_who_is_left() -> None:
    assert waves({"hosts": ["dev7", "dev1"]}, {"group": "north"}, {"percent": 50}) == [
        ["dev7", "dev1"],
        ["dev2", "dev3"],
        ["dev4", "dev5", "dev6", "dev8"],
    ]


def test_who_is_in_no_wave_is_skipped_with_the_reason() -> None:
    made = make(waves=[{"count": 7}])
    assert made.document["skipped"] == [{"host": "dev8", "reason": "in no wave"}]


def test_an_empty_wave_is_left_out_and_named() -> None:
    made = make(waves=[{"group": "north"}, {"name": "again", "group": "north"}, {"percent": 100}])
    assert [wave["name"] for wave in made.document["waves"]] == ["wave-1", "wave-3"]
    assert [wave["index"] for wave in made.document["waves"]] == [0, 1]
    assert made.document["empty"] == ["again"]
    assert 0 not in made.serial()  # Ansible takes 0 for "all at once"


def test_a_host_beyond_the_limit_is_just_not_taken() -> None:
    assert waves({"hosts": ["elsewhere", "dev1"]}) == [["dev1"]]


def test_wave_of_finds_the_wave_of_a_batch() -> None:
    made = make()
    assert made.wave_of(["dev3"]) == 1
    for batch in (["dev1", "dev2"], ["stranger"], []):
        with pytest.raises(PlanError):
            made.wave_of(batch)


@pytest.mark.parametrize(
    ("wave", "part"),
    [
        ({}, "selects no device"),
        ({"name": "x"}, "selects no device"),
        ({"group": "nowhere"}, "no group 'nowhere'"),
        ({"group": ["north", "south"]}, "the name of one group"),
        ({"soak": 10**400}, "whole number of seconds"),
        ({"hosts": ["nobody"]}, "no host 'nobody'"),
        ({"hosts": ["dev1", "dev1"]}, "dev1 is named twice"),
        ({"hosts": "dev1"}, "must be a list"),
        ({"count": 0}, "at least 1"),
        ({"count": True}, "at least 1"),
        ({"count": "2"}, "at least 1"),
        ({"percent": 0}, "above 0"),
        ({"percent": 101}, "above 0"),
        ({"percent": float("nan")}, "above 0"),
        ({"percent": 5, "count": 5}, "exclude each other"),
        ({"group": "north", "hosts": ["dev1"]}, "exclude each other"),
        ({"size": 5}, "unknown"),
        ({"count": 1, "name": "../../x"}, "is not a name"),
        ("10%", "must be a mapping"),
    ],
)
def test_a_wrong_wave_is_refused(wave: t.Any, part: str) -> None:
    found = problems(waves=[wave])
    assert any(part in problem and problem.startswith("waves[0]") for problem in found), found


@pytest.mark.parametrize(
    ("limits", "part"),
    [
        ({"max_failures": -1}, "max_failures"),
        ({"max_failures": "3"}, "max_failures"),
        ({"max_failure_percent": 101}, "max_failure_percent"),
        ({"min_executed": 0}, "min_executed"),
        ({"max_fail": 1}, "unknown"),
        ([1], "must be a mapping"),
    ],
)
def test_wrong_limits_are_refused(limits: t.Any, part: str) -> None:
    assert any(part in problem for problem in problems(limits=limits))


@pytest.mark.parametrize("soak", [float("inf"), float("nan"), 10**400])
def test_a_soak_that_never_ends_is_refused(soak: t.Any) -> None:
    (found,) = problems(conditions={"soak": soak})
    assert found.startswith("conditions.soak: must be seconds")


def test_every_mistake_is_told_at_once() -> None:
    found = problems(hosts=["a", "a"], waves=[{"count": 0}, {"name": "x", "count": 1}, {"name": "x", "count": 1}])
    assert len(found) == 3


def test_no_target_is_refused() -> None:
    assert "no device is targeted" in problems(hosts=[])[0]


@pytest.mark.parametrize("wanted", [[], "10%", None])
def test_waves_must_be_a_list(wanted: t.Any) -> None:
    if wanted is None:
        assert make(waves=None).document["waves"]
    else:
        assert "must be a list" in problems(waves=wanted)[0]


def test_a_release_without_digest_is_refused() -> None:
    assert "digest is missing" in problems(release={"name": "x", "version": "1", "counter": 1, "channel": "c"})[0]


def test_lines_name_release_waves_and_limits() -> None:
    text = "\n".join(plan.lines(make(waves=[{"name": "canary", "group": "pilots"}], bytes_per_device=2_500_000)))
    for part in (
        "gateway 2.0",
        "2.5 MB",
        "wave 1 canary: 2 devices: dev2, dev8",
        "skipped, in no wave: 6",
        "more than 0",
    ):
        assert part in text


def test_ten_thousand_hosts_in_well_under_a_second() -> None:
    hosts = [f"edge-{number:05d}" for number in range(10_000)]
    groups = {"all": hosts, **{f"site{number}": hosts[number::50] for number in range(50)}}
    wanted: list[dict[str, t.Any]] = [
        {"count": 1},
        *({"group": f"site{number}"} for number in range(50)),
        {"percent": 100},
    ]
    begin = time.process_time()
    made = plan.make(hosts=hosts, groups=groups, release=RELEASE, waves=wanted)
    assert len(made.order()) == 10_000
    assert time.process_time() - begin < 0.5
