# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signing in steps: what waits, who may sign it, when it takes effect, and what is refused."""

from __future__ import annotations

import datetime
import json
import pathlib
import shutil
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.documents import approval
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base import files
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import KeyFileError, RepositoryError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.plan import Plan, digest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.keys import ring
from ansible_collections.fleet.ota.plugins.plugin_utils._control.keys.ring import Ring
from ansible_collections.fleet.ota.plugins.plugin_utils._control.policy import listing
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.metadata import store
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.proposals.proposal import Proposal, Request
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.proposals.proposals import Proposals
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.repository import Change
from cryptography.hazmat.primitives import serialization
from securesystemslib.signer import CryptoSigner, Signature
from tuf.api.metadata import Metadata

from .test_repository import Crash, tree

if t.TYPE_CHECKING:
    from ..conftest import Site

ONLINE = ("snapshot", "timestamp")
ASK = Request("anna@example.org")


@pytest.fixture
def team(empty: Site) -> Site:
    """Two of three people sign stable and the approvals; anna and ben hold root and targets too."""
    both = empty.holders("anna", "ben", threshold=2)
    empty.make(
        roles={**empty.config().roles, "root": both, "targets": both},
        channels={"stable": empty.holders("anna", "ben", "carla", threshold=2), "pilot": empty.holders("pilot")},
        approvals={"approvals": empty.holders("dora", "emil", threshold=2)},
    )
    return empty


def publish(site: Site, *names: str, version: str = "1.0", counter: int = 1, **more: t.Any) -> Change:
    """Publish to stable with the keys of these people."""
    document = site.document(version, counter)
    return site.repository().publish("stable", document, site.ring(*names), **{"propose": ASK, **more})


def asked(remark: str = "") -> bytes:
    """The approval of a small plan, as it is signed."""
    release = {"name": "gateway", "version": "1.0", "counter": 1, "digest": "0" * 64, "channel": "stable"}
    document: dict[str, t.Any] = {"format": 1, "rollout": "r1", "release": release, "waves": []}
    document["digest"] = digest(document)
    requested = {"by": "anna", "time": "2026-01-01T00:00:00Z", **({"remark": remark} if remark else {})}
    value = {"format": 1, "plan": document, "requested": requested, "expires": "2126-01-01T00:00:00Z"}
    return approval.canonical(value)


APPROVAL = listing.path_of("approvals", Plan.of(json.loads(asked())["plan"]))


def approve(site: Site, *names: str, plan: bytes = b"", **more: t.Any) -> Change:
    """Propose a plan with the keys of these people."""
    plan = plan or asked()
    arguments = {"custom": listing.custom(plan), "title": "", "details": {}, "requested_by": "anna", **more}
    return site.repository().propose_document("approvals", APPROVAL, plan, ring=site.ring(*names), **arguments)


def waiting(change: Change) -> str:
    """The id of the proposal that ``change`` made."""
    assert change.proposal is not None
    return change.proposal.id


def proposals(site: Site, now: datetime.datetime | None = None) -> Proposals:
    return Proposals(site.repository(now))


def served(site: Site) -> dict[str, bytes]:
    """What clients can get, without payloads."""
    return {
        name: content
        for name, content in tree(site.path).items()
        if not name.startswith("proposals") and "payloads" not in name
    }


# -- the way of a release ---------------------------------------------------------------------------------------


