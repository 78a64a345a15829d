# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person is shown is what the signature covers, and a proposal holds what its kind may hold and nothing else.

Whoever can write into `proposals/` writes hostile ones here; the id always fits, as theirs would.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime
import hashlib
import json
import pathlib
import shutil
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.documents import approval as documents
from ansible_collections.fleet.ota.plugins.plugin_utils._control.approvals import approval
from ansible_collections.fleet.ota.plugins.plugin_utils._control.approvals.approval import Requester
from ansible_collections.fleet.ota.plugins.plugin_utils._control.approvals.requests import ApprovalRequests, Case
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import ControlError, RepositoryError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan
from ansible_collections.fleet.ota.plugins.plugin_utils._control.policy import listing
from ansible_collections.fleet.ota.plugins.plugin_utils._control.policy import policy as policies
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.metadata.store import content_name
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.proposals.proposal import (
    Proposal,
    Request,
    identify,
)
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.proposals.proposals import Proposals
from tuf.api.metadata import DelegatedRole, Metadata, TargetFile, Targets

from ..conftest import Site

HOSTS = ["dev1", "dev2", "dev3"]
Change = t.Callable[["Forge"], None]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Two of three approve; root, targets and stable need anna and ben."""
    site = Site(tmp_path_factory.mktemp("office"))
    both = site.holders("anna", "ben", threshold=2)
    site.make(
        roles={**site.config().roles, "root": both, "targets": both},
        channels={"stable": both, "pilot": site.holders("pilot")},
        approvals={"approvals": site.holders("dora", "emil", "finn", threshold=2)},
    )
    site.publish()
    path = site.folder / "policy.yml"
    path.write_text(json.dumps({"format": 1, "rules": [{"name": "all", "approvals": {"approvals": 2}}]}))
    ApprovalRequests(site.repository()).publish(policies.read(path), site.ring())
    (case,) = ApprovalRequests(site.repository()).request(planned(site, ["dev3"]), ["approvals"], ANNA, hours=1)
    ApprovalRequests(site.repository()).sign(case, site.ring())
    return site


@pytest.fixture
def site(template: Site, tmp_path: pathlib.Path) -> Site:
    shutil.copytree(template.folder, tmp_path / "copy")
    return Site(tmp_path / "copy")


ANNA = Requester("anna")


def planned(site: Site, hosts: t.Sequence[str] = ("dev1",), **more: t.Any) -> plan.Plan:
    return plan.make(hosts=hosts, groups={"all": HOSTS}, release=site.fetch().identity, **more)


class Forge:
    """A proposal that somebody changes after an honest one."""

    def __init__(self, site: Site, honest: Proposal) -> None:
        self.site, self.honest = site, honest
        self.proposals = Proposals(site.repository())
        raw = self.proposals.folder.read(honest.id)
        self.roles: dict[str, Metadata[t.Any]] = copy.deepcopy(dict(raw.roles))
        self.content = dict(raw.content)
        self.more: dict[str, t.Any] = {}
        self.raw = raw

    def signed(self, role: str) -> t.Any:
        return self.roles[role].signed

    def add(self, role: str) -> t.Any:
        """Another role's metadata, as the next version of what is there."""
        state = self.site.repository().load()
        top: dict[str, Metadata[t.Any]] = {"root": state.roots[-1], "targets": state.targets, **state.channels}
        metadata = copy.deepcopy(top[role])
        metadata.signed.version += 1
        metadata.signatures.clear()
        self.roles[role] = metadata
        return metadata.signed

    def put(self, role: str, path: str, content: bytes, custom: dict[str, t.Any] | None = None) -> None:
        digest = hashlib.sha256(content).hexdigest()
        more = {"custom": custom} if custom else {}
        self.signed(role).targets[path] = TargetFile(len(content), {"sha256": digest}, path, more)
        self.content[content_name(path, digest)] = content

    def write(self) -> str:
        days = self.more.get("expiry_days", self.raw.expiry_days)
        name = identify(self.roles, days)
        content = dict(sorted(self.content.items()))
        shutil.rmtree(self.site.path / "proposals" / self.honest.id)
        forged = dataclasses.replace(self.raw, id=name, roles=self.roles, content=content, remarks=(), **self.more)
        self.proposals.folder.create(forged)
        return name


