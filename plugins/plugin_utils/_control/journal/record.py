# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""One record of a rollout journal: what it may say, and how it follows the one before (docs/reference/journal.md)."""

from __future__ import annotations

import datetime
import hashlib
import typing as t

from ..base import files
from ..base.errors import JournalError
from . import outcomes

VERSION = 1
EVENTS = frozenset(
    {
        "rollout.started",
        "rollout.resumed",
        "wave.started",
        "wave.turn",
        "wave.ended",
        "wave.analysis",
        "wave.approved",
        "slice.started",
        "slice.ended",
        "notify.sent",
        "notify.failed",
        "rollout.reset",
        "device.pending",
        "device.outcome",
        "device.seen",
        "rollout.ended",
        "audit.gap",
    }
)
#: With these a run of the rollout begins.
BEGINS = ("rollout.started", "rollout.resumed")
#: And with this the journal of a slice, on the machine that does it.
SLICE = "slice.started"

Record = dict[str, t.Any]


def intact(record: Record) -> bool:
    """Whether a record is as it was written."""
    return bool(record.get("hash") == _hash(record))


def stamp() -> str:
    """The moment, as records have it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def check(event: str, device: str | None, outcome: str | None) -> None:
    """Raise :class:`JournalError` for a record that the journal does not know or that lacks what it needs."""
    if event not in EVENTS:
        raise JournalError(f"{event!r} is not an event of the journal; use one of {', '.join(sorted(EVENTS))}")
    if event.startswith("device.") != bool(device):
        raise JournalError(f"{event}: {'needs' if not device else 'has no'} device; correct the call")
    if (event == "device.outcome") != bool(outcome) or (outcome and outcome not in outcomes.ALL):
        raise JournalError(f"{event}: {outcome!r} is not an outcome; use one of {', '.join(sorted(outcomes.ALL))}")


def complete(record: Record, rollout: str, seq: int, prev: str) -> Record:
    """``record`` as it stands in the file, as number ``seq`` after the one whose hash is ``prev``."""
    whole = {"v": VERSION, "seq": seq, "time": stamp(), "rollout": rollout, **record, "prev": prev}
    whole["hash"] = _hash(whole)
    return whole


def _hash(record: Record) -> str:
    return hashlib.sha256(files.canonical({key: value for key, value in record.items() if key != "hash"})).hexdigest()