def test_a_release_takes_effect_when_enough_people_signed(team: Site) -> None:
    before = served(team)
    change = publish(team, "anna")
    assert change.changed
    assert served(team) == before
    waits = proposals(team).get(waiting(change))
    assert (waits.state, waits.requested_by, waits.title) == ("open", "anna@example.org", "gateway 1.0 in stable")
    (need,) = waits.missing()
    assert (need.role, need.have, need.threshold) == ("stable", 1, 2)
    assert [name.split()[0] for name in need.missing] == ["ben", "carla"]
    with pytest.raises(RepositoryError, match=r"stable has 1 of 2, and ben .*carla") as caught:
        proposals(team).apply(waits.id, team.ring(*ONLINE))
    assert caught.value.code == "THRESHOLD"
    signed = proposals(team).sign(waits.id, team.ring("ben"), "looks good")
    assert (signed.state, signed.missing()) == ("ready", [])
    assert [(remark.by.split()[0], remark.text) for remark in signed.remarks] == [("anna", ""), ("ben", "looks good")]
    assert served(team) == before
    applied = proposals(team).apply(waits.id, team.ring(*ONLINE))
    assert applied.changed
    assert applied.release is not None
    assert (applied.release.channel, applied.release.version) == ("stable", "1.0")
    assert team.fetch().version == "1.0"
    assert proposals(team).get(waits.id).state == "applied"
    assert not proposals(team).apply(waits.id, team.ring(*ONLINE)).changed


def test_with_all_keys_at_hand_it_is_one_step_as_before(team: Site) -> None:
    change = publish(team, "anna", "ben", *ONLINE)
    assert (change.changed, change.proposal) == (True, None)
    assert not (team.path / "proposals").exists()
    assert team.fetch().version == "1.0"


def test_the_caller_may_want_a_proposal_in_any_case(team: Site) -> None:
    change = publish(team, "anna", "ben", *ONLINE, propose=Request("anna", apply=False))
    assert change.proposal is not None
    assert change.proposal.state == "ready"


def test_without_proposing_a_lack_of_signatures_is_refused_as_before(team: Site) -> None:
    with pytest.raises(RepositoryError, match="stable needs 2 of 3 signatures and 1 can be made"):
        publish(team, "anna", *ONLINE, propose=None)
    assert not (team.path / "proposals").exists()


def test_publishing_the_same_again_signs_what_waits(team: Site) -> None:
    first = publish(team, "anna")
    again = publish(team, "anna")
    assert (again.changed, waiting(again)) == (False, waiting(first))
    third = publish(team, "carla")
    assert (third.changed, waiting(third)) == (True, waiting(first))
    assert third.proposal is not None
    assert third.proposal.state == "ready"
    assert len(proposals(team).list()) == 1


def test_the_last_signer_with_the_online_keys_puts_it_in_force(team: Site) -> None:
    publish(team, "anna")
    before = tree(team.path)
    dry = publish(team, "ben", *ONLINE, check=True)
    assert (dry.changed, dry.proposal, tree(team.path)) == (True, None, before)
    change = publish(team, "ben", *ONLINE)
    assert (change.changed, change.proposal) == (True, None)
    assert team.fetch().version == "1.0"


def test_whoever_has_all_keys_puts_in_force_what_waits_and_not_another_version_of_it(team: Site) -> None:
    name = waiting(publish(team, "anna"))
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    repository = team.repository(later)
    change = repository.publish("stable", team.document(), team.ring("anna", "ben", *ONLINE), propose=ASK)
    assert (change.changed, change.proposal) == (True, None)
    assert [(entry.id, entry.state) for entry in proposals(team).list()] == [(name, "applied")]


def test_check_mode_changes_nothing(team: Site) -> None:
    before = tree(team.path)
    change = publish(team, "anna", check=True)
    assert change.changed
    assert tree(team.path) == before
    name = waiting(publish(team, "anna"))
    before = tree(team.path)
    assert proposals(team).sign(name, team.ring("ben"), check=True).state == "ready"
    assert proposals(team).deny(name, "ben", check=True).state == "denied"
    assert tree(team.path) == before
    proposals(team).sign(name, team.ring("ben"))
    before = tree(team.path)
    assert proposals(team).apply(name, team.ring(*ONLINE), check=True).changed
    assert tree(team.path) == before


def test_a_promotion_can_wait_too(team: Site) -> None:
    team.publish(channel="pilot")
    change = team.repository().promote("gateway", "1.0", "stable", team.ring("anna"), propose=ASK)
    proposals(team).sign(waiting(change), team.ring("carla"))
    proposals(team).apply(waiting(change), team.ring(*ONLINE))
    assert team.fetch().version == "1.0"


