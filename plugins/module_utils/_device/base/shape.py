# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""How many values a JSON text has, before any of them takes memory: some bytes of text become hundreds in Python."""

from __future__ import annotations

import json
import os
import re

_BEGINS = re.compile(rb'["\[{,]')
_BACKSLASH = 0x5C
#: Pythons before 3.10 take ten times the length of a text with many escapes to read it whole.
LONG = 1 << 18
_PIECE = 1 << 16


class Shape:
    """A JSON text that comes in blocks and has ``most`` values, whatever the lengths of its texts."""

    def __init__(self, most: int) -> None:
        self._left = self._most = most
        self._is_in_text = self._is_escaped = False
        self._fed = self._began = 0
        #: Where texts of more than :data:`LONG` bytes begin and end, without their quotes.
        self.long: list[tuple[int, int]] = []

    def feed(self, block: bytes) -> None:
        """The next block; ValueError once there are too many values."""
        position = 0
        while position < len(block):
            if self._is_in_text:
                position = self._after_text(block, position)
                continue
            match = _BEGINS.search(block, position)
            if match is None:
                break
            position = match.end()
            if match.group() == b'"':
                self._is_in_text, self._began = True, self._fed + position
                continue
            self._left -= 1
            if self._left < 0:
                raise ValueError("it has more than %d values" % self._most)
        self._fed += len(block)

    def _after_text(self, block: bytes, position: int) -> int:
        """Where the text that ``position`` is in ends; the end of the block if it goes on in the next one."""
        if self._is_escaped:
            self._is_escaped = False
            return position + 1
        end = block.find(b'"', position)
        first = last = len(block) if end < 0 else end
        while first > position and block[first - 1] == _BACKSLASH:
            first -= 1
        is_escaped = bool((last - first) % 2)
        if end < 0:
            self._is_escaped = is_escaped
            return last
        self._is_in_text = is_escaped
        if not is_escaped and self._fed + end - self._began > LONG:
            self.long.append((self._began, self._fed + end))
        return end + 1


def require(text: bytes, most: int) -> bytes:
    """``text``; ValueError if it has more than ``most`` values."""
    Shape(most).feed(text)
    return text


def loads(line: bytearray, long: list[tuple[int, int]]) -> object:
    """The value of the JSON text ``line``, which is emptied; its :attr:`Shape.long` texts are read in pieces."""
    token = os.urandom(16).hex()
    texts: dict[object, str] = {}
    for begin, end in reversed(long):
        name = token + str(len(texts))
        pieces = _pieces(line, begin, end)
        line[begin:end] = name.encode()
        texts[name] = "".join(pieces)
    text = line.decode("utf-8")
    line.clear()
    value = json.loads(text)
    return _filled(value, texts) if texts else value


def _pieces(line: bytearray, begin: int, end: int) -> list[str]:
    pieces = []
    while begin < end:
        cut = min(begin + _PIECE, end)
        while cut < end and (b"\\" in line[cut - 12 : cut] or line[cut] & 0xC0 == 0x80):
            cut += 1  # not inside an escape, a pair of them, or a character
        pieces.append(str(json.loads(b'"' + bytes(line[begin:cut]) + b'"')))
        begin = cut
    return pieces


def _filled(value: object, texts: dict[object, str]) -> object:
    """``value`` with each name of a text replaced by it."""
    if isinstance(value, dict):
        return {texts.get(key, key): _filled(entry, texts) for key, entry in value.items()}
    if isinstance(value, list):
        return [_filled(entry, texts) for entry in value]
    return texts.get(value, value) if isinstance(value, str) else value
