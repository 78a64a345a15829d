# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Numbers as people write them in variables."""

from __future__ import annotations

import math
import re
import typing as t


def is_whole(value: object, least: int) -> t.TypeGuard[int]:
    """Whether it is a whole number of at least ``least``."""
    return isinstance(value, int) and is_number(value) and value >= least


def is_number(value: object) -> t.TypeGuard[float]:
    """Whether it is a number that can be compared, counted with, and written as JSON: none of NaN and the infinite."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def from_text(value: object) -> object:
    """The number that a text names, as C(-e name=value) and surveys give them; anything else as it is."""
    if not (isinstance(value, str) and re.fullmatch(r"[0-9]+([.][0-9]+)?", value.strip())):
        return value
    return float(value) if "." in value else int(value)