# -- signatures -------------------------------------------------------------------------------------------------


def test_a_second_signature_by_the_same_key_changes_nothing(team: Site) -> None:
    name = waiting(publish(team, "anna"))
    before = tree(team.path)
    assert proposals(team).sign(name, team.ring("anna"), "again").state == "open"
    assert tree(team.path) == before


@pytest.mark.parametrize("who", ["pilot", "dora", "snapshot"])
def test_a_key_of_another_role_may_not_sign(team: Site, who: str) -> None:
    name = waiting(publish(team, "anna"))
    with pytest.raises(RepositoryError, match="none of the keys at hand may sign") as caught:
        proposals(team).sign(name, team.ring(who))
    assert caught.value.code == "THRESHOLD"


def test_people_on_copies_of_the_repository_do_not_get_in_each_others_way(team: Site, tmp_path: pathlib.Path) -> None:
    name = waiting(publish(team, "anna"))
    copies = []
    for who in ("ben", "carla"):
        copy = type(team)(tmp_path / who)
        shutil.copytree(team.path, copy.path)
        proposals(copy).sign(name, team.ring(who))
        copies.append(copy)
    for copy in copies:
        shutil.copytree(copy.path / "proposals", team.path / "proposals", dirs_exist_ok=True)
    assert len(proposals(team).get(name).signatures()) == 3
    assert proposals(team).apply(name, team.ring(*ONLINE)).changed
    assert len(team.repository().store.load().channels["stable"].signatures) == 3


def _signature(site: Site, name: str, who: str) -> pathlib.Path:
    keyid = ring.public(site.key(who)).keyid
    return site.path / "proposals" / name / "signatures" / f"stable.{keyid}.json"


def test_a_wrong_signature_is_named_and_nothing_is_added_to_it(team: Site) -> None:
    name = waiting(publish(team, "anna"))
    path = _signature(team, name, "anna")
    entry = json.loads(path.read_text())
    path.write_text(json.dumps({**entry, "sig": entry["sig"][:-4] + "0000"}))
    assert proposals(team).get(name).missing()[0].have == 0
    for act in (proposals(team).sign, proposals(team).apply):
        with pytest.raises(RepositoryError, match=path.name) as caught:
            act(name, team.ring("ben", *ONLINE))
        assert caught.value.code in ("SIGNATURE", "THRESHOLD")
    path.unlink()
    proposals(team).sign(name, team.ring("ben"))
    assert proposals(team).sign(name, team.ring("anna")).state == "ready"


def test_a_signature_for_another_change_does_not_count(team: Site) -> None:
    one, two = waiting(publish(team, "anna")), waiting(publish(team, "ben", version="2.0", counter=2))
    shutil.copy(_signature(team, two, "ben"), _signature(team, one, "ben"))
    assert proposals(team).get(one).state == "open"
    with pytest.raises(RepositoryError, match="not a signature over this metadata"):
        proposals(team).sign(one, team.ring("carla"))


def test_a_revoked_keys_signature_no_longer_counts(team: Site) -> None:
    publish(team, "anna", "ben", *ONLINE)
    name = waiting(publish(team, "anna", "carla", version="2.0", counter=2))
    assert proposals(team).get(name).state == "ready"
    team.make(roles={}, channels={"stable": team.holders("anna", "ben", threshold=2)})
    waits = proposals(team).get(name)
    assert (waits.state, waits.missing()[0].have) == ("open", 1)
    with pytest.raises(RepositoryError, match="none of the keys at hand may sign"):
        proposals(team).sign(name, team.ring("carla"))
    proposals(team).sign(name, team.ring("ben"))
    proposals(team).apply(name, team.ring(*ONLINE))
    assert team.fetch().version == "2.0"


