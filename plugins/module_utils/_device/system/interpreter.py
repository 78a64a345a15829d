# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The Python that runs the engine and its guard: whether a change touches it, and whether it still runs them then."""

from __future__ import annotations

import os
import sys
import typing as t

from . import background, command
from .command import Result
from .files import tree

#: The argument by which the engine only says which of its parts it can load.
PROBE = "probe"
#: Seconds for that.
TIMEOUT = 60.0


def is_among(paths: t.Iterable[str]) -> bool:
    """Whether one of ``paths`` is this program, a library that it has loaded, or lies in a folder of its modules."""
    files, folders = frozenset({*_links(sys.executable), *_mapped()}), frozenset(map(os.path.realpath, sys.path))
    return any(path in files or tree.covers(folders, path) for path in paths)


def lost(run: t.Callable[[t.Sequence[str]], Result]) -> str | None:
    """Why the engine does not start where ``run`` runs its programs, or lacks a part that it has here; None if all is
    well."""
    argv = [*background.program(), PROBE]
    here, there = command.run(argv, timeout=TIMEOUT), run(argv)
    missing = sorted({*here.out.split()} - {*there.out.split()})
    if there.rc == 0 and not missing:
        return None
    return there.tail if there.rc != 0 else "it cannot load %s" % ", ".join(missing)


def _links(path: str) -> t.Iterator[str]:
    """``path`` and what it leads to, link by link, each under the real name of its folder."""
    for _link in range(40):
        path = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        yield path
        if not os.path.islink(path):
            return
        path = os.path.join(os.path.dirname(path), os.readlink(path))


def _mapped() -> set[str]:
    """The files that this process runs from: the loader and shared libraries."""
    words = (line.split(None, 5) for line in background.lines("/proc/self/maps"))
    return {one[5].rstrip("\n") for one in words if len(one) == 6 and one[5].startswith("/")}
