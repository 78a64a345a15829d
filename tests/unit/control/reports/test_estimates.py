# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a rollout will probably take, and which devices would refuse it by what they say of themselves."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.journal import Journal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import compatibility, plan
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning.settings import Options
from ansible_collections.fleet.ota.plugins.plugin_utils._control.reports import estimates
from ansible_collections.fleet.ota.plugins.plugin_utils._control.rollout import rollout

HOSTS = [f"d{number}" for number in range(1, 7)]


def made(name: str = "gateway", version: str = "2.0", **given: t.Any) -> plan.Plan:
    release = {"name": name, "version": version, "counter": 2, "digest": "1a2b3c4d" * 8, "channel": "stable"}
    return plan.make(
        hosts=HOSTS,
        groups={"all": HOSTS},
        release=release,
        bytes_per_device=1000,
        **{"waves": [{"count": 2}, {"percent": 100, "soak": 60}], **given},
    )


def record(folder: pathlib.Path, of: plan.Plan, *seconds: float) -> None:
    book = Journal(rollout.start(folder, of, {}).path)
    for name, spent in zip(HOSTS, seconds, strict=False):
        book.outcome(name, "updated", seconds=spent)


def test_without_history_a_default_is_told_as_one(tmp_path: pathlib.Path) -> None:
    for folder in (None, tmp_path, tmp_path / "none"):
        found = estimates.make(made(), estimates.history(folder, "gateway"), forks=5)
        assert found["per_device"] == {
            "median": 120.0,
            "p95": 120.0,
            "samples": 0,
            "source": "a default, no earlier update is recorded",
        }
        assert found["waves"] == [
            {"name": "wave-1", "bytes": 2000, "seconds": 120, "seconds_p95": 120},
            {"name": "wave-2", "bytes": 4000, "seconds": 180, "seconds_p95": 180},
        ]
        assert found["total"] == {"bytes": 6000, "seconds": 300, "seconds_p95": 300}


def test_history_is_of_the_same_release_name_and_of_updates_that_succeeded(tmp_path: pathlib.Path) -> None:
    record(tmp_path, made(version="1.0"), 10, 20)
    record(tmp_path, made(version="1.1"), 30)
    record(tmp_path, made(name="gateway-x", version="1.0"), 900)
    record(tmp_path, made(name="app"), 900)
    book = Journal(tmp_path / made(version="1.1").document["rollout"] / "journal.jsonl")
    book.outcome("d5", "restored", seconds=900)
    book.outcome("d6", "updated")
    (tmp_path / "gateway-9-00000000").mkdir()
    first = book.path.read_text().splitlines()[0]
    for ruined in ("ruined\n", '{"v":1}\n', first.replace('"waves"', '"wavez"') + "\n"):
        (tmp_path / "gateway-9-00000000" / "journal.jsonl").write_text(ruined)
        assert sorted(estimates.history(tmp_path, "gateway")) == [10, 20, 30]


def test_turns_and_forks_follow_each_other(tmp_path: pathlib.Path) -> None:
    seconds = [float(number) for number in range(1, 101)]
    found = estimates.make(made(waves=[{"percent": 100}], options=Options(budget=[{"max_unavailable": 3}])), seconds, 2)
    assert found["per_device"]["samples"] == 100
    assert (found["per_device"]["median"], found["per_device"]["p95"]) == (50.5, 95.0)
    # two turns of three devices, two at a time: four rounds
    assert found["total"]["seconds"] == 202
    assert found["total"]["seconds_p95"] == 380


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        ([10.0, 10.0], "takes less than a minute (10 s per device, from 2 earlier updates)"),
        ([30.0, 40.0], "takes about 1 minute (35 to 40 s per device, from 2 earlier updates)"),
        ([120.0], "takes about 4 minutes (120 s per device, from 1 earlier updates)"),
        ([60.0, 240.0], "takes about 5 to 8 minutes (150 to 240 s per device, from 2 earlier updates)"),
    ],
)
def test_a_span_of_one_number_is_told_as_one(seconds: list[float], told: str) -> None:
    of = made(waves=[{"count": 1}, {"count": 1}])
    assert estimates.lines(estimates.make(of, seconds, 5), of) == [told]


def test_windows_that_reckon_with_less_than_it_took_are_told() -> None:
    windows = {"install": [{"start": "22:00", "length": "4h"}]}
    of = made(options=Options(windows=windows, expected_minutes=5))
    text = estimates.lines(estimates.make(of, [400.0], 5), of)
    assert any("raise fleet_ota_expected_minutes" in line for line in text)
    assert len(estimates.lines(estimates.make(of, [200.0], 5), of)) == 1


def test_estimates_are_no_part_of_the_plan(tmp_path: pathlib.Path) -> None:
    before = made()
    record(tmp_path, made(version="1.0"), 10)
    assert made() == before


# -- compatibility -----------------------------------------------------------------------------------------------------

DOCUMENT: dict[str, t.Any] = {
    "name": "gateway",
    "version": "3.0",
    "counter": 3,
    "compatible": {"hardware": ["edge-gw-1"], "zone": ["safe"]},
    "from": {"counter": 2},
}
CURRENT = {"name": "gateway", "version": "2.0", "counter": 2, "digest": "a" * 64}
INFO: dict[str, t.Any] = {
    "enrolled": True,
    "identity": {"name": "d1", "hardware": "edge-gw-1", "site": "", "labels": {"zone": "safe"}},
    "releases": {"gateway": {"current": CURRENT, "previous": None, "counter": 2}},
    "rejected": {},
}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"enrolled": False}, "is not enrolled"),
        ({"identity": None}, "is not enrolled"),
        (
            {"identity": {**INFO["identity"], "hardware": "edge-gw-9"}},
            "is incompatible: the release is for hardware edge-gw-1, this is edge-gw-9",
        ),
        (
            {"identity": {**INFO["identity"], "labels": {}}},
            "is incompatible: the release is for zone safe, this is without one",
        ),
        (
            {"releases": {"gateway": {"current": {**CURRENT, "counter": 1, "version": "1.0"}, "counter": 1}}},
            "cannot take it directly: it goes over counter 2 or newer only, here is 1.0 with counter 1",
        ),
        ({"releases": {}}, None),
        ({"releases": {"gateway": {"current": CURRENT, "counter": 4}}}, "has confirmed counter 4, newer than 3"),
        ({"releases": {"gateway": {"current": {**CURRENT, "digest": "d" * 64}, "counter": 4}}}, None),
        ({"rejected": {"d" * 64: {"code": "HEALTH"}}}, "has rejected this release before"),
    ],
)
def test_who_would_refuse_the_release(changes: dict[str, t.Any], reason: str | None) -> None:
    found = compatibility.unfit(DOCUMENT, "d" * 64, {"d1": {**INFO, **changes}}, ["d1", "d2"])
    assert found == ({"d1": reason} if reason else {})


def test_of_whom_nothing_is_known_nothing_is_said() -> None:
    infos = {"d1": {"failed": True, "msg": "no contact"}, "d2": None}
    assert compatibility.unfit(DOCUMENT, "d" * 64, infos, ["d1", "d2", "d3"]) == {}
    rejected = {"d1": {**INFO, "rejected": {"d" * 64: {}}}}
    assert compatibility.unfit(DOCUMENT, "d" * 64, rejected, ["d1"], retry_rejected=True) == {}