def request(site: Site, made: plan.Plan | None = None) -> Case:
    desk = ApprovalRequests(site.repository())
    (case,) = desk.request(made or planned(site), ["approvals"], ANNA, hours=1)
    return case


def release(site: Site) -> Proposal:
    change = site.repository().publish(
        "stable", site.document("2.0", 2), site.ring("snapshot"), propose=Request("mallory")
    )
    assert change.proposal is not None
    return change.proposal


def roles(site: Site) -> Proposal:
    channels = {"stable": site.holders("anna", "ben", "carla", threshold=2)}
    change = site.repository().ensure(
        site.config(roles={}, channels=channels), site.ring("snapshot"), propose=Request("mallory")
    )
    assert change.proposal is not None
    return change.proposal


def policy(site: Site) -> Proposal:
    path = site.folder / "policy.yml"
    path.write_text(json.dumps({"format": 1, "rules": [{"name": "lab", "approvals": {"approvals": 1}}]}))
    change = ApprovalRequests(site.repository()).publish(
        policies.read(path), site.ring("snapshot"), propose=Request("mallory")
    )
    assert change.proposal is not None
    return change.proposal


def renewal(site: Site) -> Proposal:
    later = site.repository(datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=80))
    later.refresh(site.ring("snapshot", "timestamp"))
    change = later.refresh(site.ring("anna"), propose=Request("mallory"))
    assert change.proposal is not None
    return change.proposal


def approving(site: Site) -> Proposal:
    return request(site).proposal


def _second_plan(forge: Forge) -> None:
    evil = approval.request(
        planned(forge.site, HOSTS, limits={"max_failures": 999}), ANNA, now=datetime.datetime.now(datetime.UTC)
    )
    document = plan.Plan.of(json.loads(evil)["plan"])
    (good,) = [path for path in forge.signed("approvals").targets if "dev" not in path][:1]
    path = listing.path_of("approvals", document)
    forge.put("approvals", path, evil, {**listing.custom(evil), "zz": good})


def _hidden_targets(forge: Forge) -> None:
    forge.add("targets").delegations.roles["stable"].threshold = 1


def _hidden_root(forge: Forge) -> None:
    forge.add("root").roles["targets"].threshold = 1


def _custom_beside(forge: Forge) -> None:
    path = next(path for path, one in forge.signed("approvals").targets.items() if "approved_by" not in one.custom)
    forge.signed("approvals").targets[path].unrecognized_fields["custom"]["approved_by"] = ["0" * 64] * 2


def _custom_of_another(forge: Forge) -> None:
    path = next(path for path, one in forge.signed("approvals").targets.items() if "approved_by" in one.custom)
    forge.signed("approvals").targets[path].unrecognized_fields["custom"]["approved_by"] = ["0" * 64] * 2


def _gone(forge: Forge) -> None:
    path = next(path for path, one in forge.signed("approvals").targets.items() if "approved_by" in one.custom)
    del forge.signed("approvals").targets[path]


def _unknown_field(forge: Forge) -> None:
    forge.signed("approvals").unrecognized_fields["x-evil"] = {"a": 1}


def _field_of_target(forge: Forge) -> None:
    for entry in forge.signed("approvals").targets.values():
        entry.unrecognized_fields["x-evil"] = 1


def _other_spec(forge: Forge) -> None:
    forge.signed("approvals").spec_version = "1.9.0"


def _other_hash(forge: Forge) -> None:
    for entry in forge.signed("approvals").targets.values():
        entry.hashes["sha512"] = "0" * 128


def _far(role: str) -> Change:
    def change(forge: Forge) -> None:
        forge.signed(role).expires = datetime.datetime(2126, 1, 1, tzinfo=datetime.UTC)

    return change


def _days(forge: Forge) -> None:
    forge.more["expiry_days"] = {"timestamp": 36500}


