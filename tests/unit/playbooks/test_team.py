# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A team's own tasks in a rollout: before, between and after ours, and handlers from anywhere.

One rollout over a fleet in which every device meets another of them; every test looks at one device.
"""

from __future__ import annotations

import typing as t

import pytest

from .conftest import Fleet, MakeFleet, Ran, Tree

FAIL = [{"ansible.builtin.fail": {"msg": "the team says no on {{ inventory_hostname }}"}}]


class Rollout(t.NamedTuple):
    """A fleet after its rollout, and the trees as they were before."""

    fleet: Fleet
    before: dict[str, Tree]
    untouched: Tree
    ran: Ran


@pytest.fixture(scope="module")
def rollout(make_fleet: MakeFleet) -> Rollout:
    """``handler``, ``before`` and ``installed`` fail where they are called so; ``later`` is of the next wave."""
    fleet = make_fleet("good", "handler", "before", "installed", "later")
    fleet.common["fleet_ota_waves"] = [{"name": "first", "count": 4}, {"percent": 100}]
    note = {"path": f"{fleet.folder}/marks-{{{{ inventory_hostname }}}}", "create": True, "mode": "0600"}

    def said(word: str) -> dict[str, t.Any]:
        return {"ansible.builtin.lineinfile": {**note, "line": word}}

    # a role of the team brings the handler, as one would share it between sites
    handler = {"listen": "check device health", "when": "inventory_hostname == 'handler'", **FAIL[0]}
    fleet.file("roles/line/handlers/main.yml", [{"name": "The line runs", **handler}])
    fleet.file("roles/line/tasks/main.yml", [said("before")])
    stop = {"when": "inventory_hostname == 'before'", **FAIL[0]}
    include = {"ansible.builtin.include_role": {"name": "line"}}
    fleet.common["fleet_ota_hook_before"] = fleet.file("before.yml", [include, stop])
    stop = {"when": "inventory_hostname == 'installed'", **FAIL[0]}
    fleet.common["fleet_ota_hook_installed"] = fleet.file("installed.yml", [said("installed"), stop])
    fleet.common["fleet_ota_hook_after"] = fleet.file("after.yml", [said("after")])
    before, untouched = fleet.trees(), fleet.devices["later"].tree(state=True)
    return Rollout(fleet, before, untouched, fleet.play("rollout"))


def marks(rollout: Rollout, name: str) -> list[str]:
    return (rollout.fleet.folder / f"marks-{name}").read_text().split()


def test_every_device_has_its_one_outcome_and_the_gate_halts(rollout: Rollout) -> None:
    assert rollout.ran.rc == 2, rollout.ran.text
    assert rollout.fleet.outcomes() == {
        "good": ("updated", None),
        "handler": ("restored", "TEAM_CHECK"),
        "before": ("refused", "TEAM_CHECK"),
        "installed": ("restored", "TEAM_CHECK"),
    }
    ended, concluded = rollout.fleet.records()[-2:]
    assert (ended["event"], ended["data"]["decision"]) == ("wave.ended", "halt")
    assert (concluded["event"], concluded["data"]["result"]) == ("rollout.ended", "halted")
    assert "halt" in rollout.ran.text


def test_a_handler_that_fails_sends_the_device_back(rollout: Rollout) -> None:
    device = rollout.fleet.devices["handler"]
    assert device.tree() == rollout.before["handler"]
    assert (device.transaction["outcome"], device.transaction["code"]) == ("restored", "TEAM_CHECK")
    assert "the team says no on handler" in device.transaction["message"]
    assert marks(rollout, "handler") == ["before", "after"]


def test_a_hook_before_that_fails_leaves_the_device_alone(rollout: Rollout) -> None:
    device = rollout.fleet.devices["before"]
    assert device.tree() == rollout.before["before"]
    assert device.transactions() == 1
    [record] = [entry for entry in rollout.fleet.records() if entry.get("device") == "before" and "outcome" in entry]
    assert "the team says no on before" in record["message"]
    assert marks(rollout, "before") == ["before", "after"]


def test_a_hook_after_installing_that_fails_sends_the_device_back(rollout: Rollout) -> None:
    device = rollout.fleet.devices["installed"]
    assert device.tree() == rollout.before["installed"]
    assert device.transaction["outcome"] == "restored"
    assert "the team says no on installed" in device.transaction["message"]
    assert marks(rollout, "installed") == ["before", "installed", "after"]


def test_the_others_are_updated(rollout: Rollout) -> None:
    assert rollout.fleet.devices["good"].running == "2"
    assert marks(rollout, "good") == ["before", "installed", "after"]


def test_the_next_wave_is_not_touched(rollout: Rollout) -> None:
    assert rollout.fleet.devices["later"].tree(state=True) == rollout.untouched
    assert not (rollout.fleet.folder / "marks-later").exists()
