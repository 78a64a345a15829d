# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Approvals through the action: several of them, of which a person's keys may sign some."""

from __future__ import annotations

import pathlib
import shutil
import typing as t

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.fleet.ota.plugins.action import approval
from ansible_collections.fleet.ota.plugins.plugin_utils._control.approvals.approval import Requester
from ansible_collections.fleet.ota.plugins.plugin_utils._control.approvals.requests import ApprovalRequests
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan

from ..control.conftest import Site

if t.TYPE_CHECKING:
    from .conftest import Act


class Desk:
    """Two roles are asked to approve one rollout: anna's and sven's."""

    def __init__(self, folder: pathlib.Path, act: Act) -> None:
        self.site, self.act = Site(folder), act
        self.site.make(
            approvals={"approvals": self.site.holders("anna"), "approvals-safety": self.site.holders("sven")}
        )
        self.site.publish()
        self.pin = folder / "root.json"
        shutil.copy(self.site.trust_root, self.pin)
        made = plan.make(hosts=["dev1"], groups={"all": ["dev1"]}, release=self.site.fetch().identity)
        self.rollout = made.rollout
        desk = ApprovalRequests(self.site.repository())
        self.ids = [
            case.proposal.id
            for case in desk.request(made, ["approvals", "approvals-safety"], Requester("otto"), hours=1)
        ]

    def __call__(self, state: str, *keys: str, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
        places = [str(self.site.key(name)) for name in keys] or None
        place: dict[str, t.Any] = {"repository": str(self.site.path), "trust_root": str(self.pin)}
        return self.act(approval.ActionModule, check=check, **place, state=state, keys=places, **more)


@pytest.fixture
def desk(tmp_path: pathlib.Path, act: Act) -> Desk:
    return Desk(tmp_path, act)


def test_what_others_sign_is_left_to_them(desk: Desk) -> None:
    done = desk("signed", "sven", "snapshot", "timestamp", proposals=desk.ids)
    assert [entry["state"] for entry in done["approvals"]] == ["applied"]
    assert done["summary_lines"][-1].startswith(f"left to others: {desk.ids[0]}")
    shown = desk("shown")
    assert shown["ids"] == desk.ids[:1]
    assert desk("signed", "anna", "snapshot", "timestamp", proposals=shown["ids"])["changed"]
    assert desk("shown")["ids"] == []


def test_who_may_sign_nothing_is_told_who_may(desk: Desk) -> None:
    with pytest.raises(AnsibleActionFail, match="none of the keys at hand may sign") as caught:
        desk("signed", "stable", proposals=desk.ids)
    assert caught.value.result["code"] == "THRESHOLD"


def test_a_dry_run_says_what_the_real_one_does(desk: Desk) -> None:
    dry = desk("signed", "anna", "snapshot", "timestamp", proposals=desk.ids, check=True)
    assert (dry["changed"], desk("shown")["ids"]) == (True, desk.ids)


def test_one_that_is_half_copied_is_named(desk: Desk) -> None:
    shutil.rmtree(desk.site.path / "proposals" / desk.ids[0] / "targets")
    shown = desk("shown")
    assert shown["ids"] == desk.ids[1:]
    assert shown["summary_lines"][-1].startswith(f"cannot be signed: {desk.ids[0]}")


def test_an_approval_is_taken_back(desk: Desk) -> None:
    desk("signed", "anna", "sven", "snapshot", "timestamp", proposals=desk.ids)
    with pytest.raises(AnsibleActionFail, match="remark"):
        desk("revoked", "anna", rollout=desk.rollout)
    taken = desk("revoked", "anna", "snapshot", "timestamp", rollout=desk.rollout, remark="a leak")
    assert sorted(entry["state"] for entry in taken["approvals"]) == ["applied", "open"]
    waits = [entry["id"] for entry in taken["approvals"] if entry["state"] == "open"]
    assert desk("shown")["ids"] == waits
    assert desk("signed", "sven", "snapshot", "timestamp", proposals=waits)["approvals"][0]["state"] == "applied"
