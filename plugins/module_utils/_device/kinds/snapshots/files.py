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
from ...system.layout import Layout
from . import Base, read_manifest, write_manifest

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
        present = tree.observe(self.layout, self.selection, content=False).values()
        sizes: list[int] = [entry["a"] if "a" in entry else entry.get("s", 0) for entry in present if "hl" not in entry]
        return 2 * sum(sizes) + self.shared.size() + (1 << 20)

    def _create(self) -> None:
        manifest = tree.observe(self.layout, self.selection, content=False)
        with open(self._file("content"), "wb") as pack, Files(self.layout.root, self.selection.trees) as device:
            for path in sorted(manifest, key=lambda path: ("hl" in manifest[path], path)):
                entry = manifest[path]
                first = manifest.get(entry.get("hl", ""), entries.ABSENT)
                if first["t"] == "f":
                    entry.update({"h": first["h"], "o": first["o"], "s": first["s"]})
                elif entry["t"] == "f":
                    entry.pop("hl", None)
                    manifest[path] = self._add(device, path, entry, pack)
            pack.flush()
            os.fsync(pack.fileno())
            size = os.fstat(pack.fileno()).st_blocks * 512
        write_manifest(self._file("manifest.jsonl"), manifest)
        _reserve(self._file("reserve"), size + (1 << 20))

    def _add(self, device: Files, path: str, entry: entries.Entry, pack: t.IO[bytes]) -> entries.Entry:
        """The entry with its content in the pack; what went away or became something else meanwhile is looked at again.

        Whatever it is then, it was there while the snapshot was taken.
        """
        while entry["t"] == "f":
            offset = pack.tell()
            try:
                size, digest = _copy(device, path, pack, sparse="a" in entry)
                return {**entry, "o": offset, "s": size, "h": digest}
            except OSError as error:
                if error.errno not in _GONE:
                    raise
            entry = tree.observe(self.layout, tree.Selection((path,), (), ()), content=False).get(path, entries.ABSENT)
        return entry

    def prove(self) -> None:
        """Read the pack whole and compare every hash."""
        try:
            for path, entry in self.manifest().items():
                if entry["t"] == "f" and self._hash(path, entry) != entry["h"]:
                    raise OtaError("RESTORE", "snapshot %s does not hold %s as it was" % (self.identifier, path))
        except (FileNotFoundError, ValueError, KeyError) as error:  # another OSError is the disk's, and may pass
            raise OtaError("RESTORE", "snapshot %s cannot be read: %s" % (self.identifier, error)) from None

    def manifest(self) -> entries.Manifest:
        """As written when it was taken."""
        return read_manifest(self._file("manifest.jsonl"))

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


def _copy(device: Files, path: str, pack: t.IO[bytes], *, sparse: bool) -> tuple[int, str]:
    """Append a file to the pack; its size and hash are of the bytes that were copied, even if it grows meanwhile."""
    start = pack.tell()
    with device.open(path) as handle:
        if sparse:
            through = _Hashed(handle)
            put_back.copy_sparse(t.cast("t.IO[bytes]", through), pack)
            return pack.tell() - start, through.digest.hexdigest()
        digest = hashing.of_stream(handle, pack)
    return pack.tell() - start, digest


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