def _delegates(forge: Forge) -> None:
    key = forge.site.holders("mallory").keys[0]
    role = DelegatedRole("evil", [key.keyid], 1, terminating=False, paths=["*/*/*"])
    targets = forge.signed("targets")
    targets.delegations.keys[key.keyid] = key
    targets.delegations.roles = {"evil": role, **targets.delegations.roles}
    forge.roles["evil"] = Metadata(Targets(expires=targets.expires))


def _everything(forge: Forge) -> None:
    forge.signed("targets").delegations.roles["stable"].paths = ["*/*/*"]


def _removes_role(forge: Forge) -> None:
    del forge.signed("targets").delegations.roles["approvals"]


def _swaps_keys(forge: Forge) -> None:
    """Carla's id with mallory's value."""
    keys = forge.signed("targets").delegations.keys
    keyid = forge.site.holders("carla").keys[0].keyid
    keys[keyid].keyval = dict(forge.site.holders("mallory").keys[0].keyval)


def _other_key_of_anna(forge: Forge) -> None:
    """An id that is known already, with mallory's value."""
    keys = forge.signed("targets").delegations.keys
    keyid = forge.site.holders("anna").keys[0].keyid
    keys[keyid].keyval = dict(forge.site.holders("mallory").keys[0].keyval)


def _one_value_twice(forge: Forge) -> None:
    targets = forge.signed("targets").delegations
    one = copy.deepcopy(forge.site.holders("carla").keys[0])
    one.keyid = "0" * 64
    targets.keys[one.keyid] = one
    targets.roles["stable"].keyids.append(one.keyid)


def _unused_key(forge: Forge) -> None:
    key = forge.site.holders("mallory").keys[0]
    forge.signed("targets").delegations.keys[key.keyid] = key


def _key_field(forge: Forge) -> None:
    for key in forge.signed("targets").delegations.keys.values():
        key.unrecognized_fields["x-evil"] = 1


def _lists_too(forge: Forge) -> None:
    forge.put("targets", "other.json", b"{}")


def _release_in_channel(forge: Forge) -> None:
    forge.put("stable", "stable/x/1.json", b"{}", {"name": "x", "version": "1", "counter": 1})


def _look_alike(forge: Forge) -> None:
    targets = forge.signed("stable").targets
    targets["stable/g\u0430teway/2.0.json"] = targets.pop("stable/gateway/2.0.json")


def _escapes(forge: Forge) -> None:
    forge.put("stable", "stable/gateway/3\x1b[2J.json", b"{}", {"name": "\x1b]0;x\x07", "version": "3", "counter": 3})


def _changed_release(forge: Forge) -> None:
    forge.signed("stable").targets["stable/gateway/1.0.json"].length += 1


def _counter_of_old(forge: Forge) -> None:
    forge.signed("stable").targets["stable/gateway/1.0.json"].unrecognized_fields["custom"]["counter"] = 99


def _lower_counter(forge: Forge) -> None:
    forge.signed("stable").targets["stable/gateway/2.0.json"].unrecognized_fields["custom"]["counter"] = 1


def _more_beside(forge: Forge) -> None:
    forge.signed("stable").targets["stable/gateway/2.0.json"].unrecognized_fields["custom"]["release"] = "0" * 64


def _delegating_channel(forge: Forge) -> None:
    forge.signed("stable").delegations = forge.add("targets").delegations
    del forge.roles["targets"]


def _policy_of_pilot(forge: Forge) -> None:
    forge.add("pilot")


def _kind(name: str) -> Change:
    def change(forge: Forge) -> None:
        forge.more["kind"] = name

    return change


def _doubled_in_policy(forge: Forge) -> None:
    content = b'{"format":1,"rules":[{"name":"all","approvals":{"approvals":2},"approvals":{}}]}\n'
    forge.put("targets", "policy.json", content)


def _doubled_in_approval(forge: Forge) -> None:
    (path,) = [path for path in forge.signed("approvals").targets if "approved_by" not in custom_of(forge, path)]
    content = next(one for name, one in forge.content.items() if name.endswith(path.rpartition("/")[2]))
    value = json.loads(content)
    doubled = content.replace(b'"format":1,', b'"format":1,"expires":"2126-01-01T00:00:00Z",')
    assert documents.parse(doubled)["expires"] != value["expires"] or doubled != content
    forge.put("approvals", path, doubled, custom_of(forge, path))


