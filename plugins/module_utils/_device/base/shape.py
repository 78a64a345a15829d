# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""How many values a JSON text has, before any of them takes memory: some bytes of text become hundreds in Python."""

from __future__ import annotations

import re

_BEGINS = re.compile(rb'["\[{,]')
_BACKSLASH = 0x5C


class Shape:
    """A JSON text that comes in blocks and has ``most`` values, whatever the lengths of its texts."""

    def __init__(self, most: int) -> None:
        self._left = self._most = most
        self._is_in_text = self._is_escaped = False

    def feed(self, block: bytes) -> None:
        """The next block; ValueError once there are too many values."""
        position = 0
        while position < len(block):
            if self._is_in_text:
                position = self._after_text(block, position)
                continue
            match = _BEGINS.search(block, position)
            if match is None:
                return
            position = match.end()
            if match.group() == b'"':
                self._is_in_text = True
                continue
            self._left -= 1
            if self._left < 0:
                raise ValueError("it has more than %d values" % self._most)

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
        return end + 1


def require(text: bytes, most: int) -> bytes:
    """``text``; ValueError if it has more than ``most`` values."""
    Shape(most).feed(text)
    return text