def test_what_a_revoked_key_signed_is_signed_anew_in_the_same_step(team: Site) -> None:
    name = waiting(publish(team, "anna", "ben"))
    team.make(roles={}, channels={"stable": team.holders("ben", "carla", threshold=2)})
    stable = team.repository().store.load().channels["stable"]
    assert stable.signed.version == 2
    assert set(stable.signatures) == {ring.public(team.key(who)).keyid for who in ("ben", "carla")}
    assert proposals(team).get(name).state == "stale"


def test_a_signer_whose_signatures_do_not_fit_its_public_half_leaves_none(team: Site) -> None:
    """With a stand-in for a token that answers with a signature over something else."""

    class StandIn(CryptoSigner):
        def sign(self, payload: bytes) -> Signature:
            return super().sign(payload + b" ")

    name = waiting(publish(team, "anna"))
    private = serialization.load_pem_private_key(team.key("ben").read_bytes(), None)
    signer = StandIn(private)
    before = tree(team.path)
    with pytest.raises(KeyFileError, match="does not fit its public half"):
        proposals(team).sign(name, Ring({signer.public_key.keyid: signer}))
    assert tree(team.path) == before


def test_a_server_whose_clock_is_behind_puts_nothing_in_force(team: Site) -> None:
    """It would make a timestamp that is over already; that what it is to sign ends too late gives it away."""
    name = waiting(publish(team, "anna", "ben"))
    before = served(team)
    slow = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=30)
    with pytest.raises(RepositoryError, match="later than after the 90 days"):
        proposals(team, slow).apply(name, team.ring(*ONLINE))
    assert served(team) == before
    assert proposals(team).get(name).state == "ready"


# -- how it ends otherwise --------------------------------------------------------------------------------------


def test_what_was_denied_stays_denied(team: Site) -> None:
    name = waiting(publish(team, "anna", "ben"))
    denied = proposals(team).deny(name, "carla", "not before the holidays")
    assert denied.state == "denied"
    assert "carla" in denied.reason
    assert "holidays" in denied.reason
    for act in (proposals(team).sign, proposals(team).apply):
        with pytest.raises(RepositoryError, match="is denied") as caught:
            act(name, team.ring("carla", *ONLINE))
        assert caught.value.code == "PROPOSAL"
    assert proposals(team).deny(name, "ben").reason == denied.reason
    again = publish(team, "anna")
    assert (waiting(again) == name) == (not again.changed)
    assert proposals(team).get(name).state == "denied"


def test_what_was_withdrawn_cannot_be_signed(team: Site) -> None:
    name = waiting(publish(team, "anna"))
    assert proposals(team).withdraw(name, "anna", "typo").state == "withdrawn"
    with pytest.raises(RepositoryError, match="is withdrawn"):
        proposals(team).sign(name, team.ring("ben"))


def test_what_is_in_force_cannot_be_denied(team: Site) -> None:
    name = waiting(publish(team, "anna", "ben"))
    proposals(team).apply(name, team.ring(*ONLINE))
    with pytest.raises(RepositoryError, match="is applied already"):
        proposals(team).deny(name, "carla")


def test_it_expires(team: Site) -> None:
    now = datetime.datetime.now(datetime.UTC)
    soon = Request("anna", expires=now + datetime.timedelta(hours=1))
    name = waiting(publish(team, "anna", propose=soon))
    after = now + datetime.timedelta(hours=2)
    assert proposals(team, after).get(name).state == "expired"
    with pytest.raises(RepositoryError, match="is expired") as caught:
        proposals(team, after).sign(name, team.ring("ben"))
    assert caught.value.code == "EXPIRED"


def test_it_never_outlives_its_metadata(team: Site) -> None:
    far = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=400)
    name = waiting(publish(team, "anna", "ben", propose=Request("anna", expires=far)))
    assert proposals(team, far - datetime.timedelta(days=1)).get(name).state == "expired"


