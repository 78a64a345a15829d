# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kinds of check, each as it passes and as it does not; and what is neither: no number, no answer, now and then."""

from __future__ import annotations

import json
import math
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base import schema
from ansible_collections.fleet.ota.plugins.module_utils._device.kinds import checks
from ansible_collections.fleet.ota.plugins.module_utils._device.kinds.checks import (
    _latency,
    file,
    http,
    journal,
    resources,
    tcp,
)
from ansible_collections.fleet.ota.plugins.module_utils._device.system import command
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout
from ansible_collections.fleet.ota.plugins.module_utils._device.transaction.health import Health

NAN = float("nan")


def passes(module: t.Any, check: dict[str, t.Any], context: checks.Context) -> bool:
    """Whether one look passes."""
    try:
        module.look(check, context)
    except checks.Unhealthy:
        return False
    return True


def problems(check: dict[str, t.Any]) -> list[str]:
    """What is wrong with a check of a release."""
    found = schema.Problems()
    checks.validate("health", {"checks": [{"name": "c", **check}]}, found)
    return found.found


@pytest.mark.parametrize(
    ("check", "good"),
    [
        ({"path": "/etc/a"}, True),
        ({"path": "/etc/none"}, False),
        ({"path": "/etc/none", "state": "absent"}, True),
        ({"path": "/etc/a", "state": "absent"}, False),
        ({"path": "/etc/dangling", "state": "absent"}, False),
        ({"path": "/etc/dangling"}, False),
        ({"path": "/etc"}, True),
        ({"path": "/etc", "contains": "x"}, False),
        ({"path": "/etc/a", "contains": "ll"}, True),
        ({"path": "/etc/a", "contains": "no"}, False),
        ({"path": "/etc/a", "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}, True),
        ({"path": "/etc/a", "sha256": "0" * 64}, False),
    ],
)
def test_file(tmp_path: Path, check: dict[str, t.Any], good: bool) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/a").write_text("hello")
    (tmp_path / "etc/dangling").symlink_to("nowhere")
    assert passes(file, check, checks.Context(False, {}, str(tmp_path))) is good


def test_resources_of_this_machine() -> None:
    enough = {"memory_available": 1, "free_space": 1, "load": 10000, "cpu": 100, "over": 0.1}
    seen = resources.look(enough, checks.Context(True, {}))
    assert 0 <= seen["cpu"] <= 100 and seen["memory_available"] > 1 << 20


@pytest.mark.parametrize("limit", ["memory_available", "free_space", "load", "cpu"])
@pytest.mark.parametrize("value", [NAN, -1.0, 1e30])
def test_a_limit_that_is_not_kept_or_no_number(monkeypatch: pytest.MonkeyPatch, limit: str, value: float) -> None:
    monkeypatch.setitem(resources._MEASURES, limit, lambda check, context: value)
    least = limit in ("memory_available", "free_space")
    good = value > 50 if least else value < 50
    if math.isnan(value):
        good = False
    assert passes(resources, {limit: 50}, checks.Context(True, {})) is good


@pytest.mark.parametrize(
    ("check", "count", "before", "good"),
    [
        ({}, 0, None, True),
        ({}, 1, None, False),
        ({"max": 3}, 3, None, True),
        ({"max": 3}, 4, None, False),
        ({"above_baseline": 2}, 7, 5, True),
        ({"above_baseline": 2}, 8, 5, False),
        ({"above_baseline": 2}, 3, None, False),
    ],
)
def test_journal(
    monkeypatch: pytest.MonkeyPatch, check: dict[str, t.Any], count: int, before: int | None, good: bool
) -> None:
    """Only what came within the window counts, by the monotonic clock."""
    now = 5000.0
    lines = [now - 1] * count + [now - 61] * 20
    out = "\n".join(json.dumps({"__MONOTONIC_TIMESTAMP": str(int(line * 1e6))}) for line in lines)
    monkeypatch.setattr(journal.time, "monotonic", lambda: now)
    monkeypatch.setattr(journal.command, "run", lambda argv: command.Result(0, out, ""))
    baseline = {} if before is None else {"count": before}
    assert passes(journal, check, checks.Context(True, baseline)) is good


def test_a_journal_that_cannot_be_read_is_inconclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal.command, "run", lambda argv: command.Result(1, "", "no journal"))
    with pytest.raises(checks.Unhealthy, match="inconclusive"):
        journal.look({}, checks.Context(True, {}))


@pytest.mark.parametrize(
    ("check", "seconds", "before", "good"),
    [
        ({"max_seconds": 0.5}, 0.5, None, True),
        ({"max_seconds": 0.5}, 0.6, None, False),
        ({"max_seconds": 0.5}, NAN, None, False),
        ({"baseline_factor": 2}, 0.2, 0.1, True),
        ({"baseline_factor": 2}, 0.21, 0.1, False),
        ({"baseline_factor": 2}, NAN, 0.1, False),
        ({"baseline_factor": 2}, 0.04, 0.001, True),
        ({"baseline_factor": 2}, 9.0, None, True),
    ],
)
def test_latency(check: dict[str, t.Any], seconds: float, before: float | None, good: bool) -> None:
    context = checks.Context(True, {} if before is None else {"seconds": before})
    if good:
        _latency.judge(check, seconds, context)
    else:
        with pytest.raises(checks.Unhealthy):
            _latency.judge(check, seconds, context)


@pytest.mark.parametrize(
    ("body", "condition", "good"),
    [
        ('{"a": {"b": [1, 2.5]}}', {"path": "a.b.1", "min": 2, "max": 3}, True),
        ('{"a": {"b": [1, 2.5]}}', {"path": "a.b.1", "max": 2}, False),
        ('{"a": {"b": [1, 2.5]}}', {"path": "a.b.1", "min": 3}, False),
        ('{"a": NaN}', {"path": "a", "min": 0}, False),
        ('{"a": Infinity}', {"path": "a", "min": 0}, False),
        ('{"a": true}', {"path": "a", "min": 0}, False),
        ('{"a": "3"}', {"path": "a", "min": 0}, False),
        ("", {"path": "a", "min": 0}, False),
        ("[1", {"path": "a", "equals": 1}, False),
    ],
)
def test_json_conditions(body: str, condition: dict[str, t.Any], good: bool) -> None:
    if good:
        http._compare("u", condition, http._parsed(body.encode()))
    else:
        with pytest.raises(checks.Unhealthy):
            http._compare("u", condition, http._parsed(body.encode()))


@pytest.mark.parametrize(
    "check",
    [
        {"type": "file", "path": "relative"},
        {"type": "file", "path": "/x", "state": "gone"},
        {"type": "file", "path": "/x", "sha256": "12"},
        {"type": "resources"},
        {"type": "resources", "unit_memory": 5},
        {"type": "resources", "load": NAN},
        {"type": "resources", "load": float("inf")},
        {"type": "journal", "priority": "bad"},
        {"type": "journal", "max": -1},
        {"type": "http", "url": "http://x/", "baseline_factor": 0.5},
        {"type": "http", "url": "http://x/", "json": {"path": "a"}},
        {"type": "http", "url": "http://x/", "json": {"path": "a", "min": NAN}},
        {"type": "http", "url": "http://x/", "headers": ["a"]},
        {"type": "http", "url": "http://x/", "headers": {"a": 1}},
        {"type": "tcp", "port": 1, "max_seconds": "1"},
        {"type": "unit", "unit": "a.service", "max_restarts": -1},
        {"type": "unknown"},
    ],
)
def test_bad_input_is_refused_before_anything(check: dict[str, t.Any]) -> None:
    assert problems(check)


@pytest.mark.parametrize(
    "check",
    [
        {"type": "file", "path": "/x", "contains": "y"},
        {"type": "resources", "unit": "a.service", "unit_memory": 5},
        {"type": "journal", "unit": "a.service", "above_baseline": 2, "window": 30},
        {"type": "http", "url": "http://x/", "json": [{"path": "a", "min": 1}, {"path": "b", "equals": None}]},
        {"type": "http", "url": "http://x/", "headers": {"X-Version": "2"}, "baseline_factor": 2},
        {"type": "unit", "unit": "a.service", "max_restarts": 0},
    ],
)
def test_good_input(check: dict[str, t.Any]) -> None:
    assert problems(check) == []


def test_flapping_is_not_healthy_and_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter("+-" * 100)

    def look(check: t.Any, context: checks.Context) -> dict[str, t.Any]:
        if next(looks) == "-":
            raise checks.Unhealthy("no")
        return {}

    monkeypatch.setattr(tcp, "look", look)
    section: checks.Section = {
        "passes": 2,
        "interval": 0.05,
        "timeout": 0.3,
        "checks": [{"name": "c", "type": "tcp", "port": 1}],
    }
    verdict = Health(Layout(str(tmp_path)), section, {}).wait()
    assert not verdict.healthy and "flapping" in verdict.reason, verdict


def test_settle_comes_before_the_first_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[t.Any] = []

    def look(check: t.Any, context: checks.Context) -> dict[str, t.Any]:
        events.append("look")
        return {}

    monkeypatch.setattr(tcp, "look", look)
    from ansible_collections.fleet.ota.plugins.module_utils._device.transaction import health

    monkeypatch.setattr(health.time, "sleep", events.append)
    section: checks.Section = {"passes": 1, "settle": 7, "checks": [{"name": "c", "type": "tcp", "port": 1}]}
    assert Health(Layout(str(tmp_path)), section, {}).wait().healthy
    assert events == [7.0, "look"]


def test_the_baseline_of_a_duration_is_a_median(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([9.0, 0.1, 0.2])
    monkeypatch.setattr(tcp, "look", lambda check, context: {"seconds": next(seconds)})
    section: checks.Section = {"checks": [{"name": "c", "type": "tcp", "port": 1, "baseline_factor": 2}]}
    assert Health(Layout(str(tmp_path)), section, {}).before().checks["c"]["measured"] == {"seconds": 0.2}
