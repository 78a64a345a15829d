# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is remembered against a release: its own failures, and what took the device down twice in one of its steps."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base import protocol
from ansible_collections.fleet.ota.plugins.module_utils._device.base.states import State
from ansible_collections.fleet.ota.plugins.module_utils._device.records import installed
from ansible_collections.fleet.ota.plugins.module_utils._device.records.transaction import Transaction
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout
from ansible_collections.fleet.ota.plugins.module_utils._device.transaction import finish, recover

DIGEST = "a" * 64
WAY = (State.VERIFIED, State.REHEARSED, State.SNAPSHOTTED, State.ARMED, State.INSTALLING, State.CHECKING)
UNTIL = {state: WAY[: WAY.index(state) + 1] for state in WAY}
UNTIL[State.UNCONFIRMED] = (*WAY, State.UNCONFIRMED)


@pytest.fixture()
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A device on which a way back does nothing but end."""

    def back(transaction: Transaction, code: str, message: str) -> None:
        transaction.advance(State.RESTORING, code=code, message=message)
        finish.finish(transaction, State.RESTORED, code, message)

    monkeypatch.setattr(recover, "go_back", back)
    found = Layout(str(tmp_path))
    found.prepare()
    return found


def tried(layout: Layout, state: State, mode: str = "boot", boots: int = 1, digest: str = DIGEST) -> Transaction:
    """A try of the release that is in ``state`` when the device went down so often, and what comes of it."""
    release: protocol.Release = {"name": "app", "version": "2", "counter": 2, "digest": digest}
    transaction = Transaction(layout, kind="update", release=release, guard="none")
    transaction.begin()
    for one in UNTIL[state]:
        transaction.advance(one)
    transaction.save(boots=boots, boot_id="the boot before" if boots else transaction.boot_id)
    recover._settle(transaction, mode, None)
    return transaction


def rejected(layout: Layout) -> t.Mapping[str, installed.Rejection]:
    return installed.Memory(layout).value["rejected"]


@pytest.mark.parametrize("mode", ["boot", "now"])
@pytest.mark.parametrize("state", [State.INSTALLING, State.CHECKING])
def test_the_second_time_in_one_step_is_the_release(layout: Layout, state: State, mode: str) -> None:
    first = tried(layout, state, mode)
    assert (first.outcome, first.code) == ("restored", "INTERRUPTED")
    assert "once more in this step" in first.message and not rejected(layout)
    second = tried(layout, state, mode)
    assert "not taken again" in second.message
    assert rejected(layout)[DIGEST]["code"] == "INTERRUPTED"
    assert "went down in state %s" % state in rejected(layout)[DIGEST]["message"]


def test_another_step_or_another_release_is_a_coincidence(layout: Layout) -> None:
    tried(layout, State.INSTALLING)
    tried(layout, State.CHECKING)
    tried(layout, State.INSTALLING, digest="b" * 64)
    assert not rejected(layout)


def test_before_anything_of_the_release_ran_it_says_nothing(layout: Layout) -> None:
    for _try in range(3):
        assert tried(layout, State.ARMED).message == "the device went down in state armed"
    assert not rejected(layout)


def test_an_engine_that_was_killed_says_nothing(layout: Layout) -> None:
    for _try in range(3):
        assert tried(layout, State.INSTALLING, "now", boots=0).code == "INTERRUPTED"
    assert not rejected(layout)


def test_one_that_keeps_going_down_once_it_was_healthy(layout: Layout) -> None:
    boots = recover.MOST_BOOTS + 1
    assert tried(layout, State.UNCONFIRMED, boots=boots).code == "DEADLINE" and not rejected(layout)
    tried(layout, State.UNCONFIRMED, boots=boots)
    assert rejected(layout)[DIGEST]["code"] == "DEADLINE"


def test_a_try_that_ends_twice_counts_once(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """The power goes between the note and the end of the transaction."""
    memory = installed.Memory(layout)
    assert [memory.went_down(DIGEST, "installing", "one") for _time in range(3)] == [1, 1, 1]
    assert installed.Memory(layout).went_down(DIGEST, "installing", "two") == 2


def test_what_was_confirmed_is_forgiven_and_old_notes_go(layout: Layout) -> None:
    tried(layout, State.INSTALLING)
    memory = installed.Memory(layout)
    memory.confirm({"name": "app", "version": "2", "counter": 2, "digest": DIGEST, "transaction": "x", "units": []})
    assert tried(layout, State.INSTALLING).message.endswith("is not taken again") and not rejected(layout)
    for number in range(30):
        memory.went_down("%064x" % number, "installing", "one")
    assert len(installed.Memory(layout).value["interrupted"]) == 20


def test_a_deadline_before_it_was_healthy_is_told_as_that(layout: Layout) -> None:
    found = tried(layout, State.INSTALLING, "deadline", boots=0)
    assert (found.code, found.message) == ("DEADLINE", "the release was still installing after 600 s")
    assert rejected(layout)[DIGEST]["code"] == "DEADLINE"
