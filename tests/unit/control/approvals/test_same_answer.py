# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller begins a rollout exactly when its devices take it: random policies, people, thresholds and labels."""

from __future__ import annotations

import datetime
import json
import pathlib
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.action.plan import identities
from ansible_collections.fleet.ota.plugins.module_utils._device import trust
from ansible_collections.fleet.ota.plugins.module_utils._device.admission.approvals import Asked, require_approved
from ansible_collections.fleet.ota.plugins.module_utils._device.base.errors import OtaError
from ansible_collections.fleet.ota.plugins.module_utils._device.documents import approval as documents
from ansible_collections.fleet.ota.plugins.module_utils._device.documents import approved, policy
from ansible_collections.fleet.ota.plugins.module_utils._device.enrolment.identity import Identity
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout
from ansible_collections.fleet.ota.plugins.plugin_utils._control.approvals import approval
from ansible_collections.fleet.ota.plugins.plugin_utils._control.approvals.approval import Approved, Requester
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import RepositoryError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan
from ansible_collections.fleet.ota.plugins.plugin_utils._control.policy import listing
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.proposals.proposals import Proposals
from hypothesis import given, settings
from hypothesis import strategies as st

from .test_requests import ANNA, Office

if t.TYPE_CHECKING:
    from ..conftest import Site

HOSTS = ["dev1", "dev2", "dev3"]
ROLES = ["approvals", "approvals-safety"]
PEOPLE = ["anna", "ben", "carol", "dora"]
NOW = datetime.datetime(2026, 6, 1, 12, tzinfo=datetime.UTC)
RELEASE = {"name": "app", "version": "1", "counter": 1, "digest": "d" * 64, "channel": "stable"}


class Bundle:
    """What verified metadata list, to a device."""

    channel, digest = RELEASE["channel"], RELEASE["digest"]

    def __init__(self, rules: dict[str, t.Any] | None, listed: t.Sequence[approved.Listed]) -> None:
        self.rules, self.listed = rules, {one.path: one for one in listed}

    def document(self, path: str) -> trust.Document | None:
        if path == policy.TARGET:
            content = json.dumps(self.rules).encode()
            return trust.Document(content, "targets", (), 1, {}, ()) if self.rules else None
        one = self.listed.get(path)
        return trust.Document(one.content, one.role, (), one.threshold, dict(one.custom), one.keyids) if one else None


values = st.sampled_from(["lab", "1", "True", ""])
matches = st.dictionaries(
    st.sampled_from(["site", "hardware", "name", "stage"]),
    st.lists(st.sampled_from(["lab", "1", "True", *HOSTS])),
    max_size=2,
).map(lambda found: {key: value for key, value in found.items() if value})
needs = st.dictionaries(st.sampled_from(ROLES), st.integers(1, 3))
rule = st.fixed_dictionaries(
    {"approvals": needs}, optional={"match": matches, "channels": st.just(["stable"]) | st.just(["pilot"])}
)


def _named(found: dict[str, t.Any]) -> dict[str, t.Any]:
    return {**found, "rules": [{"name": f"r{number}", **one} for number, one in enumerate(found["rules"])]}


policies = st.fixed_dictionaries(
    {"format": st.just(1), "rules": st.lists(rule, min_size=1, max_size=3)},
    optional={"requester_may_approve": st.booleans()},
).map(_named)
inventory = st.fixed_dictionaries(
    {},
    optional={
        "fleet_ota_site": values,
        "fleet_ota_labels": st.dictionaries(
            st.sampled_from(["stage", "site"]), values | st.integers(0, 1) | st.booleans()
        ),
    },
)


@st.composite
def approvals(draw: st.DrawFn, made: plan.Plan) -> approved.Listed:
    """An approval of ``made``, or of a plan for fewer devices, by some people, that may have ended."""
    role = draw(st.sampled_from(ROLES))
    asker = draw(st.none() | st.sampled_from(PEOPLE))
    less = draw(st.booleans())
    the_plan = made if not less else _plan(draw(st.lists(st.sampled_from(HOSTS), unique=True, min_size=1)))
    ago = draw(st.sampled_from([1, 1, 1, 80]))
    content = approval.request(the_plan, Requester("x", asker), now=NOW - datetime.timedelta(hours=ago))
    people = draw(st.lists(st.sampled_from(PEOPLE), unique=True, min_size=1))
    threshold = draw(st.integers(1, len(people)))
    custom: dict[str, object] = dict(listing.custom(content))
    if draw(st.booleans()):
        custom["approved_by"] = draw(st.lists(st.sampled_from(PEOPLE)) | st.just("anna") | st.just([1, None]))
    path = listing.path_of(role, the_plan)
    return approved.Listed(path, role, content, threshold, tuple(people), custom)


