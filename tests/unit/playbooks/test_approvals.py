# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Approvals by playbooks, from the policy to the devices: who may begin a rollout, and what a device takes."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.keys import ring as keys
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.metadata.edit import Holders
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.repository import Config, Repository

from .conftest import Device, Fleet, Publisher, Ran

pytestmark = pytest.mark.one_core

PEOPLE = ("anna", "ben", "carol")
RULES = [{"name": "all", "approvals": {"approvals": 2}}]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    """A publisher whose repository has three people who approve; their keys are not where the publisher's are."""
    publisher = Publisher(tmp_path_factory.mktemp("office"))
    people = [keys.generate(publisher.folder / "people" / f"{name}.pem") for name in PEOPLE]
    config = Config({}, {}, {}, {"approvals": Holders(tuple(people), 2)})
    ring = keys.Ring.load([publisher.folder / "keys", publisher.folder / "people"])
    Repository(publisher.repository).ensure(config, ring)
    return publisher


class Team:
    """A fleet with gateway 1, and who publishes, asks, signs and rolls out, each with the keys of their own."""

    def __init__(self, office: Publisher, folder: pathlib.Path) -> None:
        self.office = office
        template = Device(folder / "template")
        template.root.mkdir()
        template.bring_to(office.bundle(1), office.trust_root)
        self.fleet = Fleet(office, template, folder, "d1", "d2")
        for name, device in self.fleet.devices.items():
            identity = device.root / "var/lib/fleet-ota/identity.json"
            identity.write_text(json.dumps({**json.loads(identity.read_text()), "name": name}))

    def local(self, playbook: str, *, people: t.Sequence[str] = (), online: bool = False, **more: t.Any) -> Ran:
        """A playbook on the controller with the keys of some people and, ``online``, those of the publisher."""
        mine = [str(self.office.folder / "people" / f"{name}.pem") for name in people]
        mine += [str(self.office.folder / "keys")] if online else []
        place = {name: self.fleet.common[name] for name in ("fleet_ota_repository", "fleet_ota_trust_root")}
        return self.fleet.play(playbook, **{**place, "fleet_ota_keys": mine, **more})

    def policy(self, rules: t.Any = None) -> Ran:
        path = self.fleet.file("policy.yml", {"format": 1, "rules": rules or RULES})
        return self.local("policy", online=True, fleet_ota_policy=path)

    def sign(self, *people: str, answer: str = "sign", online: bool = False, **more: t.Any) -> Ran:
        return self.local("approve", people=people, online=online, fleet_ota_answer=answer, **more)

    def ask(self, **more: t.Any) -> Ran:
        done = self.fleet.play(
            "plan",
            fleet_ota_request_approval=True,
            fleet_ota_requested_by="anna",
            fleet_ota_remark="ticket 4711",
            **more,
        )
        assert done.rc == 0, done.text
        return done


@pytest.fixture
def team(office: Publisher, tmp_path: pathlib.Path) -> Team:
    # Each test has a repository of its own: what is approved in one is not in the next.
    return Team(Publisher.copy(office, tmp_path / "office"), tmp_path)


def test_nothing_begins_without_approval_and_everything_with_it(team: Team) -> None:
    assert team.policy().rc == 0
    before = team.fleet.trees(state=True)
    refused = team.fleet.play("rollout")
    assert refused.rc != 0
    assert "needs approval: 2 by approvals (no signatures yet); ask with fleet.ota.approve" in refused.text
    assert team.fleet.trees(state=True) == before
    assert team.fleet.records() == []

    planned = team.ask()
    assert "needs approval: 2 by approvals" in planned.text
    shown = team.sign("ben")
    assert shown.rc == 0, shown.text
    for words in ("release gateway 2", "wave-1: d1, d2", "asked for by anna", "ticket 4711"):
        assert words in shown.text, shown.text
    assert team.fleet.play("rollout").rc != 0
    done = team.sign("carol", online=True)
    assert done.rc == 0, done.text
    assert "applied" in done.text

    rolled = team.fleet.play("rollout")
    assert rolled.rc == 0, rolled.text
    assert team.fleet.running() == {"d1": "2", "d2": "2"}
    assert team.fleet.devices["d1"].transaction["approvals"]["approvals"]["by"] == "anna"


