# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What comes from a worker: when it was heard last, and nothing that would be written to this machine's disk."""

from __future__ import annotations

import base64
import io
import json
import os
import time
import typing as t
import zipfile

#: Longest archive of what Ansible left on a worker, in bytes, and how much of its output is read.
LONGEST = 64 << 20
OUTPUT = 1 << 20
#: Stands for the archive; ansible-runner passes over an event without a number.
_NOTHING = b"{}\n"


class Heard(io.RawIOBase):
    """A pipe that knows when something came through it last."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd
        self.last = time.monotonic()

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: t.Any) -> int:
        """Read what is there, at most as much as ``buffer`` holds; wait for at least one byte."""
        content = os.read(self._fd, len(buffer))
        self.last = time.monotonic()
        buffer[: len(content)] = content
        return len(content)


class Lines:
    """The stream as ansible-runner's processor reads it, line by line, without the archive at its end.

    The processor would unpack that by the names in it, links and modes included, wherever they point to: a worker is
    believed in what it says of its devices, not with the files of this machine.
    """

    def __init__(self, pipe: t.BinaryIO | io.RawIOBase) -> None:
        self._reader = io.BufferedReader(t.cast("io.RawIOBase", pipe))
        #: What Ansible printed on the worker, its begin if it is long; once the stream is over.
        self.output = ""

    def readline(self) -> bytes:
        """The next line, empty at the end. Raises ValueError for an archive that is none."""
        line = self._reader.readline()
        try:
            event = json.loads(line)
        except ValueError:
            return line  # the processor says so
        if isinstance(event, dict) and "zipfile" in event:
            self._archive(event["zipfile"])
            return _NOTHING
        return line

    def _archive(self, length: t.Any) -> None:
        if not isinstance(length, int) or not 0 <= length <= LONGEST:
            raise ValueError("an archive of no or too great length")
        content = base64.b64decode(self._reader.read((length + 2) // 3 * 4), validate=True)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for entry in archive.infolist():
                if entry.filename.rpartition("/")[2] == "stdout":
                    with archive.open(entry) as handle:
                        self.output += handle.read(OUTPUT).decode("utf-8", "replace")
