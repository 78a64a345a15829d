# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Who of a turn must not be touched now, and why."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from .outcomes import Standing

#: Variables of each host, as far as they matter here.
Inventory = t.Mapping[str, t.Mapping[str, t.Any]]


@dataclasses.dataclass(frozen=True)
class Deferral:
    """Why a device waits: a code of docs/reference/outcomes.md and a sentence with the next step."""

    code: str
    message: str


def find(
    plan: t.Mapping[str, t.Any],
    standings: t.Mapping[str, Standing],
    hosts: t.Sequence[str],
    inventory: Inventory,
    now: datetime.datetime,
) -> dict[str, Deferral]:
    """Those of ``hosts`` (one turn) that must wait at ``now`` (with a time zone), in their order."""
    return {}