def test_two_changes_of_one_role_cannot_both_take_effect(team: Site) -> None:
    one = waiting(publish(team, "anna", "ben"))
    two = waiting(publish(team, "anna", "ben", version="2.0", counter=2))
    proposals(team).apply(one, team.ring(*ONLINE))
    stale = proposals(team).get(two)
    assert (stale.state, stale.reason) == ("stale", "stable is at version 2 since; propose the change again")
    with pytest.raises(RepositoryError, match="is stale"):
        proposals(team).apply(two, team.ring(*ONLINE))
    publish(team, "ben", "carla", *ONLINE, version="2.0", counter=2)
    assert team.fetch().version == "2.0"


def test_it_stays_applied_when_the_role_moves_on(team: Site) -> None:
    name = waiting(publish(team, "anna", "ben"))
    proposals(team).apply(name, team.ring(*ONLINE))
    (team.path / "proposals" / name / "closed.json").unlink()  # as if cut short right before that
    publish(team, "anna", "ben", *ONLINE, version="2.0", counter=2)
    assert proposals(team).get(name).state == "applied"


# -- what somebody else put there -------------------------------------------------------------------------------


def _change_metadata(site: Site, name: str, change: t.Callable[[t.Any], None]) -> None:
    (path,) = (site.path / "proposals" / name / "metadata").glob("*.stable.json")
    metadata = Metadata.from_bytes(path.read_bytes())
    change(metadata.signed)
    path.write_bytes(metadata.to_bytes())


def test_an_id_stands_for_the_bytes_that_are_signed(team: Site) -> None:
    name = waiting(publish(team, "anna"))
    _change_metadata(team, name, lambda signed: signed.targets.clear())
    with pytest.raises(RepositoryError, match="not what its id stands for"):
        proposals(team).sign(name, team.ring("ben"))
    (listed,) = proposals(team).list()
    assert (listed.state, listed.id) == ("damaged", name)


def test_what_could_not_be_read_back_is_not_written(team: Site) -> None:
    for more in ({"title": "a\x1b[2J"}, {"requested_by": "a\tb"}, {"details": {"when": datetime.datetime.now()}}):
        with pytest.raises(RepositoryError, match=r"no text for people|cannot be kept as JSON") as caught:
            approve(team, "dora", **more)
        assert caught.value.code == "PROPOSAL"
    name = waiting(approve(team, "dora"))
    with pytest.raises(RepositoryError, match="no text for people"):
        proposals(team).sign(name, team.ring("emil"), "bell \a")
    with pytest.raises(RepositoryError, match="no text for people"):
        proposals(team).deny(name, "emil", "x" * 10_001)
    assert proposals(team).get(name).state == "open"
    assert proposals(team).sign(name, team.ring("emil"), None).state == "ready"


def test_an_id_stands_for_the_periods_too(empty: Site) -> None:
    """They are nothing that people sign, but nobody else may choose them."""
    both = empty.holders("anna", "ben", threshold=2)
    config = empty.config(roles={**empty.config().roles, "root": both}, periods={"timestamp": 2})
    name = waiting(empty.repository().ensure(config, empty.ring("anna"), propose=ASK))
    assert "timestamp expires after 2 days" in proposals(empty).get(name).after
    path = empty.path / "proposals" / name / "proposal.json"
    described = json.loads(path.read_text())
    described["expiry_days"]["timestamp"] = 3650
    path.write_text(json.dumps(described))
    with pytest.raises(RepositoryError, match="not what its id stands for"):
        proposals(empty).sign(name, empty.ring("ben"))


def test_files_that_nothing_lists_are_refused(team: Site) -> None:
    name = waiting(publish(team, "anna", "ben"))
    path = team.path / "proposals" / name / "targets" / "payloads" / "0"
    path.parent.mkdir()
    path.write_bytes(b"x")
    for act in (proposals(team).sign, proposals(team).apply):
        with pytest.raises(RepositoryError, match="targets/payloads/0") as caught:
            act(name, team.ring("carla", *ONLINE))
        assert caught.value.code == "UNLISTED_FILE"
    assert not (team.path / "targets" / "payloads" / "0").exists()


