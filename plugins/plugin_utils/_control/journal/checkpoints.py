# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Checkpoints of a journal, which devices keep as its witnesses (docs/reference/journal.md)."""

from __future__ import annotations

import typing as t


class Checkpoint(t.TypedDict):
    """``size`` is how many records there are and ``head`` the hash of the last.

    ``journal`` is the hash of the first, which no other journal has, not even one that is begun anew for the same
    rollout. ``since`` is the hash of the last record with which somebody went on with an older copy of the journal, if
    there is one. ``device`` is the name under which the journal knows the device to which it is sent.
    """

    rollout: str
    size: int
    head: str
    journal: str
    since: t.NotRequired[str]
    device: t.NotRequired[str]


def of_journal(mine: Checkpoint, witnessed: object) -> list[Checkpoint]:
    """Those of the checkpoints that a device says it keeps which are of the journal whose checkpoint is ``mine``.

    A device may say anything.
    """
    return [
        t.cast(Checkpoint, kept)
        for kept in (witnessed if isinstance(witnessed, list) else ())
        if isinstance(kept, dict) and isinstance(kept.get("size"), int) and isinstance(kept.get("head"), str)
        if all(kept.get(key) == mine.get(key) for key in ("rollout", "journal", "since"))
    ]


def chain(checkpoint: Checkpoint) -> str:
    """What tells the journal of ``checkpoint`` from any other, and from an older copy with which somebody went on."""
    return checkpoint.get("since") or checkpoint["journal"]
