# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sealed devices in honest hands: sealed by playbook, updated by playbook, with one login and no admin rights."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Device, Fleet, archives, evidence

from . import sealing
from .engine import STATE
from .project import Project
from .site import Site

LOGIN = {"ansible_user": sealing.LOGIN, "fleet_ota_hosts": "dev1"}


@pytest.fixture
def sealed(lab_fleet: Fleet, lab_devices: Callable[[int], list[Device]], tmp_path: Path) -> Site:
    """One sealed device, and a project with two releases."""
    project = Project(tmp_path / "project")
    for version in ("1", "2"):
        project.publish(project.gateway(version))
    site = Site(project, lab_fleet, tmp_path / "journals")
    site.devices = lab_devices(1)
    assert site.play("enroll", fleet_ota_hosts="dev1", **sealing.variables(lab_fleet)) == 0, site.said()
    return site


def again(site: Site, name: str) -> Site:
    """The same site with journals of its own."""
    other = Site(site.project, site.fleet, site.journals / name)
    other.devices = site.devices
    return other


def answers(device: Device) -> Any:
    """The version that the device's service names."""
    return (evidence.http_json(device, archives.PORT, wait=3) or {}).get("version")


def test_rollouts_by_playbook_with_the_login_alone(sealed: Site) -> None:
    (device,) = sealed.devices
    for version in ("1", "2"):
        run = again(sealed, version)
        assert run.rollout(f"gateway/{version}", **LOGIN) == 0, run.said()
        assert run.outcomes() == {"dev1": ("updated", None)}
        assert answers(device) == version
    run = again(sealed, "status")
    assert run.play("status", **LOGIN) == 0, run.said()
    assert "gateway 2" in run.said()
    rollout = again(sealed, "2").journal()[0]["rollout"]
    back = again(sealed, "2")
    assert back.play("rollback", fleet_ota_rollout_id=rollout, **LOGIN) != 0
    assert "refused (SEALED)" in back.said()
    assert answers(device) == "2"


def test_state_and_program_are_for_root_alone(sealed: Site) -> None:
    (device,) = sealed.devices
    assert again(sealed, "1").rollout("gateway/1", **LOGIN) == 0
    state = device.root / STATE.lstrip("/")
    assert oct(state.stat().st_mode & 0o7777) == "0o700"
    wrong = {}
    for path in state.rglob("*"):
        status = path.lstat()
        below_snapshot = "content" in path.parts or "payload" in path.parts  # keep the modes of what they are of
        if status.st_uid or status.st_gid or (status.st_mode & 0o077 and not path.is_symlink() and not below_snapshot):
            wrong[str(path)] = oct(status.st_mode)
    assert wrong == {}
    program = (device.root / sealing.PROGRAM.lstrip("/")).stat()
    assert (program.st_uid, program.st_gid, oct(program.st_mode & 0o7777)) == (0, 0, "0o755")


def test_an_engine_of_another_version_is_asked_all_the_same(sealed: Site) -> None:
    """The controller was renewed, the device not yet."""
    (device,) = sealed.devices
    (engine,) = (device.root / STATE.lstrip("/") / "engine").glob("*.pyz")
    other = engine.with_name(f"{'0' * 64}.pyz")
    other.write_bytes(engine.read_bytes())
    with zipfile.ZipFile(other, "a") as archive:
        archive.writestr("fleet_ota/other.txt", "another version")
    program = device.root / sealing.PROGRAM.lstrip("/")
    program.write_text(program.read_text().replace(engine.stem, other.stem))
    engine.unlink()
    run = again(sealed, "1")
    assert run.rollout("gateway/1", **LOGIN) == 0, run.said()
    assert not engine.exists()
    run = again(sealed, "renewed")
    assert run.play("enroll", fleet_ota_hosts="dev1", **sealing.variables(sealed.fleet)) == 0, run.said()
    assert engine.stem in program.read_text()


def test_sealing_in_check_mode(
    lab_fleet: Fleet, lab_devices: Callable[[int], list[Device]], project: Project, tmp_path: Path
) -> None:
    (device,) = lab_devices(1)
    site = Site(project, lab_fleet, tmp_path / "journals")
    command = site.command("enroll", fleet_ota_hosts="dev1", **sealing.variables(lab_fleet))
    done = subprocess.run(
        [*command, "--check", "--diff"],
        env=site.environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "require_approval: False" in done.stdout
    for path in (sealing.PROGRAM, "/etc/sudoers.d/fleet-ota", f"{STATE}/sealed.json", f"{STATE}/identity.json"):
        assert not (device.root / path.lstrip("/")).exists()


def test_sealing_again_changes_nothing_and_only_admin_rights_may(sealed: Site) -> None:
    run = again(sealed, "second")
    assert run.play("enroll", fleet_ota_hosts="dev1", **sealing.variables(sealed.fleet)) == 0, run.said()
    assert "changed=0" in run.said()
    run = again(sealed, "thief")
    assert run.play("enroll", **LOGIN) != 0
    assert "SEALED" in run.said()
    assert "admin rights" in run.said()


def test_a_login_with_more_rights_is_not_sealed(sealed: Site) -> None:
    (device,) = sealed.devices
    rule = device.root / "etc/sudoers.d/zz"
    rule.write_text(f"{sealing.LOGIN} ALL=(root) NOPASSWD: /bin/ls\n")
    rule.chmod(0o440)
    run = again(sealed, "rule")
    assert run.play("enroll", fleet_ota_hosts="dev1", **sealing.variables(sealed.fleet)) != 0
    assert "may also run (root) NOPASSWD: /bin/ls" in run.said()
    rule.unlink()
    device.run(["usermod", "-aG", "adm", sealing.LOGIN])
    run = again(sealed, "group")
    assert run.play("enroll", fleet_ota_hosts="dev1", **sealing.variables(sealed.fleet)) != 0
    assert "more rights than a sealed device allows" in run.said()


@pytest.mark.parametrize("login", ["edge", "root"])
def test_a_login_of_somebody_else_is_left_alone(sealed: Site, login: str) -> None:
    (device,) = sealed.devices
    run = again(sealed, login)
    before = sealing.everything(device)
    other = {**sealing.variables(sealed.fleet), "fleet_ota_sealed_login": login}
    assert run.play("enroll", fleet_ota_hosts="dev1", **other) != 0
    assert "was not made by this role" in run.said()
    assert evidence.differences(before, sealing.everything(device)) == {}
