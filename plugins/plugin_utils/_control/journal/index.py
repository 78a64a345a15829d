# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Where a device's records stand in a journal, so that what one device's step costs does not grow with the journal.

A file beside the journal, one for each machine that works on it. It holds places and no content: every answer is read
from the journal. It is used only while it fits the journal (length, and hash of the last record that it covers), takes
in what was appended since, and is made anew otherwise. It may be deleted at any time and is evidence of nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import struct
import tempfile
import typing as t
import zlib

from ..base import files
from ..base.errors import JournalError
from . import host
from .record import Record, begins_run, begins_slice, goes_on_with_older, is_look, is_standing

#: What a record is to its device.
OTHER, STANDING, LOOK = range(3)

_MAGIC = b"FOTAIDX1"
#: magic, boot, whether a change of the index is unfinished, whether the journal is that of a slice, records, bytes
#: covered, where the last record begins, where the newest run begins, its generation, hashes: of the last record, of
#: the first, of the last one that goes on with an older copy
_HEADER = struct.Struct("<8s36sBB2xQQQQQ64s64s64s")
#: where the record begins, number (from 1) of the entry before it in its bucket, checksum of the device's name, kind
_ENTRY = struct.Struct("<QIIB3x")
_HEAD = struct.Struct("<I")
_BUCKETS = 1 << 15
_HEADS_AT = 512
_ENTRIES_AT = _HEADS_AT + _BUCKETS * _HEAD.size


class Unfit(Exception):
    """The index does not fit the journal."""


class Index:
    """An index that covers every whole record of its journal; valid as long as :func:`opened` holds it."""

    def __init__(self, journal: int, file: int) -> None:
        """``journal`` and ``file`` are descriptors of the journal and of the index."""
        self._journal, self._file = journal, file
        self._forget()

    def _forget(self) -> None:
        self.count = self.covered = self._last = self._run = self.generation = 0
        self.slice = False
        self.head = self.first = self.since = ""

    # -- asking --------------------------------------------------------------------------------------------------

    def line(self, number: int) -> bytes:
        """The record with this number (from 0) as it stands in the journal, without its line feed."""
        begin = self._entry(number)[0]
        end = self._entry(number + 1)[0] if number + 1 < self.count else self.covered
        return self._bytes(begin, end)[:-1]

    def latest(self, device: str, kinds: t.Container[int]) -> Record | None:
        """The newest record of ``device`` that is of one of ``kinds``; None if there is none. Raises :class:`Unfit`."""
        checksum = _checksum(device)
        number = self._first_of(checksum)
        while number:
            _begin, before, name, kind = self._entry(number - 1)
            if name == checksum and kind in kinds:
                record = self._record(number - 1)
                if record.get("device") == device:
                    return record
            number = before
        return None

    def newest_run(self) -> Record | None:
        """The record with which the newest run began; None in the journal of a slice. Raises :class:`Unfit`."""
        return self._record(self._run - 1) if self._run else None

    def _record(self, number: int) -> Record:
        try:
            record = json.loads(self.line(number))
        except ValueError:
            raise Unfit from None
        if not isinstance(record, dict) or record.get("seq") != number:
            raise Unfit
        return t.cast(Record, record)

    # -- keeping up ----------------------------------------------------------------------------------------------

    def load(self) -> bool:
        """Whether the file is an index of this boot that fits the journal as far as it goes."""
        block = os.pread(self._file, _HEADER.size, 0)
        if len(block) < _HEADER.size:
            return False
        magic, boot, unfinished, is_slice, *numbers, head, first, since = _HEADER.unpack(block)
        # after a power cut some pages may be older than others
        if magic != _MAGIC or boot != _boot() or unfinished:
            return False
        self.slice = bool(is_slice)
        self.count, self.covered, self._last, self._run, self.generation = numbers
        self.head, self.first, self.since = (
            text.rstrip(b"\0").decode("ascii", "replace") for text in (head, first, since)
        )
        if not self.count:
            return not self.covered
        # a file that was cut off would say of devices that they were never touched
        if os.fstat(self._file).st_size < _ENTRIES_AT + self.count * _ENTRY.size:
            return False
        if not self._last < self.covered <= os.fstat(self._journal).st_size:
            return False
        line = self._bytes(self._last, self.covered)
        return line.endswith(b"\n") and b'"hash":"%s"' % head in line

    def reset(self) -> None:
        """Begin anew."""
        self._forget()
        os.ftruncate(self._file, 0)

    def catch_up(self) -> None:
        """Take in every whole record that the journal has beyond what is covered. Raises :class:`ValueError`."""
        size = os.fstat(self._journal).st_size
        if size <= self.covered:
            return
        block = self._bytes(self.covered, size)
        lines = block[: block.rfind(b"\n") + 1].splitlines(keepends=True)
        if not lines:
            return
        self._save(unfinished=True)
        place, entries, heads = _ENTRIES_AT + self.count * _ENTRY.size, bytearray(), dict[int, int]()
        for line in lines:
            record = json.loads(line)
            checksum, kind, before = 0, OTHER, 0
            if record.get("device") and (is_standing(record) or is_look(record)):
                checksum, kind = _checksum(record["device"]), STANDING if is_standing(record) else LOOK
                before = heads.get(checksum % _BUCKETS) or self._first_of(checksum)
                heads[checksum % _BUCKETS] = self.count + 1
            entries += _ENTRY.pack(self.covered, before, checksum, kind)
            self._take(record, line)
        _write(self._file, bytes(entries), place)
        for bucket, number in heads.items():
            _write(self._file, _HEAD.pack(number), _HEADS_AT + bucket * _HEAD.size)
        self._save(unfinished=False)

    def _take(self, record: Record, line: bytes) -> None:
        if not self.count:
            self.first, self.slice = record["hash"], begins_slice(record)
        self.count += 1
        self._last, self.covered, self.head = self.covered, self.covered + len(line), record["hash"]
        if begins_run(record):
            self._run, self.generation = self.count, int(record["data"].get("generation", 0))
        if goes_on_with_older(record):
            self.since = record["hash"]

    def _save(self, *, unfinished: bool) -> None:
        numbers = (self.count, self.covered, self._last, self._run, self.generation)
        hashes = (text.encode("ascii") for text in (self.head, self.first, self.since))
        _write(self._file, _HEADER.pack(_MAGIC, _boot(), unfinished, self.slice, *numbers, *hashes), 0)

    def _first_of(self, checksum: int) -> int:
        block = os.pread(self._file, _HEAD.size, _HEADS_AT + checksum % _BUCKETS * _HEAD.size)
        return int(_HEAD.unpack(block)[0]) if len(block) == _HEAD.size else 0

    def _entry(self, number: int) -> tuple[int, int, int, int]:
        block = os.pread(self._file, _ENTRY.size, _ENTRIES_AT + number * _ENTRY.size)
        if len(block) < _ENTRY.size:
            raise Unfit
        begin, before, name, kind = _ENTRY.unpack(block)
        if begin >= self.covered or before > number:
            raise Unfit
        return begin, before, name, kind

    def _bytes(self, begin: int, end: int) -> bytes:
        block = b""
        while len(block) < end - begin and (
            more := os.pread(self._journal, end - begin - len(block), begin + len(block))
        ):
            block += more
        return block


