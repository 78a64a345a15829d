# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""A turn in slices: who does which devices, and one journal of what came of all of them (docs/scale.md).

Each slice has a journal of its own on the machine that does it. Its records are adopted by the rollout's as they come;
what never came is open, as for any device that was touched and not heard of since.
"""

from __future__ import annotations

import pathlib
import typing as t

from ..base.errors import JournalError
from ..journal.devices import folder_of, note
from ..journal.journal import Journal
from ..journal.record import SLICE, Record, intact, is_look, is_outcome


class Foreign(JournalError):
    """A worker sent what is not of its slice."""


def split(devices: t.Sequence[str], forks: t.Sequence[int]) -> list[list[str]]:
    """``devices`` in one piece for each of ``forks``, in their order and as large as its share of all forks.

    A piece may be empty. Nobody gets more than its forks as long as all together have enough.
    """
    whole, count = sum(forks), len(devices)
    ends, given = [], 0
    for number in forks:
        given += number
        ends.append(count * given // whole)
    sizes = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
    if count <= whole:
        _level(sizes, forks)
    pieces, begin = [], 0
    for size in sizes:
        pieces.append(list(devices[begin : begin + size]))
        begin += size
    return pieces


def _level(sizes: list[int], forks: t.Sequence[int]) -> None:
    """Move what rounding put beyond somebody's forks to whoever has room."""
    for index, most in enumerate(forks):
        for other in range(len(sizes)):
            moved = min(max(sizes[index] - most, 0), max(forks[other] - sizes[other], 0))
            sizes[index] -= moved
            sizes[other] += moved


def begin(book: Journal, path: pathlib.Path, worker: str, generation: int) -> Journal:
    """Make the journal of a slice in ``path``; it names ``book``, to which it belongs, by its checkpoint."""
    parent = book.checkpoint()
    data = {"parent": parent, "worker": worker, "generation": generation}
    return Journal.begin(path, parent["rollout"], data, prev=parent["head"], event=SLICE)


class Adoption:
    """Takes what one slice recorded over into the rollout's journal, each record once."""

    def __init__(self, book: Journal, worker: str, devices: t.Collection[str]) -> None:
        """``devices`` are those of the slice; ``worker`` is the name of the machine that does it."""
        self._book, self._worker, self._devices = book, worker, frozenset(devices)
        self._history = folder_of(book.path, book.last()["rollout"])
        self._hashes: set[str] = set()
        #: The devices' outcomes as far as they came, the latest of each.
        self.outcomes: dict[str, str] = {}

    @property
    def missing(self) -> set[str]:
        """The devices of which no outcome came."""
        return set(self._devices) - set(self.outcomes)

    def take(self, records: t.Iterable[Record], reply: t.Mapping[str, object] | None = None) -> None:
        """Adopt what one step recorded. ``reply`` has ``instance`` and ``sequence`` of the device, if it said so.

        Raises :class:`Foreign` for a record that was changed, is of another rollout or of a device that is not
        in the slice; those before it are adopted.
        """
        for record in records:
            device = str(record.get("device"))
            if not intact(record) or record["rollout"] != self._rollout or device not in self._devices:
                raise Foreign(
                    f"worker {self._worker} sent a record of {device} that is not of its slice or was changed; look at "
                    "that machine before it is used again"
                )
            # that a device is touched the rollout's journal knew before the slice began
            if not (is_outcome(record) or is_look(record)) or record["hash"] in self._hashes:
                continue
            self._hashes.add(record["hash"])
            self._append(record)
            if reply and self._history and is_outcome(record):
                note(self._history, device, reply)

    @property
    def _rollout(self) -> str:
        return str(self._book.last()["rollout"])

    def _append(self, record: Record) -> None:
        self._book.adopt(record, {"worker": self._worker, "record": record["hash"], "time": record["time"]})
        if is_outcome(record):
            self.outcomes[record["device"]] = record["outcome"]
