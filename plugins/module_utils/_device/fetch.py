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
import time
import typing as t
import urllib.error
import urllib.request

from . import durable, hashing, schema
from .errors import OtaError
from .layout import Layout

File = t.Mapping[str, t.Any]
_BLOCK = 1 << 18
#: A mirror that sends less than this many bytes a second on the whole costs time, not for ever (slow drip).
SLOWEST = 1024
#: Seconds that any file may take.
PATIENCE = 60


def missing(layout: Layout, files: t.Iterable[File]) -> list[dict[str, t.Any]]:
    """Which of ``files`` {sha256, length} are not staged yet, each with the ``offset`` to go on from."""
    result = []
    for entry in files:
        _name(entry["sha256"])
        if _size(layout.file("inbox", entry["sha256"])) != entry["length"]:
            offset = _size(_part(layout, entry["sha256"])) or 0
            result.append(
                {"sha256": entry["sha256"], "length": entry["length"], "offset": min(offset, entry["length"])}
            )
    return result


def put(layout: Layout, piece: File, stream: t.IO[bytes]) -> None:
    """Append a pushed piece {sha256, length, offset, size} from ``stream``; the last one completes the file.

    Raises OtaError ``HASH_MISMATCH`` (and forgets the file) or ``FETCH`` when pieces do not fit together.
    """
    _name(piece["sha256"])
    part = _part(layout, piece["sha256"])
    have = _size(part) or 0
    if piece["offset"] != have or piece["offset"] + piece["size"] > piece["length"]:
        raise OtaError(
            "FETCH", "piece at %d does not follow the %d bytes that are here" % (piece["offset"], have), offset=have
        )
    _room(layout, piece["length"] - have)
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "ab") as handle:
        left = piece["size"]
        while left:
            block = stream.read(min(left, _BLOCK))
            if not block:
                break
            handle.write(block)
            left -= len(block)
        handle.flush()
        os.fsync(handle.fileno())
    if left:
        raise OtaError("FETCH", "the connection ended %d bytes early; staging goes on from there" % left)
    if _size(part) == piece["length"]:
        _complete(layout, piece)


def pull(layout: Layout, entry: File, urls: t.Sequence[str]) -> None:
    """Download one file {sha256, length} from the first of ``urls`` that has it; resumes a part that is here.

    Raises OtaError ``FETCH`` with what each source answered, or ``HASH_MISMATCH``.
    """
    _name(entry["sha256"])
    _room(layout, entry["length"] - (_size(_part(layout, entry["sha256"])) or 0))
    answers = []
    for url in urls:
        try:
            _download(layout, entry, url)
            _complete(layout, entry)
            return
        except (OSError, ValueError) as error:
            answers.append("%s: %s" % (url, getattr(error, "reason", error)))
    raise OtaError("FETCH", "no source has payload %s: %s" % (entry["sha256"][:12], "; ".join(answers) or "none given"))


def take(layout: Layout, folder: str, files: t.Iterable[File]) -> dict[str, str]:
    """Move staged files into ``folder``, for root only, and check them there: what is checked is what is used.

    Returns ``{sha256: path}``. A file in the inbox that belongs to somebody else, or has a second name, is copied
    while it is hashed. Raises OtaError ``HASH_MISMATCH`` or ``LENGTH_MISMATCH``.
    """
    durable.make_directory(folder)
    result = {}
    for entry in files:
        source, path = layout.file("inbox", entry["sha256"]), os.path.join(folder, entry["sha256"])
        if os.path.lexists(source):
            info = os.lstat(source)
            if info.st_uid == os.geteuid() and info.st_nlink == 1 and os.path.isfile(source):
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


def _download(layout: Layout, entry: File, url: str) -> None:
    part, length = _part(layout, entry["sha256"]), entry["length"]
    have = _size(part) or 0
    if have == length:
        return
    if not url.startswith(("http://", "https://")):
        raise ValueError("only http and https are taken")
    request = urllib.request.Request(url, headers={"Range": "bytes=%d-" % have} if have else {})
    allowed = PATIENCE + length / SLOWEST
    end = time.monotonic() + allowed
    with urllib.request.build_opener(_NoRedirect()).open(request, timeout=30) as answer:
        if have and answer.status != 206:
            have = 0  # a server without ranges starts over
        with open(part, "r+b" if have else "wb") as handle:
            handle.seek(have)
            while have < length:
                # Never a byte more than was signed; and what is here, not what a slow mirror may still send.
                block = answer.read1(min(_BLOCK, length - have))
                if not block:
                    raise OSError("ended after %d of %d bytes" % (have, length))
                handle.write(block)
                have += len(block)
                if time.monotonic() > end:
                    raise OSError("too slow: %d of %d bytes in %d s" % (have, length, allowed))
            handle.flush()
            os.fsync(handle.fileno())


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A mirror serves the file itself; to be sent elsewhere is not an answer."""

    def redirect_request(self, *args: t.Any, **kwargs: t.Any) -> None:
        """Do not follow."""
        return


def _complete(layout: Layout, entry: File) -> None:
    part = _part(layout, entry["sha256"])
    if hashing.of_file(part) != entry["sha256"]:
        durable.remove(part)
        raise OtaError("HASH_MISMATCH", "payload %s arrived with other bytes than were signed" % entry["sha256"][:12])
    os.rename(part, layout.file("inbox", entry["sha256"]))
    durable.sync_directory(layout.file("inbox"))


def _copy(source: str, path: str) -> None:
    with os.fdopen(os.open(source, os.O_RDONLY | os.O_NOFOLLOW), "rb") as handle, open(path, "wb") as copy:
        shutil.copyfileobj(handle, copy, _BLOCK)
        copy.flush()
        os.fsync(copy.fileno())


def _room(layout: Layout, needed: int) -> None:
    info = os.statvfs(layout.file("inbox"))
    if info.f_bavail * info.f_frsize < needed:
        raise OtaError(
            "NO_SPACE", "%d bytes are needed in %s, %d are free" % (needed, layout.state, info.f_bavail * info.f_frsize)
        )


def _name(digest: t.Any) -> None:
    if not isinstance(digest, str) or not schema.SHA256.match(digest):
        raise OtaError("METADATA", "%r is not a SHA-256" % (digest,))


def _part(layout: Layout, digest: str) -> str:
    return layout.file("inbox", digest + ".part")


def _size(path: str) -> int | None:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return None