@contextlib.contextmanager
def opened(path: pathlib.Path, journal: int) -> t.Iterator[Index]:
    """The index of the journal ``path``, open as ``journal``, up to date; held alone.

    Where it cannot be kept (a folder that is not ours, no space), one is made for this time only.
    Raises :class:`JournalError` for a journal with a line that is no record.
    """
    file = _open(path)
    if file is not None:
        try:
            index = _kept(path, journal, file)
            if index:
                yield index
                return
        finally:
            os.close(file)
    with _spare() as spare:
        yield _fit(path, journal, spare.fileno())


def discard(path: pathlib.Path) -> None:
    """Remove the index of the journal ``path``; the next use makes it anew."""
    with contextlib.suppress(OSError):
        place(path).unlink()


def place(path: pathlib.Path) -> pathlib.Path:
    """Where this machine's index of the journal ``path`` is: machines share a disk, and not what is in memory."""
    return path.with_name(f"{path.name}.index-{host.fingerprint()}")


def _spare() -> t.IO[bytes]:
    """A file for an index that nobody keeps: in memory where the kernel can, for the disk may be what is full."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("fleet-ota-index", os.MFD_CLOEXEC), "r+b")
    return tempfile.TemporaryFile()


def _open(path: pathlib.Path) -> int | None:
    """A descriptor of the index; None where none can be kept."""
    if not host.boot():  # after a power cut nothing would tell that the index is older than it looks
        return None
    try:
        return files.open_private(place(path), os.O_RDWR)
    except OSError:
        return None


def _kept(path: pathlib.Path, journal: int, file: int) -> Index | None:
    """The index in ``file``, held alone and up to date; None if it cannot be brought up to date."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        return _fit(path, journal, file)
    except OSError:
        return None


def _fit(path: pathlib.Path, journal: int, file: int) -> Index:
    index = Index(journal, file)
    try:
        if not index.load():
            index.reset()
        index.catch_up()
    except (ValueError, LookupError, TypeError, AttributeError):
        raise JournalError(
            f"the journal {path} has a line that is not a record; restore the file from a backup"
        ) from None
    return index


def _boot() -> bytes:
    return (host.boot() or "").encode()[:36].ljust(36, b"\0")


def _checksum(device: str) -> int:
    return zlib.crc32(device.encode("utf-8", "surrogatepass"))


def _write(fd: int, content: bytes, offset: int) -> None:
    if os.pwrite(fd, content, offset) != len(content):
        raise OSError("no space is left for the index")
