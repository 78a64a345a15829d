# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Slices: how devices are shared, and how the rollout's journal adopts what a slice's says."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal import devices as remembered
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal import journal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.journal import Journal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.record import Record
from ansible_collections.fleet.ota.plugins.plugin_utils._control.rollout import slices
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.one_core

ROLLOUT = "gateway-2.0-1a2b3c4d"


@given(st.integers(0, 200), st.lists(st.integers(1, 50), min_size=1, max_size=8))
def test_everybody_has_one_worker_and_nobody_too_many(count: int, forks: list[int]) -> None:
    devices = [f"d{number}" for number in range(count)]
    pieces = slices.split(devices, forks)
    assert [name for piece in pieces for name in piece] == devices
    assert len(pieces) == len(forks)
    if count <= sum(forks):
        assert all(len(piece) <= most for piece, most in zip(pieces, forks, strict=True))


def test_shares_are_as_large_as_forks() -> None:
    assert [len(piece) for piece in slices.split(["d"] * 12, [4, 2])] == [8, 4]


@pytest.fixture
def book(tmp_path: pathlib.Path) -> Journal:
    """The rollout's journal, in a journal directory."""
    return Journal.begin(tmp_path / "main" / ROLLOUT / journal.NAME, ROLLOUT, {"generation": 3})


@pytest.fixture
def own(book: Journal, tmp_path: pathlib.Path) -> Journal:
    """A slice's journal."""
    return slices.begin(book, tmp_path / "worker" / ROLLOUT / journal.NAME, "north", 3)


def test_devices_of_a_slice_witness_the_rollout(book: Journal, own: Journal) -> None:
    at_the_beginning = book.checkpoint()
    own.pending("d1", 3)
    book.pending("d1", 3)
    assert own.checkpoint() == at_the_beginning
    assert book.holds(own.checkpoint())
    first = own.verify()[0]
    assert (first["event"], first["prev"]) == ("slice.started", at_the_beginning["head"])
    assert own.of_slice()
    assert not book.of_slice()


def test_each_record_is_adopted_once(book: Journal, own: Journal) -> None:
    adoption = slices.Adoption(book, "north", ["d1", "d2"])
    own.pending("d1", 3)
    outcome = own.outcome("d1", "restored", code="HEALTH", message="no answer", seconds=3.5)
    for _time in (1, 2):
        adoption.take(own.read()[1:], {"instance": "i", "sequence": 7})
    (found,) = book.verify()[1:]
    assert (found["device"], found["outcome"], found["code"], found["message"]) == (
        "d1",
        "restored",
        "HEALTH",
        "no answer",
    )
    assert found["data"] == {"seconds": 3.5, "worker": "north", "record": outcome["hash"], "time": outcome["time"]}
    assert adoption.outcomes == {"d1": "restored"}
    assert adoption.missing == {"d2"}
    memory = remembered.folder_of(book.path, ROLLOUT)
    assert memory and remembered.read(memory, "d1") == {"instance": "i", "sequence": 7}
    own.outcome("d1", "updated")
    adoption.take(own.read()[1:])
    assert adoption.outcomes == {"d1": "updated"}


@pytest.mark.parametrize("wrong", [{"device": "d9"}, {"outcome": "updated"}, {"rollout": "other-1-00000000"}])
def test_what_is_not_of_the_slice_is_not_adopted(book: Journal, own: Journal, wrong: dict[str, str]) -> None:
    adoption = slices.Adoption(book, "north", ["d1"])
    record = t.cast(Record, {**own.outcome("d1", "restored"), **wrong})
    before = book.path.read_bytes()
    with pytest.raises(slices.Foreign, match="north"):
        adoption.take([record])
    assert book.path.read_bytes() == before
