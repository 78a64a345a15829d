# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole rollouts and ways back: check mode, limits, resuming, and what each leaves on devices and in the journal."""

from __future__ import annotations

import json
import pathlib

from .conftest import Fleet, MakeFleet, Ran

WAVES = [{"name": "canary", "hosts": ["d1"]}, {"name": "rest", "percent": 100}]


def transactions(fleet: Fleet) -> dict[str, int]:
    return {name: device.transactions() for name, device in fleet.devices.items()}


def rollout_id(fleet: Fleet) -> str:
    """The rollout of gateway 2."""
    [path] = (fleet.folder / "journal").glob("gateway-2-*")
    return path.name


def tasks_of(ran: Ran, name: str) -> list[str]:
    """The devices that a task ran on, in any wave, from what ansible-playbook printed."""
    parts = [part.partition("\nTASK [")[0].partition("\nPLAY ")[0] for part in ran.text.split(f"TASK [{name}]")[1:]]
    lines = [line for part in parts for line in part.splitlines() if "[" in line]
    return sorted({line.partition("[")[2].partition("]")[0] for line in lines})


def test_check_mode_touches_neither_devices_nor_journal_and_shows_the_difference(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2")
    fleet.common["fleet_ota_waves"] = WAVES
    before = fleet.trees(state=True)
    ran = fleet.play("rollout", "--check", "--diff")
    assert ran.rc == 0, ran.text
    assert fleet.trees(state=True) == before
    assert not (fleet.folder / "journal").exists()
    # both waves are shown, each with what is and what would be
    assert tasks_of(ran, "Update the device and confirm it over a new connection") == ["d1", "d2"]
    assert ran.text.count("-release: gateway 1") == 2
    assert ran.text.count("+release: gateway 2") == 2
    assert "+canary: d1" in ran.text


def test_check_mode_after_a_rollout_does_not_touch_its_journal(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1")
    assert fleet.play("rollout").rc == 0
    records, before = fleet.records(), fleet.trees(state=True)
    for name, extra in (("rollout", {}), ("rollback", {"fleet_ota_rollout_id": rollout_id(fleet)})):
        ran = fleet.play(name, "--check", "--diff", **extra)
        assert ran.rc == 0, ran.text
        assert fleet.records() == records
        assert fleet.trees(state=True) == before
    assert "-release: gateway 2" in ran.text
    assert "+release: gateway 1" in ran.text


def test_limit_from_rollout_to_rollback(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2", "d3")
    fleet.common["fleet_ota_waves"] = WAVES
    before = fleet.trees()
    untouched = fleet.devices["d2"].tree(state=True)

    ran = fleet.play("rollout", "--limit", "d1,d3")
    assert ran.rc == 0, ran.text
    assert fleet.running() == {"d1": "2", "d2": "1", "d3": "2"}
    assert fleet.devices["d2"].tree(state=True) == untouched

    ran = fleet.play("status", "--limit", "d3")
    assert ran.rc == 0, ran.text
    assert tasks_of(ran, "Show the state of the device") == ["d3"]
    assert "gateway 2, last transaction updated" in ran.text

    # the same command without the limit does the rest, and nothing twice
    done = transactions(fleet)
    ran = fleet.play("rollout")
    assert ran.rc == 0, ran.text
    assert transactions(fleet) == {**done, "d2": done["d2"] + 1}
    assert set(fleet.running().values()) == {"2"}

    # back: a wave, then one device of what is left
    ran = fleet.play("rollback", fleet_ota_rollout_id=rollout_id(fleet), fleet_ota_wave="rest")
    assert ran.rc == 0, ran.text
    assert fleet.running() == {"d1": "2", "d2": "1", "d3": "1"}
    ran = fleet.play("rollback", "--limit", "d1", fleet_ota_rollout_id=rollout_id(fleet))
    assert ran.rc == 0, ran.text
    assert fleet.trees() == before

    # and once more is no further way back
    done = transactions(fleet)
    ran = fleet.play("rollback", fleet_ota_rollout_id=rollout_id(fleet))
    assert ran.rc == 0, ran.text
    assert transactions(fleet) == done
    assert fleet.trees() == before

    # nor does the rollout take the way back for an update, or bring anybody forward again by itself
    for _again in range(2):
        ran = fleet.play("rollout")
        assert ran.rc != 0, ran.text
        assert "taken back from this release" in ran.text
        forward = [one for one in fleet.records() if one.get("outcome") and ".back-" not in one["rollout"]]
        assert {one["device"]: one["outcome"] for one in forward} == dict.fromkeys(fleet.devices, "rolled_back")
        assert fleet.trees() == before


def test_a_rollout_whose_controller_was_lost_goes_on_and_does_nothing_twice(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2")
    fleet.common["fleet_ota_waves"] = WAVES
    assert fleet.play("rollout", "--limit", "d1").rc == 0
    [path] = (fleet.folder / "journal").glob("*/journal.jsonl")
    _cut_after(path, "device.pending")
    done = transactions(fleet)

    ran = fleet.play("rollout")
    assert ran.rc == 0, ran.text
    assert transactions(fleet) == {"d1": done["d1"], "d2": done["d2"] + 1}
    events = [(record["event"], record.get("device"), record.get("outcome")) for record in fleet.records()]
    resumed = [event for event, _device, _outcome in events].index("rollout.resumed")
    # what became of d1 is asked before any gate decides
    assert events[resumed + 1 :][:2] == [("device.outcome", "d1", "updated"), ("device.seen", "d1", None)]
    assert [event for event in events[resumed:] if event[0] == "device.pending" and event[1] == "d2"] == [
        ("device.pending", "d2", None)
    ]
    assert fleet.records()[-1]["data"]["result"] == "complete"
    assert set(fleet.running().values()) == {"2"}


def _cut_after(path: pathlib.Path, event: str) -> None:
    """The journal as it was when the controller died right after the first ``event``."""
    lines = path.read_text().splitlines(keepends=True)
    last = next(number for number, line in enumerate(lines) if json.loads(line)["event"] == event)
    path.write_text("".join(lines[: last + 1]))


def test_a_release_that_nobody_published_starts_nothing(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1")
    before = fleet.trees(state=True)
    for changes, part in (
        ({"fleet_ota_release": "gateway/9"}, "gateway/9"),
        ({"fleet_ota_trust_root": "/nonexistent/root.json"}, "/nonexistent/root.json"),
        ({"fleet_ota_waves": [{"group": "nobody"}]}, "nobody"),
    ):
        ran = fleet.play("rollout", **changes)
        assert ran.rc == 2, ran.text
        assert part in ran.text
        assert "Traceback" not in ran.text
    assert fleet.trees(state=True) == before
    assert not (fleet.folder / "journal").exists()


def test_a_way_back_from_what_nobody_started(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1")
    before = fleet.trees(state=True)
    ran = fleet.play("rollback", fleet_ota_rollout_id="gateway-2-00000000")
    assert ran.rc == 2
    assert "gateway-2-00000000" in ran.text
    assert fleet.trees(state=True) == before


def test_the_role_without_a_journal(make_fleet: MakeFleet) -> None:
    """In a play of the team's own, with its handlers; the device's own record tells what came of it."""
    fleet = make_fleet("good", "handler", "before")
    before = fleet.trees()
    no = {"ansible.builtin.fail": {"msg": "the team says no"}}
    handler = {
        "name": "The line runs",
        "listen": "check device health",
        "when": "inventory_hostname == 'handler'",
        **no,
    }
    fleet.variables["before"] = {"fleet_ota_hook_before": fleet.file("no.yml", [no])}
    role = {"role": "fleet.ota.update", "fleet_ota_bundle": fleet.publisher.saved(2)}
    play = {"hosts": "fleet", "gather_facts": False, "roles": [role], "handlers": [handler]}
    done = transactions(fleet)
    ran = fleet.play(fleet.file("own.json", [play]))
    assert fleet.running() == {"good": "2", "handler": "1", "before": "1"}
    assert {name: fleet.trees()[name] for name in ("handler", "before")} == {
        name: before[name] for name in ("handler", "before")
    }
    assert transactions(fleet) == {"good": done["good"] + 1, "handler": done["handler"] + 1, "before": done["before"]}
    assert fleet.devices["handler"].transaction["code"] == "TEAM_CHECK"
    assert not (fleet.folder / "journal").exists()
    assert "unreachable=0" in ran.text

    again = fleet.play(fleet.file("own.json", [play]), "--limit", "good")
    assert again.rc == 0, again.text
    assert "changed=0" in again.text
    assert fleet.devices["good"].transactions() == done["good"] + 1


def test_a_way_back_of_more_devices_than_forks_confirms_each_batch_before_the_next(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2", "d3")
    before = fleet.trees()
    assert fleet.play("rollout").rc == 0
    fleet.environment = {"ANSIBLE_FORKS": "2"}
    ran = fleet.play("rollback", fleet_ota_rollout_id=rollout_id(fleet))
    assert ran.rc == 0, ran.text
    assert ran.text.count("PLAY [Go back]") == 2
    assert fleet.trees() == before
    assert fleet.records()[-1]["data"]["result"] == "complete"


def test_a_device_with_another_become_password_waits_for_a_run_that_has_it(make_fleet: MakeFleet) -> None:
    """Without sshd: its client is a program that runs the command here."""
    fleet = make_fleet("d1", "d2")
    before = fleet.devices["d2"].tree(state=True)
    ssh = fleet.file(
        "ssh", '#!/bin/sh\ncase " $* " in *" -O "*) exit 0;; esac\nfor last; do :; done\nexec sh -c "$last"\n'
    )
    sudo = fleet.file("sudo", '#!/bin/sh\necho "sudo: a password is required" >&2\nexit 1\n')
    for program in (ssh, sudo):
        pathlib.Path(program).chmod(0o755)
    fleet.common.update(ansible_connection="ssh", ansible_ssh_executable=ssh)
    fleet.variables["d2"].update(ansible_become=True, ansible_become_exe=sudo)
    ran = fleet.play("rollout")
    assert fleet.outcomes() == {"d1": ("updated", None), "d2": ("deferred", "LOGIN")}
    assert "d2 (wave-1): deferred, LOGIN: Missing sudo password; give the right login" in " ".join(ran.text.split())
    assert fleet.devices["d2"].tree(state=True) == before
    fleet.variables["d2"].clear()
    ran = fleet.play("rollout")
    assert ran.rc == 0, ran.text
    assert fleet.running() == {"d1": "2", "d2": "2"}
