# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Approvals on the publishing side: asked for once, shown as they are, signed by other people, bound to a plan."""

from __future__ import annotations

import datetime
import json
import pathlib
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.approvals import approval
from ansible_collections.fleet.ota.plugins.plugin_utils._control.approvals.approval import Requester
from ansible_collections.fleet.ota.plugins.plugin_utils._control.approvals.requests import ApprovalRequests, Case
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import PlanError, RepositoryError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.client.bundle import Bundle
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan
from ansible_collections.fleet.ota.plugins.plugin_utils._control.policy import policy as policies
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.proposals.proposal import Request

from ..conftest import Site

POLICY: dict[str, t.Any] = {
    "format": 1,
    "rules": [
        {"name": "lab", "match": {"site": ["lab"]}, "approvals": {}},
        {"name": "others", "approvals": {"approvals": 2}},
    ],
}
HOSTS = ["dev1", "dev2", "dev3"]
ANNA = Requester("anna")


class Office:
    """A repository with a release, a policy, and three people who approve."""

    def __init__(self, site: Site) -> None:
        self.site = site
        site.make(approvals={"approvals": site.holders("anna", "ben", "carol", threshold=2)})
        site.publish()
        self.now = datetime.datetime.now(datetime.UTC)
        self.adopt(POLICY)

    def desk(self) -> ApprovalRequests:
        return ApprovalRequests(self.site.repository(self.now))

    def adopt(self, policy: t.Mapping[str, t.Any]) -> None:
        path = self.site.folder / "policy.yml"
        path.write_text(json.dumps(policy))
        self.desk().publish(policies.read(path), self.site.ring("targets", "snapshot", "timestamp"))

    def planned(self, hosts: t.Sequence[str] = tuple(HOSTS), **more: t.Any) -> plan.Plan:
        return plan.make(hosts=hosts, groups={"all": HOSTS}, release=self.site.fetch().identity, **more)

    def ask(self, made: plan.Plan | None = None, requester: Requester = ANNA, hours: float = 1) -> list[Case]:
        return self.desk().request(made or self.planned(), ["approvals"], requester, hours=hours)

    def sign(self, case: Case, *names: str) -> Case:
        (fresh,) = self.desk().cases([case.proposal.id])
        return self.desk().sign(fresh, self.site.ring(*names))[0]

    def approve(self, made: plan.Plan | None = None, signers: t.Sequence[str] = ("ben", "carol")) -> Case:
        (case,) = self.ask(made)
        return self.sign(case, *signers, "snapshot", "timestamp")

    def verdict(self, made: plan.Plan, site: str = "north", bundle: Bundle | None = None) -> approval.Verdict:
        bundle = bundle or self.site.fetch()
        words = {name: {"name": name, "site": site} for name in HOSTS}
        return approval.judge(bundle.policy, bundle.approved(), made, lambda: words, self.now)


@pytest.fixture
def office(empty: Site) -> Office:
    return Office(empty)


def test_a_rollout_needs_what_the_policy_asks_for(office: Office) -> None:
    made = office.planned()
    found = office.verdict(made)
    assert found.needed == {"approvals": 2}
    assert "2 by approvals (no signatures yet)" in found.lines()[0]
    with pytest.raises(PlanError, match="needs approval") as error:
        found.require(made)
    assert error.value.code == "APPROVAL"
    assert office.verdict(made, "lab") == approval.Verdict({}, [], None)


def test_two_people_on_two_machines_approve_a_plan(office: Office) -> None:
    made = office.planned()
    (case,) = office.ask(made)
    assert office.sign(case, "ben").proposal.state == "open"
    assert office.sign(case, "carol").proposal.state == "ready"
    assert office.verdict(made).missing  # not in force without the online keys
    assert office.sign(case, "carol", "snapshot", "timestamp").proposal.state == "applied"
    found = office.verdict(made)
    found.require(made)
    assert found.paths == [f"approvals/{made.document['rollout']}/{made.document['digest'][:16]}.json"]
    assert found.lines() == [f"approved: {found.paths[0]}"]


def test_the_bundle_carries_what_a_device_needs(office: Office) -> None:
    office.approve()
    made = office.planned()
    wire = office.site.fetch().with_approvals(office.verdict(made).paths).wire()
    assert set(wire["roles"]) == {"stable", "approvals"}
    assert set(wire["documents"]) == {"stable/gateway/1.0.json", "policy.json", *wire["approvals"]}
    bare = office.site.fetch().with_approvals([]).wire()
    assert set(bare["documents"]) == {"stable/gateway/1.0.json", "policy.json"}


def test_what_would_be_signed_is_told_with_its_difference_to_the_last(office: Office) -> None:
    office.approve(office.planned(["dev1", "dev2"]))
    (case,) = office.ask(office.planned(), Requester("anna", remark="the leak of ticket 4711"))
    text = "\n".join(case.lines)
    for words in (
        "release gateway 1.0",
        "wave 1 wave-1: 1 device: dev1",
        office.site.fetch().digest,
        office.planned().document["digest"],
        "asked for by anna",
        "the leak of ticket 4711",
        "holds until",
        "compared with the plan approved before",
        "+wave-3: dev3",
        "stays approved: approvals lists approvals/gateway-1.0-",
    ):
        assert words in text, f"{words} in\n{text}"