def custom_of(forge: Forge, path: str) -> dict[str, t.Any]:
    return dict(forge.signed("approvals").targets[path].custom or {})


def _other_plan_digest(forge: Forge) -> None:
    (path,) = [path for path in forge.signed("approvals").targets if "approved_by" not in custom_of(forge, path)]
    content = next(one for name, one in forge.content.items() if name.endswith(path.rpartition("/")[2]))
    value = json.loads(content)
    value["plan"]["waves"][0]["hosts"].append("dev2")
    forge.put("approvals", path, documents.canonical(value), custom_of(forge, path))


def _renews_and_lowers(forge: Forge) -> None:
    forge.add("targets").delegations.roles["stable"].threshold = 1


def _renews_and_lists(forge: Forge) -> None:
    forge.put("stable", "stable/x/1.json", b"{}", {"name": "x", "version": "1", "counter": 1})


HOSTILE: list[tuple[t.Callable[[Site], Proposal], Change, str]] = [
    (approving, _second_plan, "other than one new document"),
    (approving, _hidden_targets, "targets"),
    (approving, _hidden_root, "root"),
    (approving, _custom_beside, "is about something else"),
    (approving, _custom_of_another, "approved_by"),
    (approving, _gone, "-approvals lists"),
    (approving, _unknown_field, "x-evil"),
    (approving, _field_of_target, "x-evil"),
    (approving, _other_spec, "1.9.0"),
    (approving, _other_hash, "other than one new document"),
    (approving, _far("approvals"), "later than after the 30 days"),
    (approving, _days, "how long metadata is valid"),
    (approving, _doubled_in_approval, "canonical"),
    (approving, _other_plan_digest, "has not the digest"),
    (approving, _kind("renewal"), "+approvals lists"),
    (approving, _kind("revocation"), "takes nothing back"),
    (approving, _kind("roles"), "it changes approvals"),
    (approving, _kind("release"), "approvals"),
    (approving, _kind("x"), "no kind"),
    (approving, _kind("repository"), "is there already"),
    (release, _release_in_channel, "more than one release"),
    (release, _look_alike, "\\u0430"),
    (release, _escapes, "\\x1b"),
    (release, _changed_release, "what is listed already"),
    (release, _counter_of_old, "what is listed already"),
    (release, _lower_counter, "counter 1"),
    (release, _more_beside, "has more beside it"),
    (release, _delegating_channel, "gives"),
    (release, _hidden_targets, "targets"),
    (release, _far("stable"), "later than after the 90 days"),
    (release, _kind("renewal"), "+stable lists"),
    (roles, _delegates, "evil"),
    (roles, _everything, "*/*/*"),
    (roles, _removes_role, "approvals"),
    (roles, _swaps_keys, "has another value"),
    (roles, _other_key_of_anna, "stable must be signed with it"),
    (roles, _one_value_twice, "the same key is given twice"),
    (roles, _unused_key, "for no role"),
    (roles, _key_field, "x-evil"),
    (roles, _lists_too, "other.json"),
    (policy, _doubled_in_policy, "twice"),
    (policy, _lists_too, "other than one new document"),
    (policy, _hidden_root, "root"),
    (policy, _policy_of_pilot, "pilot"),
]


@pytest.mark.parametrize(
    ("honest", "change", "told"), HOSTILE, ids=lambda value: getattr(value, "__name__", str(value))[:24]
)
def test_what_a_kind_may_not_hold_is_told_and_never_signed(
    site: Site, honest: t.Callable[[Site], Proposal], change: Change, told: str
) -> None:
    forge = Forge(site, honest(site))
    change(forge)
    name = forge.write()
    found = forge.proposals.get(name)
    # what lacks another role's signatures is not judged any further: nobody can sign it either
    assert found.state in ("refused", "stale"), found.reason
    assert told in found.reason
    assert told in str(found) or found.state == "stale"
    assert (str(found) + "".join(found.after)).isprintable()
    before = sorted(path for path in site.path.rglob("*"))
    for act in (forge.proposals.sign, forge.proposals.apply):
        with pytest.raises(RepositoryError, match=f"is {found.state} and cannot be") as caught:
            act(name, site.ring())
        assert caught.value.code == "PROPOSAL"
    assert sorted(path for path in site.path.rglob("*")) == before
    desk = ApprovalRequests(site.repository())
    assert name not in [case.proposal.id for case in desk.cases()]
    assert [line.partition(":")[0] for line in desk.unusable()] == ([name] if found.state == "refused" else [])


