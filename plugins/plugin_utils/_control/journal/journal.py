# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The rollout journal: append-only, hash-chained, on disk before the call returns (docs/reference/journal.md)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import typing as t

from ..base import files
from ..base.errors import JournalError
from . import checkpoints, index, outcomes, runs
from . import record as entries
from .checkpoints import Checkpoint
from .record import Data, Entry, Record
from .state import Run, State

if t.TYPE_CHECKING:
    from .index import Index

Answer = t.TypeVar("Answer")

NAME = "journal.jsonl"
GENESIS = "0" * 64
#: Longest text kept from a device's message, in characters: a device must not be able to fill the controller's disk.
LONGEST = 4000


class Journal:
    """One rollout's journal file. Every call opens it anew, so that any process may append at any time."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = pathlib.Path(path)

    # -- writing ------------------------------------------------------------------------------------------------

    def append(
        self,
        event: str,
        *,
        device: str | None = None,
        outcome: str | None = None,
        code: str | None = None,
        message: str | None = None,
        data: t.Mapping[str, object] | None = None,
    ) -> Record:
        """Add one record and return it; it is on disk when this returns.

        Raises :class:`JournalError` for an event or outcome that does not exist, a missing journal (only
        :meth:`begin` makes one), or a disk that cannot take it.
        """
        entry: Entry = {"event": event, "data": dict(data or {})}
        if device:
            entry["device"] = device
        if outcome:
            entry["outcome"] = outcome
        if code:
            entry["code"] = code
        if message:
            entry["message"] = message
        return self._add(entry)

    def adopt(self, record: Record, more: Data) -> Record:
        """Add the record of a slice's journal, with ``more`` data. Raises like :meth:`append`."""
        return self._add(entries.copied(record, more))

    def pending(self, device: str, generation: int) -> Record:
        """Record that ``device`` is about to be touched."""
        return self.append("device.pending", device=device, data={"generation": generation})

    def outcome(
        self, device: str, outcome: str, *, code: str | None = None, message: str | None = None, **data: object
    ) -> Record:
        """Record what came of ``device``; the latest counts. ``data``: transaction, before, after, seconds."""
        return self.append("device.outcome", device=device, outcome=outcome, code=code, message=message, data=data)

    def seen(self, device: str, *, healthy: bool | None, release: str | None = None, **data: object) -> Record:
        """Record that ``device`` was looked at once more; ``healthy`` is None if it could not be told (``reason``)."""
        return self.append("device.seen", device=device, data={"release": release, "healthy": healthy, **data})

    @classmethod
    def begin(
        cls,
        path: str | os.PathLike[str],
        rollout: str,
        data: t.Mapping[str, object],
        prev: str = GENESIS,
        event: str = "rollout.started",
    ) -> Journal:
        """Make the journal with its first record, ``rollout.started``, or :data:`entries.SLICE` for that of a slice.

        ``prev`` is the head of the rollout before it, for a slice that of the journal it belongs to. Raises
        FileExistsError if the journal is there.
        """
        journal = cls(path)
        files.make_directory(journal.path.parent, 0o700)
        record = entries.complete({"event": event, "data": dict(data)}, rollout, 0, prev)
        files.write_new(journal.path, files.canonical(record) + b"\n", 0o600)
        return journal

    # -- reading ------------------------------------------------------------------------------------------------

    def read(self) -> list[Record]:
        """Every whole record, oldest first; a torn last line is left out.

        Raises :class:`JournalError` if the file is missing or a whole line is not a record.
        """
        with self._reading() as handle:
            content = handle.read()
        return [self._parse(line, number) for number, line in enumerate(content.split(b"\n")[:-1], 1)]

    def verify(self) -> list[Record]:
        """:meth:`read`, and every record is where it was written, as it was written.

        Raises :class:`JournalError` naming the first line that is not. Cutting off whole records at the end shows
        only against a checkpoint that a device keeps: see :meth:`holds`.
        """
        records = self.read()
        before: Record | None = None
        for number, record in enumerate(records, 1):
            if not entries.intact(record):
                raise self._error(
                    f"line {number} was changed after it was written; compare with the devices' checkpoints"
                )
            if record["seq"] != number - 1 or (before and record["prev"] != before["hash"]):
                raise self._error(f"line {number} does not follow the line before it; records were removed or moved")
            before = record
        if not records:
            raise self._error("is empty; restore it from a backup")
        return records

    def state(self) -> State:
        """What the records add up to, from one pass over the chain. Raises like :meth:`verify`."""
        return State.of(self.verify())

    def last(self) -> Record:
        """The last whole record. Raises :class:`JournalError` if there is none."""
        with self._reading() as handle:
            line, _end = _tail(handle.fileno())
        return self._parse(line, None)

    # -- what one device of a wave asks: by the index, so that it costs the same in a small journal and a large one ---

    def checkpoint(self) -> Checkpoint:
        """What devices keep as witnesses of what is on disk now: a record that is being written is waited for.

        The journal of a slice gives that of the journal it belongs to: this is the one that is kept, and that devices
        shall witness.
        """
        return self._ask(self._checkpoint, wait=True)

    def holds(self, checkpoint: Checkpoint) -> bool:
        """Whether the journal still has what ``checkpoint`` (kept by a device) witnessed.

        The journal of a slice has the length only of the one it belongs to: an older copy shows, another one does not.
        """
        return self._ask(lambda places: self._holds(places, checkpoint))

    def lacking(self, witnessed: object) -> Checkpoint | None:
        """The first of the checkpoints that a device says it keeps which is of this journal, and which it lacks.

        A device may say anything.
        """

        def lacking(index: Index) -> Checkpoint | None:
            own = checkpoints.of_journal(self._checkpoint(index), witnessed)
            return next((kept for kept in own if not self._holds(index, kept)), None)

        return self._ask(lacking, wait=True)

    def latest(self, device: str) -> str | None:
        """The outcome of one device, None if it was touched since or never."""
        last = self.latest_record(device)
        return last.get("outcome") if last else None

    def latest_record(self, device: str) -> Record | None:
        """The ``device.pending`` or ``device.outcome`` that counts for one device; None if there is none."""
        return self._ask(lambda places: places.latest(device, (index.STANDING,)))

    def unresolved(self, device: str) -> bool:
        """Whether one device was touched and nobody knows yet what became of it."""
        last = self.latest_record(device)
        return last is not None and last.get("outcome", "pending") in outcomes.UNRESOLVED

    def sight(self, device: str) -> tuple[bool | None, str | None] | None:
        """How the device looked (healthy, release) if it was looked at since it was touched; None if it was not."""
        last = self._ask(lambda places: places.latest(device, (index.STANDING, index.LOOK)))
        if last is None or not entries.is_look(last):
            return None
        return last["data"].get("healthy"), last["data"].get("release")

    def of_slice(self) -> bool:
        """Whether this is the journal of a slice, whose records another machine adopts."""
        return self._ask(lambda places: places.slice)

    def require_newest(self, generation: int | None) -> None:
        """Raise :class:`JournalError` (``STALE``) if a newer run than ``generation`` follows the rollout."""

        def newest(index: Index) -> Record | None:
            # the first record of a run holds its plan: it is not parsed for every device
            return index.newest_run() if generation is not None and index.generation > generation else None

        begin = self._ask(newest)
        if begin:
            runs.require_newest(Run.begun(begin), generation)

    def _ask(self, question: t.Callable[[Index], Answer], *, wait: bool = False) -> Answer:
        """The answer of the index; with ``wait`` a record that is being written is waited for."""
        for _attempt in range(2):
            with self._reading() as handle, contextlib.suppress(index.Unfit):
                if wait:
                    fcntl.flock(handle, fcntl.LOCK_SH)
                with index.opened(self.path, handle.fileno()) as current:
                    return question(current)
            index.discard(self.path)
        raise self._error("has lines that do not follow each other; records were removed or moved")

    def _checkpoint(self, index: Index) -> Checkpoint:
        if not index.count:
            raise self._error("is empty; restore it from a backup")
        if index.slice:
            return self._parent(index)
        rollout = self._parse(index.line(index.count - 1), index.count)["rollout"]
        checkpoint: Checkpoint = {
            "rollout": rollout,
            "size": index.count,
            "head": index.head,
            "journal": index.first,
        }
        if index.since:
            checkpoint["since"] = index.since
        return checkpoint

    def _holds(self, index: Index, checkpoint: Checkpoint) -> bool:
        size = checkpoint["size"]
        if index.slice:
            parent = self._parent(index)
            return 0 < size < parent["size"] or checkpoint["head"] == parent["head"]
        if not 0 < size <= index.count:
            return False
        return self._parse(index.line(size - 1), size)["hash"] == checkpoint["head"]

    def _parent(self, index: Index) -> Checkpoint:
        return t.cast(Checkpoint, self._parse(index.line(0), 1)["data"]["parent"])

    # -- details ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _reading(self) -> t.Iterator[t.BinaryIO]:
        try:
            with self.path.open("rb") as handle:
                yield handle
        except OSError as error:
            raise self._error(f"cannot be read ({error.strerror}); give the path of a journal.jsonl") from error

    def _add(self, entry: Entry) -> Record:
        entries.require_valid(entry)
        if len(entry.get("message", "")) > LONGEST:
            entry["message"] = entry["message"][:LONGEST] + "..."
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise self._error(f"cannot be opened ({error.strerror}); start the rollout with state: started") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            return self._append(fd, entry)
        except OSError as error:
            raise self._error(f"cannot be written ({error.strerror}); nothing may be touched unrecorded") from error
        finally:
            os.close(fd)

    def _append(self, fd: int, entry: Entry) -> Record:
        line, end = _tail(fd)
        last = self._parse(line, None)
        size = os.fstat(fd).st_size
        if end < size:
            os.ftruncate(fd, end)
            gap = entries.complete(
                {"event": "audit.gap", "data": {"bytes": size - end}}, last["rollout"], last["seq"] + 1, last["hash"]
            )
            end = _write(fd, end, gap)
            last = gap
        complete = entries.complete(entry, last["rollout"], last["seq"] + 1, last["hash"])
        _write(fd, end, complete)
        return complete

    def _parse(self, line: bytes, number: int | None) -> Record:
        where = f"line {number}" if number else "the last line"
        try:
            record = json.loads(line)
        except ValueError:
            raise self._error(f"{where} is not JSON; restore the file from a backup") from None
        if not isinstance(record, dict) or record.get("v") != entries.VERSION or not record.keys() >= entries.KEYS:
            raise self._error(
                f"{where} is not a record of format {entries.VERSION}; update the collection or restore the file"
            )
        return t.cast(Record, record)

    def _error(self, reason: str) -> JournalError:
        return JournalError(f"the journal {self.path} {reason}")


def _tail(fd: int) -> tuple[bytes, int]:
    """The last whole line of the file, and where it ends (after its line feed)."""
    size = os.fstat(fd).st_size
    window = 1 << 16
    while True:
        start = max(0, size - window)
        block = os.pread(fd, size - start, start)
        end = block.rfind(b"\n")
        begin = block.rfind(b"\n", 0, max(end, 0))
        if (end >= 0 and begin >= 0) or start == 0:
            return block[begin + 1 : max(end, 0)], start + end + 1
        window *= 4


def _write(fd: int, end: int, record: Record) -> int:
    """Write ``record`` at ``end`` in one piece, fsync, and return where it ends; on failure nothing of it stays."""
    line = files.canonical(record) + b"\n"
    try:
        written = os.pwrite(fd, line, end)
        if written != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(fd)
    except OSError:
        os.ftruncate(fd, end)
        raise
    return end + len(line)
