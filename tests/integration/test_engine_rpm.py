# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transactions with real rpm packages, by the engine alone. The device is Debian with Debian's rpm: only its database
knows no more than the lab's own packages."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from tests.lab import Device, Fleet, debs, evidence, rpms, service

from .engine import Engine, lock_held
from .project import Project, health
from .site import Evidence, assert_same, look

#: SQLite's shared memory, made anew by whoever opens the database first.
SHARED_MEMORY = "/root/.rpmdb/rpmdb.sqlite-shm"


@dataclasses.dataclass
class Site:
    """A device that runs version 2 with an edited configuration."""

    project: Project
    engine: Engine
    device: Device

    def packages(self) -> set[str]:
        return set(self.device.run(["rpm", "-qa"]).stdout.split())

    def look(self) -> Evidence:
        found = look(self.device)
        found[0].pop(SHARED_MEMORY, None)
        return found


@pytest.fixture(scope="module")
def kept(lab_fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project; device 1 was brought to version 2 by it, and that is kept as `rpm-2`."""
    folder = tmp_path_factory.mktemp("rpm")
    project = Project(folder / "p")
    for name, meter in rpms.VERSIONS.items():
        sources = [str(path) for path in rpms.release(name, project.folder / "build" / name)]
        payload = {"name": "packages", "type": "rpm", "source": sources, "units": [debs.UNIT]}
        document = {"format": 1, "name": "meter", "version": meter.version, "counter": int(meter.version)}
        more = {"payloads": [payload], "protect": [debs.STATE], "health": health(service.PORT)}
        project.publish(project.write({**document, **more}))
    lab_fleet.reset([1])
    device = lab_fleet[1]
    rpms.make_rpm_device(device, folder)
    engine = Engine(device)
    engine.enroll(project)
    for version in ("1", "2"):
        reply = engine.update(project.fetch(f"meter/{version}"))
        assert reply.get("outcome") == "updated", reply
        if version == "1":
            device.run(["sed", "-i", "s/hello/edited/", debs.SETTINGS])
    device.keep("rpm-2")
    return project


@pytest.fixture
def site(kept: Project, lab_fleet: Fleet) -> Site:
    """See :class:`Site`."""
    lab_fleet.reset([1], kept="rpm-2")
    return Site(kept, Engine(lab_fleet[1]), lab_fleet[1])


def test_an_update_brings_the_new_package_its_dependency_and_keeps_edits(site: Site) -> None:
    assert site.packages() == {
        "lab-base-1-1.noarch",
        "lab-old-1-1.noarch",
        "meter-2-1.noarch",
        "meter-codec-1-1.noarch",
    }
    answer = {"status": "ok", "version": "2", "greeting": "edited", "codec": "codec 1"}
    assert evidence.http_json(site.device, service.PORT, wait=10) == answer
    reply = site.engine.update(site.project.fetch("meter/2"), rollout="another")
    assert reply["outcome"] == "current", reply


@pytest.mark.parametrize(("version", "code"), [("3", "HEALTH"), ("4", "INSTALL")])
def test_a_bad_package_leaves_no_trace(site: Site, version: str, code: str) -> None:
    before, packages = site.look(), site.packages()
    reply = site.engine.update(site.project.fetch(f"meter/{version}"))
    assert (reply["outcome"], reply["code"]) == ("restored", code), reply
    assert_same(before, site.look())
    assert site.packages() == packages
    site.device.run(["rpm", "--verifydb"])


@pytest.mark.parametrize(("version", "word"), [("5", "would remove lab-old"), ("6", "meter-codec")])
def test_what_needs_or_removes_others_is_refused(site: Site, version: str, word: str) -> None:
    if version == "6":
        site.device.run(["rpm", "--erase", "--nodeps", "--noscripts", "meter-codec"])
    before = site.look()
    reply = site.engine.update(site.project.fetch(f"meter/{version}"))
    assert (reply["outcome"], reply["code"]) == ("refused", "REQUIREMENT"), reply
    assert word in reply["message"]
    assert_same(before, site.look())


def test_a_rollback_brings_the_old_version_back(site: Site) -> None:
    site.packages()  # a query in between is nobody's change
    reply = site.engine.call("rollback", wait=60, rollout="back")
    assert reply["state"] == "unconfirmed", reply
    assert site.engine.call("confirm")["outcome"] == "updated"
    assert site.packages() == {"lab-base-1-1.noarch", "lab-old-1-1.noarch", "meter-1-1.noarch"}
    assert evidence.http_json(site.device, service.PORT, wait=10) == {
        "status": "ok",
        "version": "1",
        "greeting": "edited",
    }


def test_a_power_cut_in_the_middle_ends_on_the_old_release(site: Site) -> None:
    before, packages = site.look(), site.packages()
    call = site.engine.start_apply(site.project.fetch("meter/3"))
    site.engine.wait_for("installing")
    site.device.cut()
    call.kill()
    site.device.start()
    assert site.engine.wait_for("restored", "broken")["code"] == "INTERRUPTED"
    assert_same(before, site.look())
    assert site.packages() == packages


def test_a_held_lock_is_not_now_and_a_damaged_database_is_refused_and_mended(site: Site) -> None:
    bundle = site.project.fetch("meter/3")
    with lock_held(site.device, "/root/.rpmdb/.rpm.lock"):
        reply = site.engine.apply(bundle)
        assert (reply["outcome"], reply["code"]) == ("deferred", "PACKAGE_LOCK"), reply
        assert "python3 (process" in reply["message"]
    path = site.device.root / "root/.rpmdb/rpmdb.sqlite"
    assert path.stat().st_size > 8192
    os.truncate(path, 8192)
    reply = site.engine.apply(bundle)
    assert (reply["outcome"], reply["code"]) == ("refused", "PACKAGE_STATE"), reply
    assert "rpm --rebuilddb" in reply["message"]


def test_the_controller_reads_packages_without_rpm(kept: Project) -> None:
    from ansible_collections.fleet.ota.plugins.module_utils._device.kinds.payloads import _rpmfile

    (path,) = (kept.folder / "build/2").glob("meter-2-*.rpm")
    found = _rpmfile.read(path)
    assert (found.name, found.version, found.architecture) == ("meter", "2-1", "noarch")
    assert ("/usr/lib/meter", True) in found.files and (debs.PROGRAM, False) in found.files
    assert found.size > 1000
    broken = Path(f"{path}.cut")
    for length in (0, 90, 200, 400):
        broken.write_bytes(path.read_bytes()[:length])
        with pytest.raises(ValueError, match="not a"):
            _rpmfile.read(broken)


def of_others(site: Site, name: str, version: str, folder: Path, *options: str) -> None:
    """What another program installs."""
    path = rpms.package(name, version, {f"/opt/{name}": (0o644, f"{version}\n")}, folder)
    (site.device.root / "srv" / path.name).write_bytes(path.read_bytes())
    site.device.run(["rpm", "--upgrade", "--force-debian", *options, f"/srv/{path.name}"])


def test_packages_of_others_stay_when_a_release_goes_back_and_at_a_later_rollback(site: Site, tmp_path: Path) -> None:
    """Installed, updated and removed by others: neither their files nor their records change."""
    assert site.engine.apply(site.project.fetch("meter/3"), deadline=600)["state"] in ("unconfirmed", "restored")
    for name in ("others", "late"):
        of_others(site, name, "1", tmp_path)
    assert site.packages() >= {"meter-2-1.noarch", "others-1-1.noarch"}  # 3 was not healthy
    reply = site.engine.update(site.project.fetch("meter/2"), rollout="another")
    assert reply["outcome"] == "current", reply

    of_others(site, "lab-old", "2", tmp_path)
    site.device.run(["rpm", "--erase", "late"])
    reply = site.engine.call("rollback", wait=60, rollout="back")
    assert reply["state"] == "unconfirmed", reply["message"]
    packages = {"lab-base-1-1.noarch", "lab-old-2-1.noarch", "others-1-1.noarch"}
    assert site.packages() == packages | {"meter-1-1.noarch"}
    of_others(site, "more", "1", tmp_path)
    reply = site.engine.call("restore", code="REQUESTED", message="x", wait=60)
    assert reply["state"] == "restored", reply
    assert site.packages() == packages | {"meter-2-1.noarch", "meter-codec-1-1.noarch", "more-1-1.noarch"}
    verified = site.device.run(["rpm", "--verify", "meter", "meter-codec", "others", "more", "lab-old"], check=False)
    assert [line for line in verified.stdout.splitlines() if debs.SETTINGS not in line] == [], verified.stdout
    site.device.run(["rpm", "--verifydb"])
    assert evidence.http_json(site.device, service.PORT, wait=10) is not None
