# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A sealed device as it is meant to be: a login that can ask for little, and nothing taken that people did not approve.

Whoever holds the controller's key has validly signed releases, the login, and everything but the approvers' keys.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.approvals.approval import Requester
from ansible_collections.fleet.ota.plugins.plugin_utils._control.approvals.requests import ApprovalRequests
from ansible_collections.fleet.ota.plugins.plugin_utils._control.keys import ring
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan
from ansible_collections.fleet.ota.plugins.plugin_utils._control.policy import policy
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.metadata.edit import Holders
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.repository import Config, Repository

from tests.lab import Device, Fleet, archives, evidence

from . import sealing
from .project import Project
from .site import Site

LOGIN = {"ansible_user": sealing.LOGIN, "fleet_ota_hosts": "dev1"}
PEOPLE = ("anna", "ben")


class Office:
    """The approvers' side of a project: two people, keys of their own."""

    def __init__(self, project: Project, folder: Path) -> None:
        self.project = project
        people = tuple(ring.generate(folder / f"{name}.pem") for name in PEOPLE)
        self.ring = ring.Ring.load([folder])
        both = ring.Ring({**project.ring.signers, **self.ring.signers})
        Repository(project.repository).ensure(Config({}, {}, {}, {"approvals": Holders(people, 2)}), both)
        self.everybody = both
        path = project.folder / "policy.yml"
        path.write_text(json.dumps({"format": 1, "rules": [{"name": "all", "approvals": {"approvals": 2}}]}))
        self.desk().publish(policy.read(path), project.ring)

    def desk(self, now: datetime.datetime | None = None) -> ApprovalRequests:
        return ApprovalRequests(Repository(self.project.repository, now=now))

    def approve(self) -> None:
        """Both sign what waits."""
        for case in self.desk().cases():
            self.desk().sign(case, self.everybody)


@pytest.fixture
def site(lab_fleet: Fleet, lab_devices: Callable[[int], list[Device]], tmp_path: Path) -> Site:
    """One device, sealed with the defaults, and a project with three releases."""
    project = Project(tmp_path / "project")
    for version in ("1", "2", "3"):
        project.publish(project.gateway(version))
    site = Site(project, lab_fleet, tmp_path / "journals")
    site.devices = lab_devices(1)
    sealed = sealing.variables(lab_fleet)
    del sealed["fleet_ota_sealed_settings"]["require_approval"]
    assert site.play("enroll", fleet_ota_hosts="dev1", **sealed) == 0, site.said()
    return site


def test_nothing_unapproved_reaches_a_sealed_device(site: Site, tmp_path: Path) -> None:
    (device,) = site.devices
    thief = sealing.Thief(device)
    before = sealing.everything(device)

    def refused(bundle: dict[str, Any], code: str) -> None:
        reply = thief.ask("apply", bundle=bundle, rollout=None)
        assert (reply["outcome"], reply["code"]) == ("refused", code), reply
        changed = evidence.differences(before, sealing.everything(device))
        # newer signed metadata is remembered, also of what is refused
        assert [path for path in changed if "/trust" not in path] == []

    refused(site.project.fetch("gateway/1").wire(), "APPROVAL")  # the repository has no policy at all
    office = Office(site.project, tmp_path / "people")
    refused(site.project.fetch("gateway/1").wire(), "APPROVAL")
    assert site.play("plan", fleet_ota_release="gateway/1", fleet_ota_request_approval=True, **LOGIN) == 0, site.said()
    refused(site.project.fetch("gateway/1").wire(), "APPROVAL")  # asked for, and not signed
    office.approve()
    wire = site.project.fetch("gateway/1").wire()
    other = site.project.fetch("gateway/2").wire()
    refused({**other, "approvals": wire["approvals"], "documents": {**other["documents"], **wire["documents"]},
             "roles": {**other["roles"], **wire["roles"]}}, "PLAN_MISMATCH")  # fmt: skip
    refused({**wire, "approvals": []}, "APPROVAL")
    hidden = {path: text for path, text in wire["documents"].items() if path != policy.TARGET}
    refused({**wire, "documents": hidden}, "METADATA")
    (path,) = wire["approvals"]
    stretched = wire["documents"][path].replace('"expires":"2', '"expires":"3')
    refused({**wire, "documents": {**wire["documents"], path: stretched}}, "HASH_MISMATCH")

    assert site.rollout("gateway/1", **LOGIN) == 0, site.said()
    assert evidence.http_json(device, archives.PORT)["version"] == "1"  # type: ignore[index]


def test_an_approval_that_expired_is_none(site: Site, tmp_path: Path) -> None:
    office = Office(site.project, tmp_path / "people")
    release = site.project.fetch("gateway/1").identity
    made = plan.make(hosts=["dev1"], groups={"all": ["dev1"]}, release=release)
    earlier = office.desk(datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=50))
    (case,) = earlier.request(made, ["approvals"], Requester("dora"), hours=0.5)
    assert earlier.sign(case, office.everybody)[0].proposal.state == "applied"
    reply = sealing.Thief(site.devices[0]).ask("apply", bundle=site.project.fetch("gateway/1").wire())
    assert (reply["outcome"], reply["code"]) == ("refused", "APPROVAL"), reply
    assert "expired at" in reply["message"]
