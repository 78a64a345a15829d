# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A package manager that others hold or left broken: found before anything is touched, mended only if asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.lab import Device, debs, evidence, service

from .engine import Engine, Reply, lock_held
from .project import Project
from .site import assert_same, look


@pytest.fixture
def engine(project: Project, lab_device: Device) -> Engine:
    """A device with version 1."""
    engine = Engine(lab_device)
    engine.enroll(project)
    assert engine.update(project.fetch("meter/1"))["outcome"] == "updated"
    return engine


def offered(engine: Engine, project: Project, **options: Any) -> Reply:
    """Version 2, before any payload was brought there: what is said now is said before gigabytes travel."""
    bundle = project.fetch("meter/2")
    return engine.call("apply", bundle=bundle.wire(), wait=60, rollout="two", **options)


def brk(engine: Engine, folder: Path, how: str) -> None:
    """Leave dpkg as an interrupted run of somebody else leaves it."""
    path = debs.package("other", "1", "python3", {"/opt/other": (0o644, "x\n")}, {}, folder)
    (engine.device.root / "srv/other.deb").write_bytes(path.read_bytes())
    engine.device.run(["dpkg", "--unpack", "/srv/other.deb"])
    if how == "interrupted":  # a dpkg that dies leaves the changed paragraph here, for the next one to merge
        paragraph = engine.device.run(["dpkg-query", "--status", "other"]).stdout
        (engine.device.root / "var/lib/dpkg/updates/0000").write_text(paragraph)


@pytest.mark.parametrize("how", ["unpacked", "interrupted"])
def test_a_broken_database_is_refused_with_the_command_and_mended_when_asked(
    engine: Engine, project: Project, tmp_path: Path, how: str
) -> None:
    brk(engine, tmp_path, how)
    before = look(engine.device)
    reply = offered(engine, project)
    assert (reply["outcome"], reply["code"]) == ("refused", "PACKAGE_STATE"), reply
    assert reply["error"]["detail"]["command"] == "dpkg --configure -a"
    assert_same(before, look(engine.device))
    assert offered(engine, project, repair=True)["missing"]
    reply = engine.update(project.fetch("meter/2"), repair=True, rollout="two")
    assert reply["outcome"] == "updated", reply
    packages = evidence.packages(engine.device)
    assert packages["other:all"] == ("1", "install ok installed")
    assert packages["meter:all"] == ("2", "install ok installed")


def test_what_a_repair_cannot_mend_is_refused(engine: Engine, project: Project, tmp_path: Path) -> None:
    script = {"postinst": "#!/bin/sh\nexit 7\n"}
    path = debs.package("other", "1", "python3", {"/opt/other": (0o644, "x\n")}, script, tmp_path)
    (engine.device.root / "srv/other.deb").write_bytes(path.read_bytes())
    engine.device.run(["dpkg", "--unpack", "/srv/other.deb"])
    reply = engine.update(project.fetch("meter/2"), repair=True, rollout="two")
    assert (reply["outcome"], reply["code"]) == ("refused", "PACKAGE_STATE"), reply
    assert "did not repair it" in reply["message"] and "other" in reply["message"]
    assert evidence.http_json(engine.device, service.PORT, wait=5) is not None


@pytest.mark.parametrize("lock", ["lock-frontend", "lock"])
def test_a_held_lock_is_not_now(engine: Engine, project: Project, lock: str) -> None:
    with lock_held(engine.device, f"/var/lib/dpkg/{lock}"):
        reply = offered(engine, project)
        assert (reply["outcome"], reply["code"]) == ("deferred", "PACKAGE_LOCK"), reply
        assert "python3 (process" in reply["message"]
    assert offered(engine, project)["missing"]


def test_a_release_that_takes_the_engines_python_away_is_refused(
    engine: Engine, project: Project, tmp_path: Path
) -> None:
    library = engine.device.run(["python3", "-c", "import json; print(json.__path__[0])"]).stdout.strip()
    scripts = ("rm -f /usr/bin/python3*", f"rm -r {library}", f"touch {library}/new.py")
    reply: Reply = {}
    for number, script in enumerate(scripts, start=1):
        path = debs.package("py", str(number), "", {}, {"postinst": f"#!/bin/sh\n{script}\n"}, tmp_path)
        (project.folder / "build" / path.name).write_bytes(path.read_bytes())
        payload = {"name": "py", "type": "deb", "source": f"build/{path.name}"}
        document = {"format": 1, "name": "py", "version": str(number), "counter": number, "payloads": [payload]}
        bundle = project.publish(project.write(document))
        reply = engine.update(bundle, rollout=f"py{number}")
        if number < len(scripts):
            assert (reply["outcome"], reply["code"]) == ("refused", "REHEARSAL"), reply
            assert "could not run the engine and its guard" in reply["message"], reply
            assert "snapshotted" not in reply["steps"]
    assert reply["outcome"] == "updated", "a Python that is changed and runs is no reason to refuse"
