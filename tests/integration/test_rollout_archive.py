# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From nothing to a rolled back archive with the collection's playbooks alone, as an unprivileged user with sudo."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Device, Fleet, archives, evidence

from .engine import STATE
from .project import Project
from .site import Site, assert_same

DEVICES = 3
LOGIN = {"ansible_user": "edge", "ansible_become": True, "fleet_ota_hosts": "dev1:dev2:dev3"}


@pytest.fixture
def fresh(lab_fleet: Fleet, lab_devices: Callable[[int], list[Device]], project: Project, tmp_path: Path) -> Site:
    """Three devices as new, and a project without keys and repository."""
    folder = tmp_path / "project"
    folder.mkdir()
    site = Site(project.moved(folder), lab_fleet, tmp_path / "journals")
    site.devices = lab_devices(DEVICES)
    return site


def publish(site: Site, version: str, **what: Any) -> None:
    """Publish by playbook; the first time this makes keys and repository."""
    new = {"fleet_ota_channels": [{"name": "stable"}], "fleet_ota_generate_keys": True}
    source = {"fleet_ota_source": str(site.project.gateway(version, **what))}
    keys = {"fleet_ota_keys_dir": str(site.project.keys)}
    assert site.play("publish", **new, **source, **keys) == 0, site.said()
    assert site.project.trust_root.is_file(), "the root of the new repository is pinned"


def answers(site: Site) -> list[str | None]:
    """The version that each device's service names."""
    found = [evidence.http_json(device, archives.PORT, wait=3) for device in site.devices]
    return [None if answer is None else str(answer["version"]) for answer in found]


def test_three_releases(fresh: Site) -> None:
    publish(fresh, "1")
    assert fresh.play("enroll", **LOGIN) == 0, fresh.said()
    for version in ("1", "2"):
        publish(fresh, version)
        run = Site(fresh.project, fresh.fleet, fresh.journals / version)
        assert run.rollout(f"gateway/{version}", **LOGIN) == 0, run.said()
        assert answers(fresh) == [version] * DEVICES
    canary = fresh.devices[0]
    link = canary.root / archives.DESTINATION.lstrip("/") / "current"
    assert str(link.readlink()) == "releases/2"
    assert evidence.tree(canary, [f"{archives.DESTINATION}/releases/1"])  # the old one is kept

    before = [(evidence.tree(device), evidence.packages(device), None) for device in fresh.devices]
    publish(fresh, "3", silent=True)
    run = Site(fresh.project, fresh.fleet, fresh.journals / "3")
    assert run.rollout("gateway/3", **LOGIN) != 0, run.said()
    assert run.outcomes() == {"dev1": ("restored", "HEALTH")}
    for device, evidence_before in zip(fresh.devices, before, strict=True):
        assert_same(evidence_before, (evidence.tree(device), evidence.packages(device), None))
    assert answers(fresh) == ["2"] * DEVICES
    state = canary.root / STATE.lstrip("/")
    assert json.loads((state / "transaction.json").read_text())["outcome"] == "restored"
    assert oct(state.stat().st_mode & 0o777) == "0o700"
