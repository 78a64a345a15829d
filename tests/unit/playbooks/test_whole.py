# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ansible's own settings do not change what a playbook does, and its exit code says how a rollout ended."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml

from .conftest import Fleet, MakeFleet

PLAYBOOKS = pathlib.Path(__file__).resolve().parents[3] / "playbooks"


@pytest.fixture(scope="module")
def untouched(make_fleet: MakeFleet) -> Fleet:
    return make_fleet("d1", bare=True)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--tags", "canary"], "--tags canary chooses no task of it"),
        (["--start-at-task", "Verify the release and plan its waves"], "leaves out the tasks before it"),
        (["--start-at-task", "Begin or resume the journal"], "undefined"),  # Ansible looks at the arguments before us
        (["--skip-tags", "always"], "undefined"),
    ],
)
def test_a_part_of_a_playbook_is_refused(untouched: Fleet, options: list[str], reason: str) -> None:
    ran = untouched.play("rollout", *options)
    assert ran.rc == 2, ran.text
    assert reason in " ".join(ran.text.split())
    assert not (untouched.folder / "journal").exists()


def test_an_import_has_the_tags_that_it_is_given(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1")
    mark = {"ansible.builtin.debug": {"msg": "the base is laid"}}
    site = fleet.file(
        "site.yml",
        [
            {"hosts": "localhost", "gather_facts": False, "tasks": [{**mark, "tags": "base"}]},
            {"ansible.builtin.import_playbook": "fleet.ota.rollout", "tags": ["ota"]},
        ],
    )
    other = fleet.play(site, "--tags", "base")
    assert (other.rc, fleet.running()) == (0, {"d1": "1"}), other.text
    assert "the base is laid" in other.text
    ours = fleet.play(site, "--tags", "ota")
    assert (ours.rc, fleet.running()) == (0, {"d1": "2"}), ours.text
    assert "the base is laid" not in ours.text


def test_a_limit_on_the_time_of_tasks_is_not_one_on_an_update(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1")
    fleet.environment["ANSIBLE_TASK_TIMEOUT"] = "1"
    # longer than the limit, where a task of a device would be cut off
    fleet.common["fleet_ota_hook_before"] = fleet.file("before.yml", [{"ansible.builtin.command": "sleep 2"}])
    ran = fleet.play("rollout")
    assert (ran.rc, fleet.running()) == (0, {"d1": "2"}), ran.text


def test_every_play_says_what_settings_may_not_say() -> None:
    for path in PLAYBOOKS.glob("*.yml"):
        for play in yaml.safe_load(path.read_text()):
            if "hosts" in play:
                wanted: dict[str, t.Any] = {
                    "strategy": "ansible.builtin.linear",
                    "any_errors_fatal": False,
                    "timeout": 0,
                    "debugger": "never",  # a task that fails would wait for somebody at a terminal
                    "gather_facts": False,
                }
                assert {key: play.get(key) for key in wanted} == wanted, path


def test_deferrals_alone_have_an_exit_code_of_their_own(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2")
    fleet.variables["d2"]["fleet_ota_hold"] = "the press is running"
    ran = fleet.play("rollout")
    assert ran.rc == 4, ran.text
    assert fleet.outcomes() == {"d1": ("updated", None), "d2": ("deferred", "HOLD")}
    assert ran.text.count("d2 is held: the press is running") == 2, ran.text  # in the summary, and for the device
    assert fleet.play("rollout", fleet_ota_deferred_exit=0).rc == 0
