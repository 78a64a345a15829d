# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""``TypedDict`` for the mypy of a developer, and nothing of it on a device.

Each call of the engine is a start of Python. typing's own compiles every annotation of every key: for all nouns of
the engine that is 7 ms of CPU in each call.
"""

from __future__ import annotations

import typing as t

__all__ = ["TypedDict"]

if t.TYPE_CHECKING:
    from typing import TypedDict
else:

    class TypedDict(dict):
        """A noun as it is on a device: a plain dict, of which the class only says what its keys are."""

        def __init_subclass__(cls, total: bool = True) -> None:
            """Accept the argument that the type checker reads."""