def test_nobody_signs_for_content_that_is_not_there(team: Site) -> None:
    name = waiting(publish(team, "anna"))
    (document,) = (team.path / "proposals" / name / "targets").rglob("*.json")
    for content in (b"{}", None):
        document.write_bytes(content) if content else document.unlink()
        with pytest.raises(RepositoryError, match="missing or not what would be signed") as caught:
            proposals(team).sign(name, team.ring("ben"))
        assert caught.value.code == "HASH_MISMATCH"


@pytest.mark.parametrize(
    "damage",
    [
        {"format": 2},
        {"title": "two\x1b[2Jwords"},
        {"title": 3},
        {"details": 3},
        {"expires": "tomorrow"},
        {"expiry_days": {"root": "x"}},
        {"expiry_days": {"nobody": 1}},
    ],
)
def test_a_damaged_proposal_is_refused(team: Site, damage: dict[str, t.Any]) -> None:
    name = waiting(publish(team, "anna"))
    path = team.path / "proposals" / name / "proposal.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **damage}))
    with pytest.raises(RepositoryError, match="is damaged"):
        proposals(team).get(name)


@pytest.mark.parametrize("name", ["../metadata", "", "stable-1", "stable-1-" + "0" * 16])
def test_an_unknown_id_is_refused(team: Site, name: str) -> None:
    for act in (proposals(team).get, proposals(team).withdraw):
        with pytest.raises(RepositoryError, match=r"is not the id|there is no proposal"):
            act(name)


def test_nothing_is_signed_on_top_of_a_repository_that_somebody_changed(team: Site) -> None:
    name = waiting(publish(team, "anna"))
    path = team.path / "metadata" / "1.targets.json"
    metadata = Metadata.from_bytes(path.read_bytes())
    metadata.signed.unrecognized_fields["x-evil"] = 1
    path.write_bytes(metadata.to_bytes())
    with pytest.raises(RepositoryError, match="cannot be trusted"):
        proposals(team).sign(name, team.ring("ben"))


def test_what_is_shown_comes_from_the_metadata_and_not_from_the_title(team: Site) -> None:
    publish(team, "anna", "ben", *ONLINE)
    waits = proposals(team).get(waiting(publish(team, "anna", version="2.0", counter=2)))
    new = "\n".join(set(waits.after) - set(waits.before))
    assert "stable lists stable/gateway/2.0.json" in new
    assert "counter=2" in new
    assert "1.0.json" not in new
    assert 'stable/gateway/2.0.json:  "version": "2.0"' in new  # the release itself, too


# -- approvals and policy ---------------------------------------------------------------------------------------


def test_a_plan_is_approved_by_its_own_people(team: Site) -> None:
    name = waiting(approve(team, "dora", details={"devices": 12}))
    waits = proposals(team).get(name)
    assert (waits.kind, dict(waits.details)) == ("document", {"devices": 12})
    with pytest.raises(RepositoryError, match="none of the keys at hand"):
        proposals(team).sign(name, team.ring("anna", "ben", "carla"))
    proposals(team).sign(name, team.ring("emil"))
    proposals(team).apply(name, team.ring(*ONLINE))
    state = team.repository().store.load()
    entry = state.channels["approvals"].signed.targets[APPROVAL]
    assert (entry.length, entry.custom) == (len(asked()), listing.custom(asked()))
    left = state.channels["approvals"].signed.expires - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(days=29) < left <= datetime.timedelta(days=30)
    assert not approve(team, "dora").changed
    assert approve(team, "dora", "emil", *ONLINE, plan=asked("again")).changed


def test_approvals_are_no_channel(team: Site) -> None:
    approve(team, "dora", "emil", *ONLINE, custom={"name": "r1", "version": "plan", "counter": 1})
    assert team.repository().releases() == []
    for act in (lambda: team.repository().releases("approvals"), lambda: team.publish(channel="approvals")):
        with pytest.raises(RepositoryError, match="no channel 'approvals', only pilot, stable"):
            act()


