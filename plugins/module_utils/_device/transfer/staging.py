# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Bringing payload files here: pushed in pieces over the existing connection, or pulled over HTTP(S).

Both resume where they were cut off, and neither believes a byte before its digest is checked.
"""

from __future__ import annotations

import os
import shutil
import typing as t

from ..base.errors import OtaError
from ..base.protocol import File, Missing, Piece
from ..base.urls import shown
from ..enrolment import tls
from ..kinds import payloads
from ..system import durable
from ..system.files import hashing
from ..system.layout import Layout
from . import download, inbox

_BLOCK = 1 << 18
#: How often in a row a connection may break off before it has brought a block; then its source is given up.
_FRUITLESS = 2


def missing(layout: Layout, files: t.Iterable[File]) -> list[Missing]:
    """Which of ``files`` {sha256, length} are not staged yet, each with the ``offset`` to go on from."""
    result: list[Missing] = []
    for entry in files:
        if _size(layout.file("inbox", inbox.name(entry["sha256"]))) != entry["length"]:
            offset = _size(inbox.part(layout, entry["sha256"])) or 0
            if offset > entry["length"]:
                offset = 0  # something else; it is thrown away
            result.append({"sha256": entry["sha256"], "length": entry["length"], "offset": offset})
    return result


def put(layout: Layout, piece: Piece, stream: t.IO[bytes]) -> None:
    """Append a pushed piece {sha256, length, offset, size} from ``stream``; the last one completes the file.

    Raises OtaError ``HASH_MISMATCH`` (and forgets the file) or ``FETCH`` when pieces do not fit together.
    """
    with inbox.own(layout, piece["sha256"]) as handle:
        have = handle.seek(0, os.SEEK_END)
        if have > piece["length"]:
            handle.truncate(0)
            have = handle.seek(0)
        if piece["offset"] != have or piece["offset"] + piece["size"] > piece["length"]:
            message = "piece at %d does not follow the %d bytes that are here"
            raise OtaError("FETCH", message % (piece["offset"], have), offset=have)
        inbox.room(layout, piece["sha256"], piece["length"] - have)
        left = piece["size"]
        while left:
            block = stream.read(min(left, _BLOCK))
            if not block:
                break
            _write(handle, block)
            left -= len(block)
        os.fsync(handle.fileno())
        if left:
            raise OtaError("FETCH", "the connection ended %d bytes early; staging goes on from there" % left)
        if have + piece["size"] == piece["length"] and not inbox.complete(layout, piece["sha256"], handle):
            message = "payload %s arrived with other bytes than were signed"
            raise OtaError("HASH_MISMATCH", message % piece["sha256"][:12])


def pull(layout: Layout, entry: File, urls: t.Sequence[str]) -> None:
    """Download one file {sha256, length} from the first of ``urls`` that has it; resumes a part that is here.

    Raises OtaError ``FETCH`` with what each source answered: whatever was wrong with a mirror, another one or another
    day may have the right bytes.
    """
    answers = []
    with inbox.own(layout, entry["sha256"]) as handle:
        inbox.room(layout, entry["sha256"], entry["length"] - handle.seek(0, os.SEEK_END))
        for url in urls:
            try:
                if _pulled(layout, entry, url, handle):
                    return
                answers.append("%s: other bytes than were signed" % shown(url))
            except download.DownloadError as error:
                answers.append(str(error))
            except OSError as error:  # of our own disk
                message = "payload %s cannot be kept in %s: %s"
                raise OtaError("NO_SPACE", message % (entry["sha256"][:12], layout.state, error.strerror)) from error
    raise OtaError("FETCH", "no source has payload %s: %s" % (entry["sha256"][:12], "; ".join(answers) or "none given"))


def _pulled(layout: Layout, entry: File, url: str, handle: inbox.Handle) -> bool:
    """Whether ``url`` completed the file. What it continued may be to blame for wrong bytes: then all from here."""
    while True:
        have = handle.seek(0, os.SEEK_END)
        if have < entry["length"]:
            _bring(layout, entry, url, handle)
        if inbox.complete(layout, entry["sha256"], handle):
            return True
        if not have:
            return False


def _bring(layout: Layout, entry: File, url: str, handle: inbox.Handle) -> None:
    """Download to the end, going on where a connection broke off as long as that gets further.

    Raises download.DownloadError when it does not.
    """
    fruitless = 0
    while True:
        have = handle.seek(0, os.SEEK_END)
        try:
            download.download(url, handle, have, entry["length"], lambda: tls.context(layout))
            os.fsync(handle.fileno())
            return
        except download.DownloadError as error:
            fruitless = fruitless + 1 if handle.seek(0, os.SEEK_END) < have + _BLOCK else 0
            if not error.broken_off or fruitless >= _FRUITLESS:
                raise


def take(layout: Layout, folder: str, files: t.Iterable[payloads.File]) -> dict[str, str]:
    """Move staged files into ``folder``, for root only, and check them there: what is checked is what is used.

    Returns ``{sha256: path}``. A file in the inbox that belongs to another user, has a second name or is open
    elsewhere is copied. Raises OtaError ``HASH_MISMATCH`` or ``LENGTH_MISMATCH``.
    """
    durable.make_directory(folder)
    result = {}
    for entry in files:
        source, path = layout.file("inbox", entry["sha256"]), os.path.join(folder, entry["sha256"])
        if os.path.lexists(source):
            info = os.lstat(source)
            if inbox.is_ours_alone(source, info):
                os.rename(source, path)
            else:
                _copy(source, path)
        if _size(path) != entry["length"]:
            raise OtaError("LENGTH_MISMATCH", "payload %s is not as long as was signed" % entry["name"])
        if hashing.of_file(path) != entry["sha256"]:
            durable.remove(path)
            raise OtaError("HASH_MISMATCH", "payload %s is not what was signed" % entry["name"])
        result[entry["sha256"]] = path
    durable.sync_tree(folder)
    return result


def _write(handle: inbox.Handle, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[handle.write(view) :]


def _copy(source: str, path: str) -> None:
    with os.fdopen(os.open(source, os.O_RDONLY | os.O_NOFOLLOW), "rb") as handle, open(path, "wb") as copy:
        shutil.copyfileobj(handle, copy, _BLOCK)
        copy.flush()
        os.fsync(copy.fileno())


def _size(path: str) -> int | None:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return None
