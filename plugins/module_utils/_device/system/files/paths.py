# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Paths that root follows: only through links and folders that nobody else can exchange."""

from __future__ import annotations

import os
import stat

from ...base.errors import OtaError

_LINKS_AT_MOST = 40
#: root, and the group to which Debian gives /usr/local (staff).
_ADMINISTRATORS = (0, 50)


def resolve(path: str) -> str:
    """The absolute ``path`` of this machine without links, missing names as they are.

    Only links that nobody but root can exchange are followed: OtaError ``UNSAFE_PATH`` for any other.
    """
    done, pending, links = "/", path.strip("/").split("/"), 0
    while pending:
        name = pending.pop(0)
        if name in ("", "."):
            continue
        if name == "..":
            done = os.path.dirname(done)
            continue
        following = os.path.join(done, name)
        try:
            info = os.lstat(following)
        except (FileNotFoundError, NotADirectoryError):
            return os.path.normpath(os.path.join(following, *pending))
        if not stat.S_ISLNK(info.st_mode):
            done = following
            continue
        links += 1
        if links > _LINKS_AT_MOST or not _is_roots(info, os.lstat(done)):
            message = "%s is a link that others than root can exchange; name the path without it, or give it to root"
            raise OtaError("UNSAFE_PATH", message % following)
        target = os.readlink(following)
        if target.startswith("/"):
            done = "/"
        pending[:0] = target.strip("/").split("/")
    return done


def unsafe_owner(path: str) -> str | None:
    """The first directory on the way to ``path``, or it itself, in which others than root can exchange names."""
    folder = path
    above = []
    while folder not in ("", "/"):
        above.append(folder)
        folder = os.path.dirname(folder)
    for folder in reversed(above):
        try:
            info = os.lstat(folder)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not is_closed(info) and not info.st_mode & stat.S_ISVTX:
            return folder
    return None


def _is_roots(link: os.stat_result, folder: os.stat_result) -> bool:
    """Whether nobody but root can put another link there."""
    if link.st_uid not in (0, os.geteuid()):
        return False
    if folder.st_mode & stat.S_ISVTX:
        return True
    return is_closed(folder)


def is_closed(folder: os.stat_result, *, sticky: bool = False) -> bool:
    """Whether only root can change the names in it; a group of the system's administrators counts as root.

    With ``sticky`` one in which each can only change names of his own (``/tmp``) is closed too.
    """
    is_roots = folder.st_uid in (0, os.geteuid())
    by_group = folder.st_mode & 0o020 and folder.st_gid not in _ADMINISTRATORS
    is_open = by_group or folder.st_mode & 0o002
    return is_roots and (not is_open or (sticky and bool(folder.st_mode & stat.S_ISVTX)))
