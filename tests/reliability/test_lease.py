# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two controllers with journals of their own run the same rollout, and one that was replaced wakes up."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t

import pytest

from .device import Directory
from .releases import Releases

MINE, OTHER, THIRD = "a" * 64, "b" * 64, "c" * 64
Reply = dict[str, t.Any]
NO_GUARD: Reply = {"guard": "none", "deadline": 5}


def run(holder: str | None, generation: int = 1) -> Reply:
    """What a controller says of itself with each request."""
    found: Reply = {"rollout": "r1", "generation": generation, "holder": holder}
    return {key: value for key, value in found.items() if value is not None}


def code(reply: Reply) -> str | None:
    return (reply.get("error") or {}).get("code")


def state(device: Directory) -> str:
    return str(device.call("status")["state"])


def lease(device: Directory) -> Reply:
    return t.cast(Reply, json.loads((device.state / "lease.json").read_text()))


@pytest.fixture()
def opened(device: Directory, releases: Releases) -> Directory:
    """A device that waits for the confirm of ``MINE``."""
    assert device.apply(releases.get(2), **run(MINE))["state"] == "unconfirmed"
    return device


@pytest.fixture()
def taken(opened: Directory, releases: Releases) -> Directory:
    """:func:`opened`, taken over by ``OTHER`` since."""
    assert opened.apply(releases.get(2), **run(OTHER), take_over=True)["state"] == "unconfirmed"
    return opened


def test_the_second_finds_it_busy_while_it_is_open_and_can_do_nothing_to_it(
    opened: Directory, releases: Releases
) -> None:
    before = lease(opened)
    reply = opened.apply(releases.get(2), **run(OTHER))
    assert (code(reply), reply["outcome"]) == ("BUSY", "deferred"), reply
    assert MINE[:12] in reply["error"]["message"] and "fleet_ota_take_over" in reply["error"]["message"]
    for verb in ("confirm", "extend", "restore"):
        assert code(opened.call(verb, **run(OTHER))) == "BUSY", verb
    assert lease(opened) == before and state(opened) == "unconfirmed"
    assert opened.call("confirm", **run(MINE))["outcome"] == "updated"


def test_of_two_that_bring_payloads_at_once_the_first_to_begin_has_it(device: Directory, releases: Releases) -> None:
    release = releases.get(2)
    for holder in (MINE, OTHER):
        assert device.ask("apply", bundle=release.bundle, guard="process", **run(holder))["missing"], holder
    assert device.apply(release, **run(MINE))["state"] == "unconfirmed"
    assert code(device.apply(release, **run(OTHER))) == "BUSY"
    assert device.call("confirm", **run(MINE))["outcome"] == "updated"


def test_the_journal_that_has_it_goes_on_with_a_newer_generation(opened: Directory, releases: Releases) -> None:
    assert opened.apply(releases.get(2), **run(MINE, 2))["state"] == "unconfirmed"
    for verb in ("confirm", "extend", "restore"):
        reply = opened.call(verb, **run(MINE, 1))
        assert (code(reply), reply["outcome"]) == ("STALE", "refused"), verb
    assert state(opened) == "unconfirmed"
    assert opened.call("confirm", **run(MINE, 2))["outcome"] == "updated"


@pytest.mark.parametrize("verb", ["confirm", "extend", "restore"])
def test_a_newer_generation_has_it_from_whatever_it_asks_first(opened: Directory, verb: str) -> None:
    assert code(opened.call(verb, deadline=600, **run(MINE, 2))) is None
    assert lease(opened)["generation"] == 2


def test_who_was_taken_over_is_replaced_for_good(taken: Directory, releases: Releases) -> None:
    for verb in ("confirm", "extend", "restore"):
        assert code(taken.call(verb, **run(MINE))) == "STALE", verb
    assert state(taken) == "unconfirmed"
    assert taken.call("confirm", **run(OTHER))["outcome"] == "updated"
    reply = taken.apply(releases.get(2), **run(MINE))
    assert code(reply) == "STALE" and "another journal" in reply["error"]["message"], reply
    assert taken.apply(releases.get(2), **run(MINE, 2))["outcome"] == "updated", "run again, it may look"


def test_a_run_again_does_not_get_what_was_taken_over_and_is_open(taken: Directory, releases: Releases) -> None:
    assert code(taken.apply(releases.get(2), **run(MINE, 2))) == "BUSY"
    reply = taken.apply(releases.get(2), **run(MINE, 2), take_over=True)
    assert reply["state"] == "unconfirmed", "unless somebody says so"
    assert code(taken.call("confirm", **run(OTHER))) == "STALE"
    assert taken.call("confirm", **run(MINE, 2))["outcome"] == "updated"


