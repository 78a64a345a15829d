# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A device remembers what it has witnessed of a rollout's journal, and takes nothing from an older copy of it."""

from __future__ import annotations

import json
import typing as t

import pytest

from ..conftest import Device, Publisher
from ..transaction.test_transaction import apply

pytestmark = pytest.mark.one_python

FIRST, OTHER = "f" * 64, "e" * 64


def checkpoint(size: int, journal: str = FIRST, head: str | None = None, **more: t.Any) -> dict[str, t.Any]:
    return {"rollout": "r1", "size": size, "head": head or f"{size:064x}", "journal": journal, **more}


@pytest.fixture
def witness(device: Device, publisher: Publisher) -> Device:
    """A device that took release 1 when the journal had 7 records, and is offered release 2."""
    publisher.release(1)
    assert apply(device, publisher, checkpoint=checkpoint(7))["state"] == "unconfirmed"
    assert device.call("confirm")["outcome"] == "updated"
    publisher.release(2)
    return device


def test_a_journal_that_is_not_known_to_have_it_touches_nothing(witness: Device, publisher: Publisher) -> None:
    before = witness.tree(), sorted(path.name for path in witness.state.rglob("*"))
    wrong: dict[str, t.Any] = {"witnessed": {**checkpoint(7), "head": "0" * 64}}
    offers: list[tuple[dict[str, t.Any], dict[str, t.Any]]] = [(checkpoint(size), {}) for size in (1, 6, 9)]
    offers += [(checkpoint(7, head="0" * 64), {}), (checkpoint(9), wrong), (checkpoint(9), {"witnessed": {}})]
    for verb in ("apply", "rollback"):
        for offered, more in offers:
            # of a generation that would be too old as well: what the journal lacks comes first, and is no failure
            request = {"rollout": "r1", "generation": 0, "checkpoint": offered, "wait": 20, **more}
            reply = witness.call(verb, bundle=publisher.repository.bundle(), **request)
            assert (reply["error"]["code"], reply["outcome"]) == ("AHEAD", "deferred"), reply
            assert reply["error"]["detail"]["witness"] == checkpoint(7)
            assert "7 records of the journal of r1" in reply["error"]["message"]
    assert (witness.tree(), sorted(path.name for path in witness.state.rglob("*"))) == before
    # what was offered is not kept: the same again is refused again
    assert witness.call("info")["witness"] == [checkpoint(7)]


def test_a_journal_that_has_it_is_followed_and_witnessed_in_its_place(witness: Device, publisher: Publisher) -> None:
    reply = apply(witness, publisher, checkpoint=checkpoint(9), witnessed=checkpoint(7))
    assert reply["state"] == "unconfirmed", reply
    assert witness.call("info")["witness"] == [checkpoint(9)]
    assert witness.call("health")["witness"] == [checkpoint(9)]
    # the same request again goes on with what runs
    reply = witness.call(
        "apply", bundle=publisher.repository.bundle(), rollout="r1", generation=1, checkpoint=checkpoint(9)
    )
    assert reply["state"] == "unconfirmed", reply


def test_each_journal_is_compared_with_itself_alone(witness: Device, publisher: Publisher) -> None:
    """Begun anew, or gone on with deliberately: another chain, whose generations begin again."""
    for number, offered in enumerate((checkpoint(2, OTHER), checkpoint(3, since=OTHER[:-1] + "1"))):
        reply = apply(witness, publisher, generation=1, rollout="r1", checkpoint=offered)
        assert reply["state"] == "unconfirmed", reply
        assert len(witness.call("info")["witness"]) == 2 + number
        witness.call("restore", wait=20)
        publisher.release(3 + number)
    # and the first one is still held against what it showed
    assert apply(witness, publisher, checkpoint=checkpoint(5))["error"]["code"] == "AHEAD"


def test_a_controller_whose_journal_was_replaced_is_refused_until_its_next_run(
    device: Device, publisher: Publisher
) -> None:
    publisher.release(1)
    lost = {"generation": 5, "checkpoint": checkpoint(7)}
    assert apply(device, publisher, **lost)["state"] == "unconfirmed"
    device.call("restore", wait=20)
    publisher.release(2)
    anew = apply(device, publisher, generation=1, checkpoint=checkpoint(2, OTHER))
    assert anew["state"] == "unconfirmed", anew
    device.call("restore", wait=20)
    publisher.release(3)
    assert apply(device, publisher, **lost)["error"]["code"] == "STALE"
    asked = {"checkpoint": checkpoint(9), "witnessed": checkpoint(7)}
    assert apply(device, publisher, generation=6, **asked)["state"] == "unconfirmed"


def test_only_the_last_journals_are_kept(witness: Device, publisher: Publisher) -> None:
    kept = [checkpoint(2, f"{number:064x}") for number in range(8)]
    (witness.state / "witness.json").write_text(json.dumps({"format": 1, "kept": kept}))
    assert apply(witness, publisher, checkpoint=checkpoint(3, OTHER))["state"] == "unconfirmed"
    assert witness.call("info")["witness"] == [*kept[1:], checkpoint(3, OTHER)]


def test_a_check_is_refused_and_leaves_nothing(witness: Device, publisher: Publisher) -> None:
    before = sorted((path, path.read_bytes()) for path in witness.state.rglob("*.json"))
    assert apply(witness, publisher, check=True, checkpoint=checkpoint(1))["error"]["code"] == "AHEAD"
    asked = {"rollout": "r1", "generation": 1, "checkpoint": checkpoint(9), "witnessed": checkpoint(7)}
    assert witness.call("apply", bundle=publisher.repository.bundle(), check=True, **asked)["missing"]
    assert sorted((path, path.read_bytes()) for path in witness.state.rglob("*.json")) == before
