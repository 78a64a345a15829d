# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""SHA-256 of files and streams."""

from __future__ import annotations

import hashlib
import os
import typing as t

_BLOCK = 1 << 20


def of_stream(stream: t.IO[bytes], copy: t.IO[bytes] | None = None) -> str:
    """SHA-256 of what ``stream`` still holds, in hex; written to ``copy`` on the way."""
    state = hashlib.sha256()
    for block in iter(lambda: stream.read(_BLOCK), b""):
        state.update(block)
        if copy is not None:
            copy.write(block)
    return state.hexdigest()


def of_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, in hex; a link is an error, not followed."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as handle:
        return of_stream(handle)


def of_descriptor(fd: int) -> str:
    """SHA-256 of the file that ``fd`` is open on, from its first byte, in hex; ``fd`` stays open."""
    state, offset = hashlib.sha256(), 0
    while True:
        block = os.pread(fd, _BLOCK, offset)
        if not block:
            return state.hexdigest()
        state.update(block)
        offset += len(block)
