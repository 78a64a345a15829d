# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""``history.jsonl``: every transition of every transaction, bounded so that years of updates do not fill a device."""

from __future__ import annotations

import json
import typing as t

from ..base.protocol import Checkpoint
from ..base.typed import TypedDict
from ..system import durable
from ..system.layout import Layout

#: Records that stay; what the last transaction wrote stays whatever their number. A record has about 100 bytes.
MOST = 2000
#: Records above that before the file is written anew: rarely, for it costs the disk.
SLACK = 200


class Record(TypedDict, total=False):
    """One transition; ``time`` is UTC, RFC 3339."""

    time: str
    transaction: str
    state: str
    outcome: str
    code: str
    message: str
    checkpoint: Checkpoint


def path(layout: Layout) -> str:
    """Where it lies."""
    return layout.file("history.jsonl")


def last(layout: Layout) -> Record:
    """The newest whole record; empty if there is none."""
    newest = durable.last_line(path(layout))
    return t.cast(Record, newest) if isinstance(newest, dict) else {}


def add(layout: Layout, record: Record) -> None:
    """Append one record; on disk when this returns."""
    durable.append_line(path(layout), record)


def compact(layout: Layout, transaction: str) -> None:
    """Drop the oldest records, none of ``transaction``; old or new, the file is whole after a power cut."""
    try:
        with open(path(layout), "rb") as handle:
            lines = handle.read().splitlines(True)
    except FileNotFoundError:
        return
    if len(lines) <= MOST + SLACK:
        return
    first = len(lines) - MOST
    kept = [line for index, line in enumerate(lines) if index >= first or _of(line) == transaction]
    durable.write(path(layout), b"".join(kept))


def _of(line: bytes) -> object:
    """The transaction that a record is about."""
    try:
        record = json.loads(line)
    except ValueError:  # cut off by a loss of power
        return None
    return record.get("transaction") if isinstance(record, dict) else None
