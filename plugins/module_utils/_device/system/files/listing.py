# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Manifests on the disk: one line of JSON for each path. They are read line by line, however many there are."""

from __future__ import annotations

import json
import os
import typing as t

from ...base.index import Index
from .. import durable
from .entries import Entry, Pair, order


def write_listing(path: str, pairs: t.Iterable[Pair]) -> None:
    """Write ``pairs``, which are in :func:`entries.order`, so that after a crash the file is there whole or not."""
    lines = (json.dumps(dict(entry, p=name), sort_keys=True).encode() + b"\n" for name, entry in pairs)
    durable.write_blocks(path, lines)


class Listing(t.Mapping[str, Entry]):
    """What :func:`write_listing` wrote to ``path``. OSError or ValueError if it cannot be read."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._index = Index()
        before, place, is_ordered = "", 0, True
        with open(path, "rb") as handle:
            for line in handle:
                if line.strip():
                    name = json.loads(line)["p"]
                    is_ordered = is_ordered and order(before) <= order(name)
                    self._index.add(name, place)
                    before = name
                place += len(line)
        #: An engine before this one sorted by the whole paths.
        self._is_ordered = is_ordered

    def __len__(self) -> int:
        return len(self._index)

    def __iter__(self) -> t.Iterator[str]:
        return (name for name, _entry in self.pairs())

    def __getitem__(self, path: str) -> Entry:
        with open(self._path, "rb") as handle:
            for number in self._index.numbers(path):
                name, entry = _at(handle, self._index.places[number])
                if name == path:
                    return entry
        raise KeyError(path)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and self.get(path) is not None

    def pairs(self) -> t.Iterator[Pair]:
        """Every path with its entry, in :func:`entries.order`."""
        with open(self._path, "rb") as handle:
            places: t.Iterable[int] = self._index.places
            if not self._is_ordered:
                places = sorted(places, key=lambda place: order(_at(handle, place)[0]))
            for place in places:
                yield _at(handle, place)


def _at(handle: t.IO[bytes], place: int) -> Pair:
    if handle.tell() != place:
        handle.seek(place, os.SEEK_SET)
    entry = json.loads(handle.readline())
    return entry.pop("p"), entry