def test_the_same_request_again_asks_once(office: Office) -> None:
    assert len(office.ask()) == 1
    assert office.ask() == []
    office.sign(office.desk().cases()[0], "ben", "carol", "snapshot", "timestamp")
    assert office.ask() == []
    assert office.desk().cases() == []


def test_who_asks_cannot_sign_unless_the_policy_lets_them(office: Office) -> None:
    keyid = next(iter(office.site.ring("ben").signers))
    (case,) = office.ask(requester=Requester("ben", keyid))
    with pytest.raises(RepositoryError, match="asked for it with this very key") as error:
        office.sign(case, "ben")
    assert error.value.code == "APPROVAL"
    office.adopt({**POLICY, "requester_may_approve": True})
    assert office.sign(case, "ben").proposal.state == "open"


def test_a_denial_is_recorded_with_its_reason_and_ends_it(office: Office) -> None:
    (case,) = office.ask()
    with pytest.raises(PlanError, match="needs a remark"):
        office.desk().deny(case, "ben", " ")
    denied = office.desk().deny(case, "ben", "not in the week of the audit")
    assert denied.proposal.state == "denied"
    assert [(remark.by, remark.text) for remark in denied.proposal.remarks] == [("ben", "not in the week of the audit")]
    with pytest.raises(RepositoryError, match=r"no approval .* is waiting"):
        office.sign(case, "carol")


def test_an_approval_ends_and_is_taken_off_with_the_next(office: Office) -> None:
    made = office.planned()
    office.approve(made)
    office.now += datetime.timedelta(hours=2)
    assert "expired at" in str(office.verdict(made).missing)
    other = office.planned(["dev1"])
    office.approve(other)
    assert office.site.fetch().approvals == [
        f"approvals/{other.document['rollout']}/{other.document['digest'][:16]}.json"
    ]


def test_who_approved_first_stays_known(office: Office) -> None:
    ids = {name: next(iter(office.site.ring(name).signers)) for name in ("anna", "ben", "carol")}
    office.approve(office.planned(["dev1"]), ["anna", "ben"])
    office.approve(office.planned(["dev2"]), ["ben", "carol"])
    listed = office.site.repository().store.load().channels["approvals"].signed.targets
    people = sorted(sorted(entry.custom.get("approved_by", [])) for entry in listed.values())
    assert people == [[], sorted([ids["anna"], ids["ben"]])]
    # who loses the role has not approved any more
    office.site.make(approvals={"approvals": office.site.holders("ben", "carol", threshold=2)})
    listed = office.site.repository().store.load().channels["approvals"].signed.targets
    assert sorted([ids["ben"]]) in [entry.custom.get("approved_by", []) for entry in listed.values()]


@pytest.mark.parametrize(
    ("hosts", "more", "reason"),
    [
        (["dev1"], {}, None),
        (["dev3"], {"waves": [{"name": "last", "count": 1}]}, None),
        (HOSTS, {"limits": {"max_failures": 5}}, "was given under other limits"),
        (HOSTS, {"waves": [{"percent": 100}]}, "has these devices in other waves"),
        (HOSTS, {"waves": [{"hosts": ["dev3"]}, {"hosts": ["dev1"]}]}, "has these devices in other waves"),
    ],
)
def test_an_approved_plan_covers_less_but_nothing_else(
    office: Office, hosts: list[str], more: dict[str, t.Any], reason: str | None
) -> None:
    approved = office.planned(waves=[{"count": 1}, {"count": 1}, {"count": 1}])
    assert approval.covers(approved, office.planned(hosts, **more)) == reason


def test_a_plan_with_a_device_that_was_not_approved_is_not_covered(office: Office) -> None:
    office.approve(office.planned(["dev1", "dev2"]))
    assert "does not name dev3" in str(office.verdict(office.planned()).missing)


def test_a_plan_for_another_release_is_not_covered(office: Office) -> None:
    approved = office.planned()
    office.site.publish("2.0", 2)
    assert approval.covers(approved, office.planned()) == "is for another release"


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"approvals": 3}, "approvals has a threshold of 2, not 3"),
        ({"approvals-safety": 1}, "the repository has no role approvals-safety"),
    ],
)
def test_a_policy_that_the_roles_cannot_keep_is_refused(office: Office, rule: dict[str, int], words: str) -> None:
    with pytest.raises(RepositoryError, match=words) as error:
        office.adopt({"format": 1, "rules": [{"name": "all", "approvals": rule}]})
    assert error.value.code == "POLICY"
    assert office.desk().policy() == POLICY


def test_a_policy_without_its_keys_is_refused_and_leaves_nothing(office: Office, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "policy.yml"
    path.write_text(json.dumps({**POLICY, "requester_may_approve": True}))
    with pytest.raises(RepositoryError, match="needs more signatures") as error:
        office.desk().publish(policies.read(path), office.site.ring("snapshot"))
    assert error.value.code == "THRESHOLD"
    assert office.desk().proposals.list() == []
    change = office.desk().publish(policies.read(path), office.site.ring("snapshot"), propose=Request("owner"))
    assert change.proposal is not None
    assert change.proposal.state == "open"
