# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The device takes nothing that people did not approve for it: real bundles, through the engine's protocol."""

from __future__ import annotations

import copy
import hashlib
import json
import time
import typing as t

import pytest

from ..conftest import Device, Publisher
from ..signing import Key, Repository

pytestmark = pytest.mark.one_python

POLICY: dict[str, t.Any] = {"format": 1, "rules": [{"name": "all", "approvals": {"approvals": 2}}]}
HOUR = 3600


def stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


class Office:
    """Who approves: three keys, of which two must sign."""

    def __init__(self, repository: Repository, publisher: Publisher, keys: list[Key]) -> None:
        self.repository, self.publisher = repository, publisher
        self.keys = [keys[0], keys[1], keys[5]]

    def staff(self, *, signers: int = 2, threshold: int = 2) -> None:
        self.repository.delegate("approvals", ["approvals/*/*"], self.keys, threshold, self.keys[:signers])

    def policy(self, **changes: t.Any) -> None:
        self.repository.add("targets", "policy.json", json.dumps({**POLICY, **changes}).encode())

    def approval(self, *hosts: str, **changes: t.Any) -> dict[str, t.Any]:
        digest = hashlib.sha256(self.repository.release).hexdigest()
        release = {"name": "app", "version": "1", "counter": 1, "digest": digest, "channel": "stable"}
        waves = [{"index": 0, "name": "all", "hosts": list(hosts or ["dev0", "dev1"])}]
        plan = {"format": 1, "rollout": "app-1-" + digest[:8], "release": release, "waves": waves}
        requested = {"by": "anna", "time": stamp(time.time())}
        value = {"format": 1, "plan": plan, "requested": requested, "expires": stamp(time.time() + HOUR)}
        return {**copy.deepcopy(value), **changes}

    def approve(self, value: t.Mapping[str, t.Any], custom: t.Mapping[str, t.Any] | None = None) -> dict[str, t.Any]:
        """List an approval and return the bundle that names it."""
        path = "approvals/app-1/%s.json" % hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
        self.repository.add("approvals", path, json.dumps(value).encode(), custom)
        return self.repository.bundle(approvals=[path])


@pytest.fixture()
def office(repository: Repository, publisher: Publisher, keys: list[Key]) -> Office:
    publisher.release(1)
    return Office(repository, publisher, keys)


def verdict(device: Device, bundle: t.Mapping[str, t.Any], **request: t.Any) -> str:
    reply = device.call("verify", bundle=bundle, **request)
    return str(reply["error"]["code"]) if "error" in reply else "good"


def test_without_a_policy_nobody_is_asked(device: Device, office: Office) -> None:
    assert verdict(device, office.repository.bundle()) == "good"


def test_with_a_policy_nothing_goes_without_approval(device: Device, office: Office) -> None:
    office.staff()
    office.policy()
    assert verdict(device, office.repository.bundle()) == "APPROVAL"
    reply = device.call("apply", bundle=office.repository.bundle(), rollout="app-1")
    assert (reply["outcome"], reply["error"]["code"]) == ("refused", "APPROVAL")


def test_an_approved_release_is_taken_and_the_device_keeps_who_approved(device: Device, office: Office) -> None:
    office.staff()
    office.policy()
    value = office.approval()
    bundle = office.approve(value)
    device.stage(office.publisher.files)
    reply = device.call("apply", bundle=bundle, rollout=value["plan"]["rollout"], guard="process", wait=30)
    assert reply["state"] == "unconfirmed", reply
    kept = json.loads((device.state / "transaction.json").read_text())["approvals"]
    assert kept["approvals"]["by"] == "anna"
    assert device.call("confirm")["outcome"] == "updated"


def test_a_policy_that_is_listed_must_be_shown(device: Device, office: Office) -> None:
    office.staff()
    office.policy()
    bundle = office.approve(office.approval())
    del bundle["documents"]["policy.json"]
    assert verdict(device, bundle) == "METADATA"


def test_an_approval_must_be_listed_by_the_role_itself(device: Device, office: Office, keys: list[Key]) -> None:
    office.staff()
    office.policy()
    office.repository.delegate("approvals-x", ["approvals/other/*"], [keys[3]], 1, [keys[3]])
    office.repository.add("approvals-x", "approvals/other/1.json", json.dumps(office.approval()).encode())
    assert verdict(device, office.repository.bundle(approvals=["approvals/other/1.json"])) == "APPROVAL"
    assert verdict(device, office.repository.bundle(approvals=["approvals/none/1.json"])) == "APPROVAL"


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        (("plan", "release", "digest"), "0" * 64, "PLAN_MISMATCH"),
        (("plan", "release", "channel"), "pilot", "PLAN_MISMATCH"),
        (("plan", "waves"), [{"index": 0, "name": "all", "hosts": ["dev2", "dev11"]}], "PLAN_MISMATCH"),
        (("plan", "waves"), [], "PLAN_MISMATCH"),
        (("expires",), stamp(time.time() - 1), "APPROVAL"),
        (("expires",), "tomorrow", "METADATA"),
        (("format",), 2, "METADATA"),
        (("plan",), None, "METADATA"),
        (("plan", "waves"), [{"hosts": [1]}], "METADATA"),
        (("requested",), {}, "METADATA"),
        (("surprise",), 1, "METADATA"),
    ],
)
def test_an_approval_of_something_else_is_none(
    device: Device, office: Office, path: tuple[str, ...], value: t.Any, code: str
) -> None:
    office.staff()
    office.policy()
    approval = office.approval()
    place = approval
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert verdict(device, office.approve(approval)) == code


