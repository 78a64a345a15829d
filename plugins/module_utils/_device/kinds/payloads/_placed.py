# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What the engine put into a directory: a JSON list of relative paths, one on each line, read and written line by
line."""

from __future__ import annotations

import json
import typing as t

from ...base.index import Index
from ...system import durable


def write(path: str, names: t.Iterable[str]) -> None:
    """Keep ``names``, durably."""
    durable.write_blocks(path, _blocks(names))


def _blocks(names: t.Iterable[str]) -> t.Iterator[bytes]:
    before = b"["
    for name in names:
        yield before + b"\n " + json.dumps(name).encode()
        before = b","
    yield b"\n]\n"


class Placed(t.Container[str]):
    """What :func:`write` kept. FileNotFoundError without such a file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._index = Index()
        place = 0
        with open(path, "rb") as handle:
            for line in handle:
                name = _name(line)
                if name is not None:
                    self._index.add(name, place)
                place += len(line)

    def __contains__(self, name: object) -> bool:
        with open(self._path, "rb") as handle:
            for number in self._index.numbers(str(name)):
                handle.seek(self._index.places[number])
                if _name(handle.readline()) == name:
                    return True
        return False


def _name(line: bytes) -> str | None:
    text = line.strip().rstrip(b",")
    return str(json.loads(text)) if text.startswith(b'"') else None