@pytest.mark.parametrize("honest", [approving, release, roles, policy])
def test_what_its_kind_holds_is_signed(site: Site, honest: t.Callable[[Site], Proposal]) -> None:
    proposals = Proposals(site.repository())
    name = honest(site).id
    assert proposals.sign(name, site.ring()).state == "ready"
    assert proposals.apply(name, site.ring()).changed


def test_a_lower_threshold_of_another_role_is_told(site: Site) -> None:
    """A change of roles may hold it, so whoever signs sees it."""
    forge = Forge(site, roles(site))
    _hidden_root(forge)
    found = forge.proposals.get(forge.write())
    new = set(found.after) - set(found.before)
    assert "root gives targets to 1 of 2 keys" in new
    assert {role for role, *_more in [line.split(":")[0].split() for line in new]} >= {"root", "targets"}


def test_every_byte_that_is_signed_is_told(site: Site) -> None:
    """For each value in the metadata of each role: another one gives other lines."""
    from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.metadata import changes

    state = site.repository().load()
    every: dict[str, Metadata[t.Any]] = {"root": state.roots[-1], "targets": state.targets, **state.channels}
    for role, metadata in every.items():
        plain = changes.content_lines(role, metadata.signed_bytes)
        value = json.loads(metadata.signed_bytes, strict=False)
        for place, key in [*places(value)]:
            if place is value and key == "_type":
                continue  # the kind of metadata follows from the role
            old = place[key]
            if isinstance(old, list):
                place[key] = [*old, "x"]
            else:
                place[key] = {**old, "x-more": 1} if isinstance(old, dict) else {"x": [old]}
            try:
                told = changes.content_lines(role, json.dumps(value).encode())
            except (TypeError, KeyError, AttributeError):
                told = []  # no such metadata can be read
            assert told != plain, (role, key)
            place[key] = old