def test_an_approval_of_another_rollout_is_none(device: Device, office: Office) -> None:
    office.staff()
    office.policy()
    bundle = office.approve(office.approval())
    reply = device.call("apply", bundle=bundle, rollout="app-9-00000000")
    assert (reply["outcome"], reply["error"]["code"]) == ("refused", "PLAN_MISMATCH")


def test_one_good_approval_among_others_is_enough(device: Device, office: Office) -> None:
    office.staff()
    office.policy()
    paths = [*office.approve(office.approval("dev9"))["approvals"]]
    paths += office.approve(office.approval())["approvals"]
    paths += office.approve(office.approval("dev8"))["approvals"]
    assert verdict(device, office.repository.bundle(approvals=paths)) == "good"


def test_a_role_whose_threshold_was_lowered_does_not_do(device: Device, office: Office) -> None:
    office.staff(threshold=1, signers=2)
    office.policy()
    assert verdict(device, office.approve(office.approval())) == "APPROVAL"


def test_too_few_signatures_do_not_do(device: Device, office: Office) -> None:
    office.staff(signers=1)
    office.policy()
    assert verdict(device, office.approve(office.approval())) == "THRESHOLD"


@pytest.mark.parametrize(("signers", "let", "code"), [(2, False, "APPROVAL"), (3, False, "good"), (2, True, "good")])
def test_who_asks_does_not_approve(device: Device, office: Office, signers: int, let: bool, code: str) -> None:
    office.staff(signers=signers)
    office.policy(requester_may_approve=let)
    value = office.approval()
    value["requested"]["keyid"] = office.keys[0].id
    assert verdict(device, office.approve(value)) == code


@pytest.mark.parametrize(("first", "code"), [((1, 2), "good"), ((0, 1), "APPROVAL")])
def test_a_later_version_says_who_approved_first(device: Device, office: Office, first: t.Any, code: str) -> None:
    office.staff(signers=2)  # keys 0 and 1 signed the version that the device sees
    office.policy()
    value = office.approval()
    value["requested"]["keyid"] = office.keys[0].id
    custom = {"approved_by": [office.keys[number].id for number in first]}
    assert verdict(device, office.approve(value, custom)) == code


def test_the_device_goes_by_its_own_identity(device: Device, office: Office) -> None:
    office.staff()
    office.policy(
        rules=[
            {"name": "lab", "match": {"site": ["lab"]}, "approvals": {}},
            {"name": "north", "match": {"site": ["north"]}, "approvals": {"approvals": 2}},
        ]
    )
    assert verdict(device, office.repository.bundle()) == "APPROVAL"
    identity = {"name": "dev1", "hardware": "edge-1", "site": "lab"}
    assert device.call("enroll", identity=identity, trust_root=office.repository.root())["changed"]
    assert verdict(device, office.repository.bundle()) == "good"
    identity["site"] = "moon"
    assert device.call("enroll", identity=identity, trust_root=office.repository.root())["changed"]
    assert verdict(device, office.repository.bundle()) == "APPROVAL"


@pytest.mark.parametrize("approvals", ["approvals/x/y.json", [1], {"approvals": 1}])
def test_a_list_of_approvals_that_is_none_is_refused(device: Device, office: Office, approvals: t.Any) -> None:
    assert verdict(device, office.repository.bundle(approvals=approvals)) == "METADATA"


@pytest.mark.parametrize(
    ("require", "rules", "code"),
    [
        (True, None, "APPROVAL"),
        (True, [{"name": "all", "approvals": {}}], "APPROVAL"),
        (True, POLICY["rules"], "good"),
        (False, None, "good"),
    ],
)
def test_a_sealed_device_takes_nothing_that_nobody_approved(
    device: Device, office: Office, require: bool, rules: t.Any, code: str
) -> None:
    office.staff()
    if rules:
        office.policy(rules=rules)
    bundle = office.approve(office.approval())
    settings = {"format": 1, "login": "ota", "require_approval": require}
    (device.state / "sealed.json").write_text(json.dumps(settings))
    assert verdict(device, bundle) == code
