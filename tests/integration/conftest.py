# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests on real devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import Fleet, debs
from tests.lab.plugin import lab_device, lab_devices, lab_fleet, lab_host

from .project import Project
from .site import Site

__all__ = ["lab_device", "lab_devices", "lab_fleet", "lab_host"]


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose repository has every version of `meter`."""
    project = Project(tmp_path_factory.mktemp("project") / "p")
    for name in debs.VERSIONS:
        project.publish(project.meter(name))
    return project


@pytest.fixture(scope="session")
def running_fleet(lab_fleet: Fleet, project: Project, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Six devices that were enrolled and brought to version 1 of `meter` by playbooks, kept as `meter-1`."""
    lab_fleet.reset()
    site = Site(project, lab_fleet, tmp_path_factory.mktemp("first"))
    assert site.play("enroll") == 0, site.said()
    everywhere = [{"percent": 100}]
    assert site.rollout("meter/1", fleet_ota_waves=everywhere) == 0, site.said()
    for device in lab_fleet.devices:
        device.run(["sed", "-i", "s/hello/edited by hand/", debs.SETTINGS])
        device.run(["systemctl", "restart", debs.UNIT])
    lab_fleet.each(lambda device: device.keep("meter-1"), lab_fleet.devices)
    return lab_fleet


@pytest.fixture
def site(running_fleet: Fleet, project: Project, tmp_path: Path) -> Site:
    """Six devices with version 1 of `meter` confirmed and its configuration edited, and no rollout yet."""
    running_fleet.reset(kept="meter-1")
    return Site(project, running_fleet, tmp_path / "journals")