def test_going_back_is_for_who_took_it_over(taken: Directory) -> None:
    assert code(taken.call("restore", **run(MINE))) == "STALE"
    assert taken.call("restore", **run(OTHER))["outcome"] == "restored"


@pytest.mark.parametrize("who", [{}, {"rollout": "r1"}, run(None)], ids=["nobody", "rollout", "without journal"])
def test_who_does_not_say_which_journal_is_let_in(taken: Directory, who: Reply) -> None:
    """A person at the device, a task without journal: the way back is open to them."""
    assert taken.call("restore", **who)["outcome"] == "restored"


def test_the_guard_needs_no_lease(taken: Directory) -> None:
    taken.end()
    found = json.loads((taken.state / "transaction.json").read_text())
    found["expires"]["clock"] = 0
    (taken.state / "transaction.json").write_text(json.dumps(found))
    argv = [sys.executable, "-I", "-S", "-B", str(taken.program), "guard", str(taken.root), "/var/lib/fleet-ota"]
    subprocess.run([*argv, found["id"], "deadline"], check=True)
    assert (state(taken), taken.call("status")["code"]) == ("restored", "DEADLINE")


def test_once_it_ended_a_new_journal_begins_at_one(device: Directory, releases: Releases) -> None:
    """The journal was lost: the next one counts from the start, and no take-over is needed."""
    device.apply(releases.get(2), **run(MINE, 5))
    assert device.call("confirm", **run(MINE, 5))["outcome"] == "updated"
    assert device.apply(releases.get(3), **run(OTHER))["state"] == "unconfirmed"
    assert device.call("confirm", **run(OTHER))["outcome"] == "updated"
    assert code(device.apply(releases.get(3), **run(MINE, 5))) == "STALE"


def test_what_nobody_guards_can_be_taken_over_when_its_deadline_has_passed(
    device: Directory, releases: Releases
) -> None:
    assert device.apply(releases.get(2), **run(MINE), **NO_GUARD)["state"] == "unconfirmed"
    assert code(device.apply(releases.get(2), **run(OTHER))) == "BUSY"
    found = json.loads((device.state / "transaction.json").read_text())
    found["expires"]["clock"] = 0
    (device.state / "transaction.json").write_text(json.dumps(found))
    assert device.apply(releases.get(2), **run(OTHER))["state"] == "unconfirmed"
    assert code(device.call("confirm", **run(MINE))) == "STALE"
    assert device.call("confirm", **run(OTHER))["outcome"] == "updated"


def test_a_way_back_has_a_journal_of_its_own(device: Directory, releases: Releases) -> None:
    device.apply(releases.get(2), **run(MINE, 3))
    assert device.call("confirm", **run(MINE, 3))["outcome"] == "updated"
    reply = device.call("rollback", guard="process", **run(OTHER))
    assert reply["state"] == "unconfirmed", reply
    assert code(device.call("rollback", **run(THIRD))) == "BUSY"
    assert code(device.call("confirm", **run(THIRD))) == "BUSY"
    assert code(device.call("restore", **run(THIRD))) == "BUSY"
    assert device.call("confirm", **run(OTHER))["outcome"] == "updated"
    assert device.call("info")["releases"]["app"]["current"]["version"] == "1"


def test_an_older_engine_s_lease_goes_on(opened: Directory, releases: Releases) -> None:
    old = {"rollout": "r1", "generation": 2, "known": {"r0": 4, "r9": 1}}
    (opened.state / "lease.json").write_text(json.dumps(old))
    assert code(opened.call("confirm", **run(MINE, 1))) == "STALE"
    assert opened.apply(releases.get(2), **run(MINE, 2))["state"] == "unconfirmed", "nobody said whose it is"
    assert code(opened.apply(releases.get(2), **run(OTHER, 2))) == "BUSY", "now somebody did"
    assert opened.call("confirm", **run(MINE, 2))["outcome"] == "updated"
    found = lease(opened)
    assert (found["rollout"], found["generation"], found["holder"]) == ("r1", 2, MINE)
    assert [part["rollout"] for part in found["before"]] == ["r9", "r0"], "newest first"
    assert code(opened.apply(releases.get(2), **dict(run(MINE, 3), rollout="r0"))) == "STALE"


def test_only_the_last_runs_are_remembered(device: Directory, releases: Releases) -> None:
    device.apply(releases.get(2), **run(MINE))
    device.call("confirm", **run(MINE))
    before = [{"rollout": "old%d" % number, "generation": 1, "holder": None} for number in range(40)]
    (device.state / "lease.json").write_text(json.dumps(dict(run(MINE), before=before)))
    device.apply(releases.get(3), **run(OTHER))
    kept = lease(device)["before"]
    assert (kept[0], kept[1:]) == (run(MINE), before[:31]), "who had it last comes first"
