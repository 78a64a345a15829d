# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Where each of very many names is in a file, in 16 bytes for each: a device has little memory."""

from __future__ import annotations

import array
import bisect
import typing as t

_BITS = 24
_MOST = 1 << _BITS


class Index:
    """The place of each name, and its number in the order in which they were added.

    Of a name only a hash is kept, so whoever looks one up compares it with what is at the places given.
    """

    def __init__(self) -> None:
        self.places = array.array("Q")
        self._names = array.array("Q")
        self._sorted = True

    def __len__(self) -> int:
        return len(self.places)

    def add(self, name: str, place: int) -> None:
        """Note that ``name`` is at ``place``; ValueError for more than 16 million."""
        if len(self.places) >= _MOST:
            raise ValueError("more than %d entries" % _MOST)
        self._names.append(_key(name) | len(self.places))
        self.places.append(place)
        self._sorted = False

    def numbers(self, name: str) -> t.Iterator[int]:
        """The numbers of all that may be ``name``, hardly ever more than one, the first added first."""
        if not self._sorted:
            self._names = array.array("Q", sorted(self._names))
            self._sorted = True
        key = _key(name)
        position = bisect.bisect_left(self._names, key)
        while position < len(self._names) and self._names[position] & ~(_MOST - 1) == key:
            yield self._names[position] & (_MOST - 1)
            position += 1


def _key(name: str) -> int:
    return (hash(name) & ((1 << 40) - 1)) << _BITS