def _plan(hosts: t.Sequence[str]) -> plan.Plan:
    return plan.make(hosts=sorted(hosts), groups={"all": HOSTS}, release=t.cast(t.Any, RELEASE))


@settings(max_examples=300, deadline=None)
@given(data=st.data(), rules=policies | st.none(), hosts=st.lists(st.sampled_from(HOSTS), unique=True, min_size=1))
def test_controller_and_devices_come_to_the_same_answer(
    data: st.DataObject, rules: dict[str, t.Any] | None, hosts: list[str]
) -> None:
    made = _plan(hosts)
    found = {one.path: one for one in data.draw(st.lists(approvals(made), max_size=3))}
    listed = [*found.values()]
    hostvars = {name: {"fleet_ota_hardware": "lab", **data.draw(inventory)} for name in hosts}
    checked = policy.parse(json.dumps(rules).encode()) if rules else None
    try:
        everything = [Approved(one, documents.parse(one.content)) for one in listed]
        words = identities(hosts, {"hostvars": hostvars})
        verdict = approval.judge(checked, everything, made, lambda: words, NOW)
        begins, paths = verdict.missing is None, verdict.paths
    except RepositoryError:
        begins, paths = False, [*found]

    def takes(name: str, shown: t.Sequence[str]) -> bool:
        own: dict[str, t.Any] = dict(hostvars[name])
        # what fleet.ota.enroll writes
        labels = {key: str(value) for key, value in own.get("fleet_ota_labels", {}).items()}
        identity = Identity.__new__(Identity)
        identity.value = {
            "format": 1,
            "name": name,
            "hardware": "lab",
            "site": own.get("fleet_ota_site", ""),
            "labels": labels,
        }
        try:
            bundle = t.cast("trust.Accepted", Bundle(rules, listed))
            require_approved(bundle, shown, Asked(identity.words, NOW.timestamp(), made.rollout))
        except OtaError:
            return False
        return True

    if begins:
        assert all(takes(name, paths) for name in hosts)
    else:
        # one that was given for this very plan is shown to every device; parts of it from several plans are not
        exactly = [path for path, one in found.items() if Approved(one, documents.parse(one.content)).plan == made]
        assert not all(takes(name, exactly) for name in hosts)


def test_the_device_that_asks_for_most_people_decides() -> None:
    """Of one plan, the first and the last device ask for one, the other for two."""
    rules = [
        {"name": "two", "match": {"name": ["dev2"]}, "approvals": {"approvals": 2}},
        {"name": "one", "approvals": {"approvals": 1}},
    ]
    checked = policy.parse(json.dumps({"format": 1, "rules": rules}).encode())
    made = _plan(HOSTS)
    content = approval.request(made, ANNA, now=NOW)
    for threshold, begins in ((1, False), (2, True)):
        listed = approved.Listed(
            listing.path_of("approvals", made),
            "approvals",
            content,
            threshold,
            ("ben", "carol"),
            listing.custom(content),
        )
        verdict = approval.judge(checked, [Approved(listed, documents.parse(content))], made, dict, NOW)
        assert (verdict.missing is None, verdict.needed) == (begins, {"approvals": 2})


# -- real signatures --------------------------------------------------------------------------------------------


@pytest.fixture
def office(empty: Site) -> Office:
    return Office(empty)


def device_takes(office: Office, folder: pathlib.Path, rollout: str) -> bool:
    layout = Layout(str(folder / "root"), str(folder / "state"))
    layout.prepare()
    pathlib.Path(layout.file("trust")).mkdir(parents=True, exist_ok=True)
    pathlib.Path(layout.file("trust", "root.json")).write_bytes(office.site.trust_root.read_bytes())
    bundle = office.site.fetch()
    accepted = trust.Trust(layout).accept(bundle.wire())
    words = {"name": "dev1", "hardware": "", "site": ""}
    try:
        require_approved(accepted, bundle.approvals, Asked(words, office.now.timestamp(), rollout))
    except OtaError as error:
        assert error.code == "APPROVAL"
        return False
    return True


