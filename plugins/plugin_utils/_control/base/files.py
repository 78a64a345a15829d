# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Files that are whole after a crash, and locks that end with their holder.

What several people of one group keep together (a journal, a repository) lies in a directory in which the group may
write: what is made there, the group may read and write too, whatever the umask of who made it. So git does it for a
repository that is C(--shared).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import stat
import tempfile
import typing as t

from .errors import ControlError

CHUNK = 1 << 20
#: How a file is called until it is whole.
_TEMPORARY = ".new-"


def canonical(value: object) -> bytes:
    """``value`` as JSON in ASCII with sorted keys and no blanks: one value, one sequence of bytes.

    ASCII, because a device's text may hold what UTF-8 cannot carry (lone surrogates of a broken file name).
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def sync_directory(path: pathlib.Path) -> None:
    """fsync the directory ``path`` so that names created or removed in it are on disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directory(path: pathlib.Path, mode: int = 0o755, *, shared: bool = True) -> None:
    """Create ``path`` and what is missing above it, durably.

    ``path`` gets ``mode`` whatever the umask. So do the directories above it where others may read it, for a web server
    has to get there. It is not the group's, whatever is above it, unless it is ``shared``.
    """
    if path.is_dir():
        return
    make_directory(path.parent, 0o755 if mode & stat.S_IROTH else 0o755 & ~umask())
    with contextlib.suppress(FileExistsError):
        path.mkdir(0o700)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            _set_mode(fd, mode, path.parent if shared else None)
        finally:
            os.close(fd)
    sync_directory(path.parent)


def write(path: pathlib.Path, content: bytes, mode: int = 0o644) -> None:
    """Replace ``path`` by ``content``; after a crash it is the old file or the new one, whole."""
    with _replacement(path, mode) as handle:
        handle.write(content)


def write_new(path: pathlib.Path, content: bytes, mode: int, *, shared: bool = True) -> None:
    """Create ``path``, on disk when this returns. Raises FileExistsError instead of ever replacing a file.

    A secret is not ``shared``: it is its owner's alone wherever it lies.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=_TEMPORARY) as handle:  # made with mode 0600
        handle.write(content)
        handle.flush()
        _set_mode(handle.fileno(), mode, path.parent if shared else None)
        os.fsync(handle.fileno())
        os.link(handle.name, path)  # unlike rename, fails when the name is taken
    sync_directory(path.parent)


def copy_hashed(chunks: t.Iterable[bytes], path: pathlib.Path, *, sha256: str, length: int, mode: int = 0o644) -> None:
    """Write ``chunks`` to ``path`` if they are what was promised, else leave ``path`` as it was.

    Raises :class:`ControlError` with ``HASH_MISMATCH`` or ``LENGTH_MISMATCH``; stops reading at ``length`` + 1 bytes.
    """
    with _replacement(path, mode) as handle:
        digest = hashlib.sha256()
        size = 0
        for chunk in chunks:
            size += len(chunk)
            if size > length:
                break
            digest.update(chunk)
            handle.write(chunk)
        if size != length:
            raise ControlError(
                f"{path.name}: {'more than ' if size > length else ''}{min(size, length)} bytes came, "
                f"{length} were promised; publish the release again or repair the mirror",
                code="LENGTH_MISMATCH",
            )
        if digest.hexdigest() != sha256:
            raise ControlError(
                f"{path.name}: the bytes that came have the digest {digest.hexdigest()}; publish the release again or "
                "repair the mirror",
                code="HASH_MISMATCH",
            )


def sweep(folder: pathlib.Path) -> None:
    """Remove what writers that were killed left below ``folder``. Only for whoever alone may write there now."""
    for place, _folders, names in os.walk(folder):
        for name in names:
            if name.startswith(_TEMPORARY):
                with contextlib.suppress(OSError):  # of another user; it is in nobody's way
                    os.unlink(os.path.join(place, name))


def read_chunks(path: pathlib.Path) -> t.Iterator[bytes]:
    """The content of ``path`` in pieces of a megabyte."""
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK):
            yield chunk


def open_private(path: pathlib.Path, flags: int) -> int:
    """A descriptor of ``path``, created where missing for its owner, and for the group that shares the directory."""
    fd = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if os.fstat(fd).st_uid == os.geteuid():
            _set_mode(fd, 0o600, path.parent)
    except BaseException:
        os.close(fd)
        raise
    return fd


@contextlib.contextmanager
def lock(path: pathlib.Path) -> t.Iterator[None]:
    """Hold the lock file ``path`` (created where missing) alone; the kernel frees it when the holder dies."""
    make_directory(path.parent)
    fd = open_private(path, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def _replacement(path: pathlib.Path, mode: int) -> t.Iterator[t.IO[bytes]]:
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=_TEMPORARY)
    temporary = pathlib.Path(name)
    try:
        with os.fdopen(fd, "wb") as handle:
            yield handle
            handle.flush()
            _set_mode(handle.fileno(), mode, path.parent)
            os.fsync(handle.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def umask() -> int:
    """The process's umask."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _set_mode(fd: int, mode: int, folder: pathlib.Path | None) -> None:
    """Give what is open as ``fd`` the ``mode``; its group may do what its owner may, if the group shares ``folder``."""
    own = os.fstat(fd)
    if folder:
        above = folder.stat()
        # where everybody may write, as in /tmp, is no group's directory
        if above.st_mode & stat.S_IWGRP and not above.st_mode & stat.S_IWOTH and own.st_gid == above.st_gid:
            mode |= (mode & stat.S_IRWXU) >> 3
        if stat.S_ISDIR(own.st_mode):
            mode |= above.st_mode & stat.S_ISGID
    if stat.S_IMODE(own.st_mode) != mode:
        os.fchmod(fd, mode)