def test_documents_can_go_again(team: Site) -> None:
    approve(team, "dora", "emil", *ONLINE)
    team.repository().propose_document(
        "approvals",
        "approvals/r2/plan.json",
        b"{}",
        custom={},
        ring=team.ring("dora", "emil", *ONLINE),
        title="",
        details={},
        requested_by="anna",
        remove=[APPROVAL],
    )
    assert list(team.repository().store.load().channels["approvals"].signed.targets) == ["approvals/r2/plan.json"]


def test_the_policy_is_a_target_of_the_top_level_role(team: Site) -> None:
    change = team.repository().propose_document(
        "targets",
        "policy.json",
        b'{"format": 1, "rules": [{"name": "all", "approvals": {}}]}',
        custom={},
        ring=team.ring("anna"),
        title="policy",
        details={},
        requested_by="anna",
    )
    proposals(team).sign(waiting(change), team.ring("ben"))
    proposals(team).apply(waiting(change), team.ring(*ONLINE))
    assert "policy.json" in team.repository().store.load().targets.signed.targets
    publish(team, "anna", "ben", *ONLINE)
    assert team.fetch().version == "1.0"


@pytest.mark.parametrize(
    ("role", "target"),
    [
        ("approvals", "plan.json"),
        ("approvals", "stable/r1/plan.json"),
        ("approvals", "approvals/../x"),
        ("approvals", "approvals/a/b/c"),
        ("targets", "a/policy.json"),
        ("targets", ".hidden"),
        ("stable", "stable/a/b.json"),
        ("root", "policy.json"),
        ("approvals-none", "approvals-none/a/b"),
    ],
)
def test_a_document_cannot_lie_anywhere(team: Site, role: str, target: str) -> None:
    with pytest.raises(RepositoryError):
        team.repository().propose_document(
            role, target, b"{}", custom={}, ring=team.ring(), title="", details={}, requested_by="anna"
        )


@pytest.mark.parametrize("name", ["approval", "approvals-", "approvals.x", "stable"])
def test_an_approvals_role_is_called_so(empty: Site, name: str) -> None:
    with pytest.raises(RepositoryError, match="cannot name an approvals role"):
        empty.make(approvals={name: empty.holders("dora")})
    with pytest.raises(RepositoryError, match="cannot name a channel"):
        empty.make(channels={"approvals-x": empty.holders("dora")})


# -- roles and the repository itself ----------------------------------------------------------------------------


def test_a_change_of_roles_waits_for_everybody_whom_it_concerns(team: Site) -> None:
    """Root and targets go from anna and ben to ben and carla: the old root's people sign the new root too."""
    publish(team, "anna", "ben", *ONLINE)
    team.fetch()
    fresh = team.holders("ben", "carla", threshold=2)
    roles = {**team.config().roles, "root": fresh, "targets": fresh}
    config = team.config(roles=roles, channels={})
    change = team.repository().ensure(config, team.ring("anna"), propose=ASK)
    waits = proposals(team).get(waiting(change))
    needs = {(need.role, need.previous): (need.have, need.threshold) for need in waits.needs}
    assert needs == {("root", False): (0, 2), ("root", True): (1, 2), ("targets", False): (0, 2)}
    assert proposals(team).sign(waits.id, team.ring("carla")).state == "open"
    assert proposals(team).sign(waits.id, team.ring("ben")).state == "ready"
    proposals(team).apply(waits.id, team.ring(*ONLINE))
    bundle = team.fetch()
    assert (bundle.version, len(bundle.root)) == ("1.0", 1)
    team.make(roles=roles, channels={})


