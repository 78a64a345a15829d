# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Python program starts rollouts through ansible-runner, follows the events and reads the summary, as AWX does."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import ansible_runner
import pytest

from tests.lab import evidence, service

from .site import Site


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """ansible-runner starts what it finds on PATH; the ansible-playbook of these tests lies beside their Python."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def run(site: Site, folder: Path, **variables: Any) -> ansible_runner.Runner:
    """Run the rollout."""
    folder.mkdir()
    environment = site.environment()
    names = ("ANSIBLE_CONFIG", "ANSIBLE_COLLECTIONS_PATH", "ANSIBLE_HOME")
    return ansible_runner.run(
        private_data_dir=str(folder),
        playbook="fleet.ota.rollout",
        inventory=str(site.fleet.inventory),
        extravars=site.variables(**variables),
        envvars={name: environment[name] for name in names},
        quiet=True,
        settings={"suppress_env_files": True},
    )


def summary(runner: ansible_runner.Runner) -> dict[str, Any]:
    """What set_stats handed over: the only thing besides events that comes through.

    Under load ansible-runner was seen to list an event without a kind, hence `get`.
    """
    (stats,) = (event for event in runner.events if event.get("event") == "playbook_on_stats")
    found: dict[str, Any] = stats["event_data"]["artifact_data"]["fleet_ota"]
    return found


def test_a_good_release(site: Site, tmp_path: Path) -> None:
    runner = run(site, tmp_path / "runner", fleet_ota_release="meter/2")
    assert (runner.status, runner.rc) == ("successful", 0), runner.stdout.read()[-3000:]
    updated = {
        event["event_data"]["host"]
        for event in runner.events
        if event.get("event") == "runner_on_ok" and event["event_data"]["res"].get("outcome") == "updated"
    }
    assert updated == {device.name for device in site.devices}
    found = summary(runner)
    assert found["result"] == "complete"
    assert found["counts"]["updated"] == 6
    for device in site.devices:
        answer = evidence.http_json(device, service.PORT)
        assert answer is not None
        assert answer["version"] == "2"


def test_a_bad_release(site: Site, tmp_path: Path) -> None:
    runner = run(site, tmp_path / "runner", fleet_ota_release="meter/3")
    assert (runner.status, runner.rc) == ("failed", 2)
    found = summary(runner)
    assert found["result"] == "halted"
    assert found["counts"]["restored"] == 1
    assert runner.stats["failures"] == {"dev1": 1}
