# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Snapshot kind ``files``: exactly the selected paths, in one pack, on any file system.

One pack and one manifest instead of a tree of copies: one fsync each, however many files. A reserve of the same size
is allocated with it, so that going back has room even when the disk has filled up in the meantime.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import typing as t

from ...base.errors import OtaError
from ...system import durable
from ...system.files import entries, hashing, put_back, tree
from ...system.files.descriptors import Files
from ...system.files.listing import Listing, write_listing
from ...system.layout import Layout
from . import Base

PREFERENCE = 0
#: What opening says of a file that is no file, or not there, any more.
_GONE = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO, errno.EINVAL, errno.ESTALE, errno.EBUSY)


class Snapshot(Base):
    """Content of every regular file, appended to ``content``; the manifest says where."""

    kind = "files"

    @classmethod
    def probe(cls, layout: Layout, selection: tree.Selection) -> str | None:
        """Always possible."""
        return None

    def estimate(self) -> int:
        """Twice the content: the pack and the reserve."""
        present = tree.look(self.layout, self.selection, content=False)
        held = sum(entry.get("a", entry.get("s", 0)) for _path, entry in present if "hl" not in entry)
        return 2 * held + self.shared.size() + (1 << 20)

    def _create(self) -> None:
        with open(self._file("content"), "wb") as pack, Files(self.layout.root, self.selection.trees) as device:
            write_listing(self._file("manifest.jsonl"), self._packed(device, pack))
            pack.flush()
            os.fsync(pack.fileno())
            size = os.fstat(pack.fileno()).st_blocks * 512
        _reserve(self._file("reserve"), size + (1 << 20))

    def _packed(self, device: Files, pack: t.IO[bytes]) -> t.Iterator[entries.Pair]:
        """Every entry, once its content is in the pack; of hard links once for all of them."""
        firsts: dict[str, entries.Entry] = {}
        for path, entry in tree.look_by(device, self.selection, content=False):
            first = firsts.get(entry.get("hl", ""))
            if first is not None:
                entry = {**first, "hl": entry["hl"]}  # names of one file: owner and mode are those of its content
            elif entry["t"] == "f":
                entry.pop("hl", None)
                entry, is_linked = self._add(device, path, entry, pack)
                if is_linked:
                    firsts[path] = entry
            yield path, entry

    def _add(self, device: Files, path: str, entry: entries.Entry, pack: t.IO[bytes]) -> tuple[entries.Entry, bool]:
        """The entry with its content in the pack, and whether it has more names; what went away or became something
        else meanwhile is looked at again.

        Whatever it is then, it was there while the snapshot was taken; owner and mode are those of what was read.
        """
        while entry["t"] == "f":
            try:
                return _copy(device, path, pack)
            except OSError as error:
                if error.errno not in _GONE:
                    raise
            entry = tree.one(self.layout, path)
        return entry, False

    def prove(self) -> None:
        """Read the pack whole and compare every hash."""
        try:
            for path, entry in self.pairs():
                if entry["t"] == "f" and self._hash(path, entry) != entry["h"]:
                    raise OtaError("RESTORE", "snapshot %s does not hold %s as it was" % (self.identifier, path))
        except (FileNotFoundError, ValueError, KeyError) as error:  # another OSError is the disk's, and may pass
            raise OtaError("RESTORE", "snapshot %s cannot be read: %s" % (self.identifier, error)) from None

    def pairs(self) -> t.Iterator[entries.Pair]:
        """As written when it was taken."""
        return self._manifest().pairs()

    def entries_of(self, paths: t.Collection[str]) -> entries.Manifest:
        """The whole manifest: no more of it is in memory for that."""
        return self._manifest()

    def _manifest(self) -> Listing:
        return Listing(self._file("manifest.jsonl"))

    def _open(self, path: str, entry: entries.Entry) -> t.IO[bytes]:
        return io.BufferedReader(_Part(self._file("content"), entry["o"], entry["s"]))

    def _hash(self, path: str, entry: entries.Entry) -> str:
        with self._open(path, entry) as stream:
            return hashing.of_stream(stream)

    def make_room(self) -> None:
        """Remove the reserve."""
        durable.remove(self._file("reserve"))

    def _file(self, name: str) -> str:
        return os.path.join(self.folder, name)


class _Part(io.RawIOBase):
    """``length`` bytes of a file from ``offset`` on, as a stream."""

    def __init__(self, path: str, offset: int, length: int) -> None:
        super().__init__()
        self._handle = open(path, "rb")  # noqa: SIM115 - closed by close()
        self._handle.seek(offset)
        self._left = length

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: t.Any) -> int:
        """The next bytes, none beyond the part."""
        block = self._handle.read(min(len(buffer), self._left))
        buffer[: len(block)] = block
        self._left -= len(block)
        return len(block)

    def close(self) -> None:
        """Close the pack."""
        self._handle.close()
        super().close()


def _copy(device: Files, path: str, pack: t.IO[bytes]) -> tuple[entries.Entry, bool]:
    """Append a file to the pack; all that the entry says is of what was copied, its size and hash of these bytes, even
    if it grows meanwhile. And whether it has more names."""
    start = pack.tell()
    with device.open(path) as handle:
        info = os.fstat(handle.fileno())
        entry = tree.described(handle.fileno(), info)
        if "a" in entry:
            through = _Hashed(handle)
            put_back.copy_sparse(t.cast("t.IO[bytes]", through), pack)
            digest = through.digest.hexdigest()
        else:
            digest = hashing.of_stream(handle, pack)
    entry.update({"o": start, "s": pack.tell() - start, "h": digest})
    return entry, info.st_nlink > 1


class _Hashed:
    """A stream whose bytes are hashed as they are read."""

    def __init__(self, stream: t.IO[bytes]) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        """The next bytes."""
        block = self._stream.read(size)
        self.digest.update(block)
        return block


def _reserve(path: str, size: int) -> None:
    """Hold ``size`` bytes of the disk."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as handle:
        try:
            os.posix_fallocate(handle.fileno(), 0, size)
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.EINVAL):  # no allocation here; the free-space check must do
                return
            raise OtaError("NO_SPACE", "no room for the reserve of %d bytes that going back needs" % size) from None
        os.fsync(handle.fileno())
