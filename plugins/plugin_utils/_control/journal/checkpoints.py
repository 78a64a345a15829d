# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Checkpoints of a journal, which devices keep as its witnesses (docs/reference/journal.md)."""

from __future__ import annotations

import typing as t

from .record import Record


def of(records: t.Sequence[Record]) -> dict[str, t.Any]:
    """What devices keep as witnesses: ``{rollout, size, head, journal}``, and ``since``.

    ``size`` is how many records there are and ``head`` the hash of the last; ``journal`` is the hash of the first,
    which no other journal has, not even one that is begun anew for the same rollout. ``since`` is the hash of the last
    record with which somebody went on with an older copy of the journal, if there is one. Needs no other records.
    """
    last = records[-1]
    found = {"rollout": last["rollout"], "size": last["seq"] + 1, "head": last["hash"], "journal": records[0]["hash"]}
    resets = [
        record["hash"] for record in records if record["event"] == "rollout.reset" and record["data"].get("ahead")
    ]
    return {**found, "since": resets[-1]} if resets else found


def holds(records: t.Sequence[Record], checkpoint: t.Mapping[str, t.Any]) -> bool:
    """:meth:`journal.Journal.holds` for the journal of a rollout with these records."""
    size = checkpoint["size"]
    return 0 < size <= len(records) and bool(records[size - 1]["hash"] == checkpoint["head"])


def own(mine: t.Mapping[str, t.Any], witnessed: t.Any) -> list[t.Mapping[str, t.Any]]:
    """:meth:`journal.Journal.own` for the journal whose checkpoint is ``mine``."""
    return [
        kept
        for kept in (witnessed if isinstance(witnessed, list) else ())
        if isinstance(kept, dict) and isinstance(kept.get("size"), int) and isinstance(kept.get("head"), str)
        if all(kept.get(key) == mine.get(key) for key in ("rollout", "journal", "since"))
    ]


def chain(checkpoint: t.Mapping[str, t.Any]) -> str:
    """What tells the journal of ``checkpoint`` from any other, and from an older copy with which somebody went on."""
    return str(checkpoint.get("since") or checkpoint["journal"])
