# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What one record did to the state of a rollout, for whatever follows a journal as it grows."""

from __future__ import annotations

import dataclasses
import typing as t

Point = t.Literal["before", "turn", "after"]


@dataclasses.dataclass(frozen=True)
class Began:
    """A run began; ``planned`` if it follows another plan than the run before."""

    generation: int
    resumed: bool
    planned: bool


@dataclasses.dataclass(frozen=True)
class Decided:
    """A gate decided, before a wave, before a batch of it, or after the wave."""

    point: Point
    wave: int
    decision: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Touched:
    """A device is about to be touched."""

    device: str


@dataclasses.dataclass(frozen=True)
class Heard:
    """A device came to an outcome."""

    device: str
    outcome: str
    code: str | None
    message: str | None


@dataclasses.dataclass(frozen=True)
class Concluded:
    """A run concluded with this result."""

    result: str


Change = Began | Decided | Touched | Heard | Concluded