def test_who_asked_signs_by_no_way_and_what_is_short_is_asked_again(office: Office, tmp_path: pathlib.Path) -> None:
    """Ben asks, and signs with another tool: neither side counts him, and anna may ask anew."""
    made = office.planned(["dev1"])
    ring = office.site.ring("ben")
    (case,) = office.ask(made, Requester("ben", next(iter(ring.signers))))
    proposals = Proposals(office.site.repository(office.now))
    with pytest.raises(RepositoryError, match="asked for it with this very key") as error:
        proposals.sign(case.proposal.id, ring)
    assert error.value.code == "APPROVAL"
    proposals._asker = lambda *_: (None, "")  # type: ignore[method-assign]
    proposals.sign(case.proposal.id, ring)
    assert office.sign(case, "carol", "snapshot", "timestamp").proposal.state == "applied"
    assert not device_takes(office, tmp_path / "d", made.rollout)
    assert "only with the requester's own" in str(office.verdict(made).missing)

    office.now += datetime.timedelta(seconds=1)
    (again,) = office.ask(made)
    assert office.sign(again, "ben", "carol", "snapshot", "timestamp").proposal.state == "applied"
    assert device_takes(office, tmp_path / "d", made.rollout)
    assert office.verdict(made).missing is None
    assert office.ask(made) == []


def test_the_rest_of_a_ring_signs_where_one_key_may_not(office: Office) -> None:
    ring = office.site.ring("ben")
    (case,) = office.ask(office.planned(), Requester("ben", next(iter(ring.signers))))
    (signed,) = [one.signed for one in office.sign(case, "ben", "carol").proposal.needs]
    assert [name.split()[0] for name in signed] == ["carol"]


def test_a_threshold_that_was_lowered_is_missing_on_both_sides(office: Office, tmp_path: pathlib.Path) -> None:
    made = office.planned(["dev1"])
    office.approve(made)
    assert device_takes(office, tmp_path / "d", made.rollout)
    office.site.make(approvals={"approvals": office.site.holders("anna", "ben", "carol", threshold=1)})
    assert not device_takes(office, tmp_path / "d", made.rollout)
    assert "threshold of 1" in str(office.verdict(made).missing)


def test_an_approval_is_taken_back_by_those_who_give_it(office: Office, tmp_path: pathlib.Path) -> None:
    made = office.planned(["dev1"])
    office.approve(made)
    desk = office.desk()
    with pytest.raises(Exception, match="needs a remark"):
        desk.revoke(made.rollout, ANNA, office.site.ring("ben"))
    why = Requester("anna", remark="the bench found a leak")
    with pytest.raises(RepositoryError, match=r"no approval of other is in force"):
        desk.revoke("other", why, office.site.ring("ben"))
    (case,) = desk.revoke(made.rollout, why, office.site.ring("ben"))
    assert case.proposal.state == "open"
    assert "takes back the approval approvals/" in case.lines[0]
    assert any(line.startswith("and no longer: approvals lists") for line in case.lines)
    assert device_takes(office, tmp_path / "d", made.rollout), "one person alone takes nothing back"
    assert office.sign(case, "carol", "snapshot", "timestamp").proposal.state == "applied"
    assert not device_takes(office, tmp_path / "d", made.rollout)
    assert "no signatures yet" in str(office.verdict(made).missing)
    assert len(office.ask(made)) == 1, "it can be asked for again"


def test_a_running_rollout_is_told_that_its_approval_is_gone(office: Office) -> None:
    from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import TrustError
    from ansible_collections.fleet.ota.plugins.plugin_utils._control.client import renewal

    made = office.planned()
    office.approve(made)
    saved = office.site.fetch().save(office.site.folder / "bundle.json")
    assert not renewal.renew(saved, office.site.trust_root, office.now)
    ring = office.site.ring("ben", "carol", "snapshot", "timestamp")
    (case,) = office.desk().revoke(made.rollout, Requester("anna", remark="x"), ring)
    assert case.proposal.state == "applied"
    with pytest.raises(TrustError, match="was taken back") as error:
        renewal.renew(saved, office.site.trust_root, office.now)
    assert error.value.code == "APPROVAL"


def test_one_signs_what_is_theirs_and_leaves_the_rest_to_others(empty: Site) -> None:
    """The policy of the reference's own example: two roles, and nobody holds keys of both."""
    office = Office(empty)
    safety = {"approvals-safety": empty.holders("sven")}
    empty.make(approvals={"approvals": empty.holders("anna", "ben", "carol", threshold=2), **safety})
    office.adopt({"format": 1, "rules": [{"name": "all", "approvals": {"approvals": 2, "approvals-safety": 1}}]})
    made = office.planned()
    office.desk().request(made, ROLES, ANNA, hours=1)
    for names in (["sven", "snapshot", "timestamp"], ["ben"], ["carol", "snapshot", "timestamp"]):
        ring, desk = empty.ring(*names), office.desk()
        mine = [case for case in desk.cases() if desk.is_for(case, ring)]
        assert len(mine) == 1
        desk.sign(mine[0], ring)
    assert office.desk().cases() == []
    assert office.verdict(made).missing is None
