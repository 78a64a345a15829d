# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""JSON documents with one list that may be very long: it stays where the document is, and 8 bytes of each entry are in
memory instead of some hundred."""

from __future__ import annotations

import array
import codecs
import json
import os
import re
import typing as t

_BLOCK = 1 << 16
#: Characters that one entry of a long list may have.
_LONGEST = 1 << 20
Hook = t.Callable[[t.List[t.Tuple[str, object]]], object]
#: Gives so many bytes of a document from an offset on, fewer at its end.
Source = t.Callable[[int, int], bytes]


def of_bytes(content: bytes) -> Source:
    """A document in memory."""
    view = memoryview(content)
    return lambda offset, size: bytes(view[offset : offset + size])


def of_file(path: str) -> Source:
    """A document in a file, which must stay as it is."""

    def read(offset: int, size: int) -> bytes:
        with open(path, "rb", buffering=0) as handle:
            return os.pread(handle.fileno(), size, offset)

    return read


class LongList(t.Sequence[object]):
    """A list of at least one entry, the first of which begins at byte ``start`` of ``source``. ValueError if it is not
    JSON."""

    def __init__(self, source: Source, start: int, hook: Hook) -> None:
        self._source, self._start, self._hook = source, start, hook
        self._ends = array.array("Q", (end for end, _value in _entries(source, start, hook)))

    @property
    def end(self) -> int:
        """Where the document goes on."""
        return self._ends[-1] + 1

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> t.Iterator[object]:
        return (value for _end, value in _entries(self._source, self._start, self._hook))

    def __getitem__(self, number: t.Any) -> t.Any:
        end = self._ends[number]
        start = self._ends[number - 1] + 1 if number else self._start
        return json.loads(self._source(start, end - start), object_pairs_hook=self._hook)


def load(source: Source, name: str, hook: Hook) -> object:
    """The value of a document; lists of mappings below keys of that ``name`` are :class:`LongList` where it is written
    without blanks, as canonical JSON is. ``hook`` makes all mappings. ValueError if it is not JSON.
    """
    # A quote after a comma or brace opens a text here: one that closes is followed by neither a letter nor a digit.
    pattern = re.compile(rb'[,{]"%s":\[(?=\{)' % name.encode())
    token = os.urandom(16).hex()
    lists: dict[object, LongList] = {}
    parts: list[bytes] = []
    offset, rest = 0, b""
    while True:
        block = source(offset + len(rest), _BLOCK)
        rest += block
        match = pattern.search(rest)
        if match is not None:
            values = LongList(source, offset + match.end(), hook)
            key = token + str(len(lists))
            lists[key] = values
            parts += [rest[: match.end() - 1], b'"%s"' % key.encode()]
            offset, rest = values.end, b""
            continue
        if not block:
            break
        kept = len(name) + 8  # the key may be cut in two
        parts.append(rest[:-kept])
        offset, rest = offset + len(rest[:-kept]), rest[-kept:]
    parts.append(rest)

    def filled(pairs: list[tuple[str, object]]) -> object:
        return hook([(key, lists.get(value, value) if isinstance(value, str) else value) for key, value in pairs])

    return json.loads(b"".join(parts), object_pairs_hook=filled)


def _entries(source: Source, start: int, hook: Hook) -> t.Iterator[tuple[int, object]]:
    """Each entry of the list, with the byte at which it ends."""
    decoder, utf8 = json.JSONDecoder(object_pairs_hook=hook), codecs.getincrementaldecoder("utf-8")()
    text, position, following, place = "", 0, start, start
    while True:
        try:
            value, end = decoder.raw_decode(text, position)
        except json.JSONDecodeError:
            end = len(text)
        if end == len(text):  # what comes behind it says whether this was all of it
            block = source(following, _BLOCK)
            if not block or len(text) - position > _LONGEST:
                raise ValueError("a list in it is cut off or holds something else than JSON")
            text, position, following = text[position:] + utf8.decode(block), 0, following + len(block)
            continue
        place += end - position if text.isascii() else len(text[position:end].encode())
        yield place, value
        place += 1
        if text[end] == "]":
            return
        if text[end] != ",":
            raise ValueError("entries of a list in it are not separated by commas")
        position = end + 1
