# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Removing by descriptor: never through a link, never over a mount, and nothing that is to stay."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import typing as t

from .descriptors import Files


def remove(files: Files, path: str, *, keep: t.Collection[str] = (), unmounts: bool = False) -> None:
    """Remove ``path`` with all below; nothing happens where nothing is.

    What is mounted in it is never entered: with ``unmounts`` it is taken off, else nothing at all is removed, and
    OSError (``EBUSY``) says where. What ``keep`` names stays, with the directories above it.
    """
    try:
        info = files.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    if path in keep:
        return
    if not stat.S_ISDIR(info.st_mode):
        files.unlock(path)
        files.unlink(path)
        return
    with files.inside(path, unmounts=unmounts) as inside:
        for folder, _names in inside.walk(path):  # all of it once, before any of it is gone
            inside.folder(folder)
        for folder, _names in inside.walk(path):
            inside.unlock(folder)
        _empty(inside, path, keep)
    files.forget(path)


def remove_own(real: str) -> None:
    """Remove a file or folder of the engine's own, by its real path, with all below; nothing where nothing is."""
    with Files() as files:
        remove(files, real)


def remove_members(files: Files, path: str, members: t.Container[str]) -> list[str]:
    """Remove those files below the directory ``path`` that ``members`` (relative paths) names, then what is empty.

    Returns the files that are left; what an interpreter keeps beside its programs is not counted and goes too.
    """
    left = []
    with files.inside(path) as inside:
        for folder, names in inside.walk(path, inner_first=True):
            inside.unlock(folder)
            for name in names:
                file = os.path.join(folder, name)
                if inside.is_directory(file) or not inside.exists(file):
                    continue
                if os.path.relpath(file, path) in members or is_bytecode(file):
                    inside.unlock(file)
                    inside.unlink(file)
                else:
                    left.append(file)
            try:
                inside.rmdir(folder)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
                    raise
    files.forget(path)
    return sorted(left)


def is_bytecode(path: str) -> bool:
    """Whether ``path`` is what an interpreter keeps beside its programs."""
    return path.endswith((".pyc", ".pyo")) and os.path.basename(os.path.dirname(path)) == "__pycache__"


def _empty(inside: Files, path: str, keep: t.Collection[str]) -> None:
    kept = {os.path.normpath(one) for one in keep}
    above = {parent for one in kept for parent in _parents(one)}
    for folder, names in inside.walk(path, inner_first=True):
        for name in names:
            file = os.path.join(folder, name)
            if file not in kept and not inside.is_directory(file):
                inside.unlock(file)
                with contextlib.suppress(FileNotFoundError):
                    inside.unlink(file)
        if folder not in kept and folder not in above:
            with contextlib.suppress(FileNotFoundError):
                inside.rmdir(folder)


def _parents(path: str) -> t.Iterator[str]:
    parent = os.path.dirname(path)
    while parent not in ("/", ""):
        yield parent
        parent = os.path.dirname(parent)
