# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Writing that survives a power cut.

New file, fsync, rename, fsync of the directory: what ansible-core's own file writing leaves out (it never fsyncs, so
a power cut after ``changed`` can lose the file).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import typing as t

from ..base.errors import OtaError


def sync_directory(path: str) -> None:
    """fsync the directory ``path`` so that names created or removed in it are on disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write(path: str, content: bytes, mode: int = 0o600) -> None:
    """Replace ``path`` by ``content`` so that after a crash it is the old file or the new one, whole."""
    write_blocks(path, (content,), mode)


def write_blocks(path: str, blocks: t.Iterable[bytes], mode: int = 0o600) -> None:
    """:func:`write` for what is made block by block."""
    temporary = "%s.new" % path
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with os.fdopen(fd, "wb") as handle:
        for block in blocks:
            handle.write(block)
        handle.flush()
        os.fsync(handle.fileno())
    os.rename(temporary, path)
    sync_directory(os.path.dirname(path))


def write_json(path: str, value: object) -> None:
    """:func:`write` for a JSON value, readable by people."""
    write(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


def read_json(path: str, default: t.Any = None) -> t.Any:
    """The JSON value in ``path``, or ``default`` if there is no such file.

    OtaError ``DAMAGED`` when the file is there but is not JSON: it is never silently taken as empty. What must outlast
    that has a copy (:mod:`kept`).
    """
    try:
        with open(path, encoding="utf-8") as handle:
            return json.load(handle)
    except FileNotFoundError:
        return default
    except (ValueError, RecursionError) as error:
        message = "the file %s of the device's state is damaged (%s); remove it, or put it back from a backup"
        raise OtaError("DAMAGED", message % (path, error)) from None


def read_text(path: str) -> str:
    """The text in ``path``; empty where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as handle:
            return handle.read()
    except OSError:
        return ""


def append_line(path: str, value: object) -> None:
    """Append ``value`` as one line of JSON, on disk when this returns.

    A torn line that a power cut or a full disk left at the end is cut off first; nobody was ever told it was there.
    """
    fresh = not os.path.lexists(path)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        end = _end_of_lines(fd)
        line = (json.dumps(value, sort_keys=True) + "\n").encode()
        os.ftruncate(fd, end)
        if os.pwrite(fd, line, end) != len(line):
            os.ftruncate(fd, end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        os.fsync(fd)
    finally:
        os.close(fd)
    if fresh:
        sync_directory(os.path.dirname(path))


def last_line(path: str) -> t.Any:
    """The value of the last whole line that :func:`append_line` wrote to ``path``, or of the last one before it that
    is no damaged one; None if there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        end = _end_of_lines(fd)
        while end:
            start = _end_of_lines(fd, end - 1)
            with contextlib.suppress(ValueError):
                return json.loads(os.pread(fd, end - start, start))
            end = start
        return None
    finally:
        os.close(fd)


def _end_of_lines(fd: int, before: int | None = None) -> int:
    """Where the last line that ends before byte ``before`` (the end of the file) has its end; 0 without one."""
    position = os.fstat(fd).st_size if before is None else before
    while position > 0:
        start = max(0, position - 4096)
        end = os.pread(fd, position - start, start).rfind(b"\n")
        if end >= 0:
            return start + end + 1
        position = start
    return 0


def remove(path: str) -> None:
    """Remove the file ``path`` durably; it may be gone already."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    sync_directory(os.path.dirname(path))


def make_directory(path: str, mode: int = 0o700) -> None:
    """Create ``path`` and what is missing above it; the new names are on disk when this returns."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    make_directory(parent, 0o755)
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return
    sync_directory(parent)


def sync_tree(path: str) -> None:
    """:func:`sync_file_system` for the one that holds ``path``."""
    fd = os.open(path, os.O_RDONLY)
    try:
        sync_file_system(fd)
    finally:
        os.close(fd)


def sync_file_system(fd: int) -> None:
    """Everything written to the file system on which ``fd`` is open is on disk when this returns.

    One ``syncfs`` instead of an fsync per file: an archive of thousands of files costs one flush.
    """
    try:
        import ctypes

        result = ctypes.CDLL(None, use_errno=True).syncfs(fd)
    except (ImportError, OSError, AttributeError):  # a Python without it, or a C library without syncfs
        os.sync()
        return
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