def test_a_repository_is_made_in_steps(empty: Site) -> None:
    both = empty.holders("anna", "ben", threshold=2)
    online = {name: empty.holders("online") for name in ONLINE}
    config = empty.config(
        roles={"root": both, "targets": both, **online},
        channels={"stable": empty.holders("ben")},
        periods={"timestamp": 2},
    )
    change = empty.repository().ensure(config, empty.ring("anna"), propose=ASK)
    assert (change.changed, empty.repository().store.exists) == (True, False)
    name = waiting(change)
    assert name.startswith("root-1-")
    with pytest.raises(RepositoryError, match="needs more signatures"):
        proposals(empty).apply(name, empty.ring("online"))
    assert proposals(empty).sign(name, empty.ring("ben")).state == "ready"
    proposals(empty).apply(name, empty.ring("online"))
    assert empty.repository().store.periods()["timestamp"] == 2
    assert not empty.repository().ensure(config, empty.ring("anna"), propose=ASK).changed
    empty.repository().publish("stable", empty.document(), empty.ring("ben", "online"))
    assert empty.fetch().version == "1.0"


def test_a_change_that_breaks_another_role_carries_that_role_along(team: Site) -> None:
    """Raising stable's threshold voids its signatures: they are collected in the same proposal."""
    publish(team, "anna", "ben", *ONLINE)
    every = team.holders("anna", "ben", "carla", threshold=3)
    config = team.config(roles={}, channels={"stable": every})
    change = team.repository().ensure(config, team.ring("anna"), propose=ASK)
    waits = proposals(team).get(waiting(change))
    assert list(waits.roles) == ["targets", "stable"]
    publish(team, "anna", "ben", *ONLINE, version="2.0", counter=2)
    stale = proposals(team).get(waits.id)
    assert (stale.state, "stable is at version 3" in stale.reason) == ("stale", True)


def test_what_expires_is_renewed_in_steps(team: Site) -> None:
    """Root has a few weeks left: anna proposes, ben signs; the scheduled job goes on by itself meanwhile."""
    publish(team, "anna", "ben", *ONLINE)
    late = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=330)
    alone = team.repository(late).refresh(team.ring(*ONLINE))
    assert [line.split()[0] for line in alone.warnings] == ["root", "targets", "approvals", "pilot", "stable"]
    change = team.repository(late).refresh(team.ring("anna"), propose=ASK)
    name = waiting(change)
    assert team.repository(late).refresh(team.ring("anna"), propose=ASK).changed is False
    assert list(proposals(team, late).get(name).roles) == ["root", "targets", "stable"]
    assert [line.split()[0] for line in change.warnings] == ["approvals", "pilot"]
    proposals(team, late).sign(name, team.ring("ben"))
    proposals(team, late).apply(name, team.ring(*ONLINE))
    alone = team.repository(late).refresh(team.ring(*ONLINE))
    assert [line.split()[0] for line in alone.warnings] == ["approvals", "pilot"]
    assert team.repository().store.load().root.version == 2


# -- crashes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(8))
def test_proposing_and_applying_cut_short_is_just_done_again(
    team: Site, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    real = files.write
    count = 0

    def write(path: pathlib.Path, content: bytes, mode: int = 0o644) -> None:
        nonlocal count
        count += 1
        if count > number:
            raise Crash
        real(path, content, mode)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write", write)
        try:
            name = waiting(publish(team, "anna", "ben"))
            proposals(team).apply(name, team.ring(*ONLINE))
        except Crash:
            pass
    for entry in proposals(team).list():
        assert entry.state in ("open", "ready", "applied")
    publish(team, "anna", "ben", *ONLINE)
    assert team.fetch().version == "1.0"
    states: list[str] = [entry.state for entry in proposals(team).list()]
    assert states in ([], ["applied"]), states


def test_reading_tells_what_the_files_say(team: Site) -> None:
    name = waiting(publish(team, "anna"))
    entry: Proposal = proposals(team).get(name)
    told = json.loads(json.dumps(entry.as_dict()))
    assert (told["id"], told["state"], told["roles"][0]["have"]) == (name, "open", 1)
    assert name in str(entry)
    assert store.is_approvals("approvals-plant1")