def test_a_wave_begins_when_those_who_approve_the_plan_signed_for_it(team: Team) -> None:
    """Without a policy: the fleet needs no approvals, this wave does."""
    team.fleet.common["fleet_ota_waves"] = [
        {"name": "one", "hosts": ["d1"]},
        {"name": "two", "hosts": ["d2"], "approval": True},
    ]
    team.ask(fleet_ota_request_wave="two")
    assert team.sign("ben").rc == 0
    held = team.fleet.play("rollout")
    assert held.rc != 0, held.text
    assert team.fleet.running() == {"d1": "2", "d2": "1"}
    assert team.sign("carol", online=True).rc == 0
    rolled = team.fleet.play("rollout")
    assert rolled.rc == 0, rolled.text
    assert team.fleet.running() == {"d1": "2", "d2": "2"}
    (data,) = (one["data"] for one in team.fleet.records() if one["event"] == "wave.approved")
    assert (data["name"], data["how"]) == ("two", "signed")
    assert "approvals/" in data["by"]


def test_the_device_refuses_what_the_controller_was_talked_into(team: Team) -> None:
    """A controller that skips the plan, or shows less than there is, gets nowhere."""
    assert team.policy().rc == 0
    before = team.fleet.trees()
    bundle = team.office.bundle(2)
    (found,) = team.fleet.tasks(
        {"fleet.ota.update": {"state": "applied", "bundle": _saved(team, bundle.with_approvals([]))}}
    )
    assert (found["outcome"], found["code"]) == ("refused", "APPROVAL")
    hidden = {path: content for path, content in bundle.documents.items() if path != "policy.json"}
    (found,) = team.fleet.tasks(
        {"fleet.ota.update": {"state": "applied", "bundle": _saved(team, _with(bundle, documents=hidden))}}
    )
    assert (found["outcome"], found["code"]) == ("refused", "METADATA")
    assert team.fleet.trees() == before


def test_a_device_that_the_approved_plan_does_not_name_is_left_out(team: Team) -> None:
    assert team.policy().rc == 0
    team.ask(fleet_ota_hosts="d1")
    assert team.sign("ben", "carol", online=True).rc == 0
    refused = team.fleet.play("rollout")
    assert refused.rc != 0
    assert "does not name d2" in refused.text
    rolled = team.fleet.play("rollout", fleet_ota_hosts="d1")
    assert rolled.rc == 0, rolled.text
    assert team.fleet.running() == {"d1": "2", "d2": "1"}
    # the same bytes offered to the other device
    (found,) = team.fleet.tasks(
        {"fleet.ota.update": {"state": "applied", "bundle": _saved(team, team.office.bundle(2))}}, host="d2"
    )
    assert (found["outcome"], found["code"]) == ("refused", "PLAN_MISMATCH")

    # the approval is taken back by those who gave it; what runs already stays
    rollout = team.fleet.records()[0]["rollout"]
    said = {"fleet_ota_rollout_id": rollout, "fleet_ota_remark": "a leak"}
    taken = team.local("revoke", people=("ben", "carol"), online=True, **said)
    assert taken.rc == 0, taken.text
    refused = team.fleet.play("rollout", fleet_ota_hosts="d1")
    assert refused.rc != 0
    assert "needs approval" in refused.text
    assert team.fleet.running() == {"d1": "2", "d2": "1"}


def test_a_denial_needs_a_reason_and_ends_it(team: Team) -> None:
    assert team.policy().rc == 0
    team.ask()
    denied = team.sign("ben", answer="deny", fleet_ota_approver="ben", fleet_ota_remark="not this week")
    assert denied.rc == 0, denied.text
    (proposal,) = (team.office.repository / "proposals").iterdir()
    assert "not this week" in "".join(path.read_text() for path in proposal.rglob("*.json"))
    nothing = team.sign("ben", "carol", online=True)
    assert nothing.rc == 0, nothing.text
    assert team.fleet.play("rollout").rc != 0


def test_another_answer_leaves_it_as_it_is(team: Team) -> None:
    assert team.policy().rc == 0
    team.ask()
    assert team.sign("ben", answer="yes").rc == 0
    assert "0 of 2" in team.sign("ben", answer="look").text


def test_check_mode_signs_and_asks_for_nothing(team: Team) -> None:
    assert team.policy().rc == 0
    done = team.fleet.play("plan", "--check", fleet_ota_request_approval=True)
    assert done.rc == 0, done.text
    assert not (team.office.repository / "proposals").exists() or not list(
        (team.office.repository / "proposals").iterdir()
    )


def test_a_policy_with_mistakes_is_refused_whole(team: Team) -> None:
    done = team.policy([{"name": "x", "approvals": {"stable": 1}}])
    assert done.rc != 0
    assert "'stable' is no approval role" in done.text


def _with(bundle: t.Any, **changes: t.Any) -> t.Any:
    return type(bundle)(**{**vars(bundle), **changes})


def _saved(team: Team, bundle: t.Any) -> str:
    return str(bundle.save(team.fleet.folder / "bundle.json"))
