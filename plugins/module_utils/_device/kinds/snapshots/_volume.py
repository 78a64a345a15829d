# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What snapshots of a whole volume share: the device's root in one instant, the rest file by file.

Going back puts the selected paths back from it, file by file: no reboot, and what lies beside the selection (data)
stays as it is. The manifest is read from the snapshot itself when it is needed. Selected paths that lie elsewhere
(``/boot`` on a partition of its own, another subvolume) are kept by a ``files`` snapshot inside this one.
"""

from __future__ import annotations

import os
import typing as t

from ...base.errors import OtaError
from ...system import mounts
from ...system.files import entries, tree
from ...system.files.descriptors import Files
from ...system.layout import Layout
from . import Base, files


class Volume(Base):
    """``STATE/snapshots/ID/tree`` is where the snapshot can be read, ``STATE/snapshots/ID/outside`` holds the rest."""

    # -- what a kind of volume implements ---------------------------------------------------------------------------

    def _take(self) -> None:
        """Take the snapshot of the root volume; OtaError ``NO_SPACE`` if it cannot be."""
        raise NotImplementedError

    def _prove_volume(self) -> None:
        """That it is there, whole and read-only; OtaError ``RESTORE`` otherwise."""
        raise NotImplementedError

    def _readable(self) -> str:
        """The directory in which its content is; OtaError ``RESTORE`` if it cannot be reached."""
        raise NotImplementedError

    # -- what they share ----------------------------------------------------------------------------------------------

    def estimate(self) -> int:
        """Next to nothing for the volume: only what changes later is kept twice. And what lies outside of it."""
        return (4 << 20) + self._outside().estimate()

    def _create(self) -> None:
        outside = self._outside()
        if outside.selection.paths or outside.selection.trees:
            outside.create()
        self._take()

    def prove(self) -> None:
        """The volume is there, every selected file in it can be opened, and the rest is whole."""
        self._prove_volume()
        try:
            for _path in tree.look(self._view(), self._split()[0], content=False):
                pass
        except FileNotFoundError as error:
            raise OtaError("RESTORE", "snapshot %s cannot be read: %s" % (self.identifier, error)) from None
        if self._has_outside():
            self._outside().prove()

    def pairs(self) -> t.Iterator[entries.Pair]:
        """Read from the snapshot, with what was kept of the rest."""
        rest = self._outside().pairs() if self._has_outside() else ()
        for path, (inside, outside) in entries.joined(tree.look(self._view(), self._split()[0]), rest):
            yield path, outside or inside or entries.ABSENT

    def entries_of(self, paths: t.Collection[str]) -> entries.Manifest:
        """Read from the snapshot once more: those of ``paths``, of what is above them, and of what is in them."""
        named = frozenset(paths)
        wanted = named.union(above for path in paths for above in _above(path))
        return {path: entry for path, entry in self.pairs() if path in wanted or os.path.dirname(path) in named}

    def _open(self, path: str, entry: entries.Entry) -> t.IO[bytes]:
        if "o" in entry:
            return self._outside()._open(path, entry)
        with Files(self._view().root) as snapshot:
            return snapshot.open(path)

    def make_room(self) -> None:
        """Give up what the rest holds in reserve."""
        self._outside().make_room()

    def _split(self) -> tuple[tree.Selection, tree.Selection]:
        """What lies on the root volume, and what lies elsewhere."""
        top = os.lstat(self.layout.root).st_dev
        parts: list[tuple[list[str], list[str]]] = [([], []), ([], [])]
        for index, names in enumerate((self.selection.paths, self.selection.trees)):
            for name in names:
                parts[mounts.nearest(self.layout.real(name)).st_dev != top][index].append(name)
        inside, outside = (tree.Selection(tuple(paths), tuple(trees), self.selection.exclude) for paths, trees in parts)
        return inside, outside

    def _outside(self) -> files.Snapshot:
        # A snapshot of its own in a folder of this one.
        return files.Snapshot(self.layout, os.path.join(self.identifier, "outside"), self._split()[1])

    def _has_outside(self) -> bool:
        return os.path.isdir(os.path.join(self.folder, "outside"))

    def _tree(self) -> str:
        return os.path.join(self.folder, "tree")

    def _view(self) -> Layout:
        return Layout(self._readable(), self.layout.state_dir)


def _above(path: str) -> t.Iterator[str]:
    path = os.path.dirname(path)
    while path not in ("/", ""):
        yield path
        path = os.path.dirname(path)
