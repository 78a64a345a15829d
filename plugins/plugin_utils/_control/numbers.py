# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Numbers as people write them in variables."""

from __future__ import annotations

import typing as t


def is_whole(value: t.Any, least: int) -> bool:
    """Whether it is a whole number of at least ``least``."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_number(value: t.Any) -> bool:
    """Whether it is a number that can be compared."""
    # NaN compares false with everything and so falls out of the ranges asked for
    return isinstance(value, (int, float)) and not isinstance(value, bool)
