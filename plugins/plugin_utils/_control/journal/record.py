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
#: What every record has.
KEYS = frozenset({"v", "seq", "time", "rollout", "event", "data", "prev", "hash"})
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
#: How somebody lets a rollout go on that was taken back, or with an older copy of its journal.
RESET = "rollout.reset"

#: Decisions of a gate, and results of a run.
PROMOTE, HOLD, HALT = "promote", "hold", "halt"
COMPLETE, HALTED, HELD = "complete", "halted", "held"

#: What else belongs to an event; :mod:`state` gives it types.
Data = dict[str, t.Any]


class Record(t.TypedDict):
    """One line of a journal (docs/reference/journal.md)."""

    v: int
    seq: int
    time: str
    rollout: str
    event: str
    device: t.NotRequired[str]
    outcome: t.NotRequired[str]
    code: t.NotRequired[str]
    message: t.NotRequired[str]
    data: Data
    prev: str
    hash: str


class Entry(t.TypedDict):
    """A record that is not in a journal yet."""

    event: str
    device: t.NotRequired[str]
    outcome: t.NotRequired[str]
    code: t.NotRequired[str]
    message: t.NotRequired[str]
    data: Data


def begins_run(record: Record) -> bool:
    """Whether a run of the rollout begins with it."""
    return record["event"] in BEGINS


def begins_slice(record: Record) -> bool:
    """Whether devices are given to another machine with it."""
    return record["event"] == SLICE


def goes_on_with_older(record: Record) -> bool:
    """Whether somebody goes on with an older copy of the journal from here."""
    return record["event"] == RESET and bool(record["data"].get("ahead"))


def is_look(record: Record) -> bool:
    """Whether a device was looked at once more."""
    return record["event"] == "device.seen"


def is_outcome(record: Record) -> bool:
    """Whether it says what came of a device."""
    return record["event"] == "device.outcome"


def is_standing(record: Record) -> bool:
    """Whether a device stands by it: it was touched, or came to an outcome."""
    return record["event"] in ("device.pending", "device.outcome")


def copied(record: Record, more: Data) -> Entry:
    """The record of another journal, with ``more`` data, for this one."""
    entry: Entry = {"event": record["event"], "data": {**record["data"], **more}}
    for key in ("device", "outcome", "code", "message"):
        if record.get(key):
            entry[key] = record[key]
    return entry


def intact(record: Record) -> bool:
    """Whether a record is as it was written."""
    return bool(record.get("hash") == _hash(record))


def stamp() -> str:
    """The moment, as records have it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def require_valid(entry: Entry) -> None:
    """Raise :class:`JournalError` for a record that the journal does not know or that lacks what it needs."""
    event, device, outcome = entry["event"], entry.get("device"), entry.get("outcome")
    if event not in EVENTS:
        raise JournalError(f"{event!r} is not an event of the journal; use one of {', '.join(sorted(EVENTS))}")
    if event.startswith("device.") != bool(device):
        raise JournalError(f"{event}: {'needs' if not device else 'has no'} device; correct the call")
    if (event == "device.outcome") != bool(outcome) or (outcome and outcome not in outcomes.ALL):
        raise JournalError(f"{event}: {outcome!r} is not an outcome; use one of {', '.join(sorted(outcomes.ALL))}")


def complete(entry: Entry, rollout: str, seq: int, prev: str) -> Record:
    """``entry`` as it stands in the file, as number ``seq`` after the record whose hash is ``prev``."""
    whole = {"v": VERSION, "seq": seq, "time": stamp(), "rollout": rollout, **entry, "prev": prev}
    return t.cast(Record, {**whole, "hash": _hash(whole)})


def _hash(record: t.Mapping[str, object]) -> str:
    return hashlib.sha256(files.canonical({key: value for key, value in record.items() if key != "hash"})).hexdigest()
