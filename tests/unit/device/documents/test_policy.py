# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fleet's policy: every mistake is named, and the first rule that matches counts."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.documents import policy

PRODUCTION = {"name": "production", "approvals": {"approvals": 2, "approvals-safety": 1}}
LAB = {"name": "lab", "match": {"stage": ["lab", "test"], "site": ["north"]}, "approvals": {}}
POLICY: dict[str, t.Any] = {"format": 1, "rules": [LAB, PRODUCTION]}


def parsed(**changes: t.Any) -> policy.Policy:
    return policy.parse(json.dumps({**POLICY, **changes}).encode())


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ({"name": "dev1", "site": "north", "stage": "lab"}, {}),
        ({"name": "dev1", "site": "south", "stage": "lab"}, PRODUCTION["approvals"]),
        ({"name": "dev1", "site": "north"}, PRODUCTION["approvals"]),
    ],
)
def test_the_first_rule_that_matches_counts(words: dict[str, str], wanted: dict[str, int]) -> None:
    assert policy.needed(parsed(), words, "stable") == wanted


def test_a_rule_may_be_about_some_channels_only() -> None:
    pilot = {"name": "pilot", "channels": ["pilot"], "approvals": {}}
    found = parsed(rules=[pilot, PRODUCTION])
    assert policy.needed(found, {"name": "dev1"}, "pilot") == {}
    assert policy.needed(found, {"name": "dev1"}, "stable") == PRODUCTION["approvals"]


def test_a_device_that_no_rule_is_about_takes_nothing() -> None:
    with pytest.raises(policy.PolicyError, match="no rule of the fleet's policy is about dev9") as error:
        policy.needed(parsed(rules=[LAB]), {"name": "dev9", "site": "south"}, "stable")
    assert error.value.code == "APPROVAL"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 2}, "format"),
        ({"rules": []}, "needs at least 1"),
        ({"rules": [PRODUCTION, PRODUCTION]}, "taken by an earlier rule"),
        ({"rules": [{"name": "x"}]}, "'approvals' is missing"),
        ({"rules": [{**PRODUCTION, "approvals": {"approvals": 0}}]}, "out of range"),
        ({"rules": [{**PRODUCTION, "approvals": {"approvals": True}}]}, "whole number"),
        ({"rules": [{**PRODUCTION, "approvals": {"stable": 1}}]}, "is no approval role"),
        ({"rules": [{**PRODUCTION, "approvals": {"approvals-../x": 1}}]}, "is no approval role"),
        ({"rules": [{**PRODUCTION, "match": {"site": "north"}}]}, "must be a list"),
        ({"rules": [{**PRODUCTION, "match": ["site"]}]}, "must be a mapping"),
        ({"rules": [{**PRODUCTION, "surprise": 1}]}, "unknown key 'surprise'"),
        ({"requester_may_approve": "no"}, "requester_may_approve"),
        ({"custody": [{"predicate": "x", "keys": ["a.pub"], "threshold": 2}]}, "more than its 1 keys"),
        ({"custody": [{"predicate": "x", "keys": []}]}, "needs at least 1"),
        ({"surprise": 1}, "unknown key 'surprise'"),
    ],
)
def test_every_mistake_is_named(change: dict[str, t.Any], words: str) -> None:
    with pytest.raises(policy.PolicyError, match=words) as error:
        parsed(**change)
    assert error.value.code == "METADATA"


def test_what_is_not_json_is_no_policy() -> None:
    with pytest.raises(policy.PolicyError, match="is not JSON"):
        policy.parse(b"format: 1")