def places(value: t.Any) -> t.Iterator[tuple[t.Any, t.Any]]:
    """Every container in ``value`` with each of its keys."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from places(value[key])


# -- the time for which it holds --------------------------------------------------------------------------------


def test_a_proposal_that_holds_longer_is_another_one(site: Site) -> None:
    """Somebody who knows the release lays one there that holds until the next but one generation."""
    honest = release(site)
    forge = Forge(site, honest)
    _far("stable")(forge)
    forge.more["expires"] = "2126-01-01T00:00:00Z"
    forge.write()
    change = site.repository().publish("stable", site.document("2.0", 2), site.ring(), propose=Request("anna"))
    assert (change.changed, change.proposal) == (True, None)
    left = site.repository().load().channels["stable"].signed.expires - datetime.datetime.now(datetime.UTC)
    assert left < datetime.timedelta(days=91)


def test_a_period_that_is_corrected_is_proposed_anew(site: Site) -> None:
    three = {"root": site.holders("anna", "ben", "carla", threshold=2)}
    found = []
    for days in (30, 2):
        config = site.config(roles=three, channels={}, periods={"timestamp": days})
        change = site.repository().ensure(config, site.ring("anna"), propose=Request("anna"))
        assert change.changed and change.proposal is not None
        found.append(dict(change.proposal.expiry_days or {})["timestamp"])
    assert found == [30, 2]


# -- damaged ones -----------------------------------------------------------------------------------------------


def _edit(path: pathlib.Path, **changes: t.Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "damage",
    [
        lambda place: shutil.rmtree(place / "targets"),
        lambda place: shutil.rmtree(place / "metadata"),
        lambda place: (place / "proposal.json").unlink(),
        lambda place: (place / "proposal.json").write_text("{"),
        lambda place: _edit(place / "proposal.json", expires=5),
        lambda place: (place / "signatures" / "x.json").write_text("[" * 100_000),
        lambda place: (place / "signatures" / "sub.json").mkdir(),
        lambda place: (place / "signatures" / "x.json").symlink_to("/dev/zero"),
        lambda place: _replace(place, b'"version":', b'"version":1,"version":'),
        lambda place: _replace(place, b'"signatures":[]', b'"signatures":[],"more":1'),
        lambda place: _replace(place, b'"signed":{', b'"signed":{"deep":' + b"[" * 9999 + b"]" * 9999 + b","),
        lambda place: (place / "metadata" / "2.pilot.json").write_bytes(b"x" * 5_000_001),
        lambda place: _replace(place, b'"version":', b'"version":NaN,"v":'),
    ],
    ids=range(13),
)
def test_a_damaged_proposal_is_told_and_harms_no_other(site: Site, damage: t.Callable[[pathlib.Path], None]) -> None:
    bad, good = request(site, planned(site, HOSTS)), request(site)
    place = site.path / "proposals" / bad.proposal.id
    damage(place)
    desk = ApprovalRequests(site.repository())
    (case,) = desk.cases()
    assert case.proposal.id == good.proposal.id
    (line,) = desk.unusable()
    assert line.startswith(bad.proposal.id)
    assert desk.sign(case, site.ring())[0].proposal.state == "applied"
    with pytest.raises(ControlError, match=bad.proposal.id):
        desk.cases([bad.proposal.id])


def _replace(place: pathlib.Path, old: bytes, new: bytes) -> None:
    (path,) = (place / "metadata").iterdir()
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new, 1))


@pytest.mark.parametrize("details", ["x", None, {"about": "approval", "role": "approvals-x"}, {"about": "policy"}])
def test_what_nobody_signed_decides_nothing(site: Site, details: t.Any) -> None:
    """Who may write there can write any description; what it is about comes from what would be signed."""
    made = request(site)
    _edit(site.path / "proposals" / made.proposal.id / "proposal.json", details=details)
    desk = ApprovalRequests(site.repository())
    if isinstance(details, dict):
        (case,) = desk.cases(rollout=made.rollout)
        assert case.lines == made.lines
    else:
        assert desk.cases() == [] and len(desk.unusable()) == 1


def test_a_title_is_one_line(site: Site) -> None:
    change = site.repository().publish(
        "stable", site.document("2.0", 2), site.ring("anna"), propose=Request("x", "a\nstable lists nothing")
    )
    assert "\n" not in str(change.proposal)


# -- several roles ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [["pilot", "stable"], ["stable", "pilot"]])
def test_a_renewal_of_several_roles_is_read_back_as_it_was_made(empty: Site, order: list[str]) -> None:
    two = empty.holders("anna", "ben", threshold=2)
    empty.make(channels=dict.fromkeys(order, two))
    late = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=80)
    empty.repository(late).refresh(empty.ring("snapshot", "timestamp"))
    change = empty.repository(late).refresh(empty.ring("anna", "snapshot", "timestamp"), propose=Request("anna"))
    assert change.proposal is not None
    proposals = Proposals(empty.repository(late))
    assert [(one.id, one.state) for one in proposals.list()] == [(change.proposal.id, "open")]
    assert proposals.sign(change.proposal.id, empty.ring("ben")).state == "ready"


def test_a_proposal_that_was_called_by_its_other_role_is_read(empty: Site) -> None:
    """Versions before called it by the role that was made first."""
    two = empty.holders("anna", "ben", threshold=2)
    empty.make(channels={"stable": two, "pilot": two})
    late = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=80)
    change = empty.repository(late).refresh(empty.ring("anna", "snapshot", "timestamp"), propose=Request("anna"))
    assert change.proposal is not None and change.proposal.id.startswith("pilot-")
    older = "stable" + change.proposal.id.removeprefix("pilot")
    (empty.path / "proposals" / change.proposal.id).rename(empty.path / "proposals" / older)
    assert Proposals(empty.repository(late)).get(older).state == "open"
