# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Snapshot kind ``btrfs``: a read-only snapshot of the subvolume, in milliseconds, whatever its size.

Going back puts the selected paths back from it, file by file: no reboot, and what lies beside the selection (data)
stays as it is. The manifest is read from the snapshot itself when it is needed.
"""

from __future__ import annotations

import os
import typing as t

from .. import command, durable, tree
from ..errors import OtaError
from ..layout import Layout
from . import Base

PREFERENCE = 10
_SUBVOLUME_INODE = 256  # the root directory of every btrfs subvolume


class Snapshot(Base):
    """``STATE/snapshots/ID/tree`` is the snapshot."""

    kind = "btrfs"

    @classmethod
    def probe(cls, layout: Layout, selection: tree.Selection) -> str | None:
        """Every selected path must lie in the one subvolume that the device's root is."""
        if command.which("btrfs") is None:
            return "the program btrfs is not installed"
        if _file_system(layout.root) != "btrfs":
            return "%s is not on btrfs" % layout.root
        top = os.lstat(layout.root)
        if top.st_ino != _SUBVOLUME_INODE:
            return "%s is not a btrfs subvolume" % layout.root
        for path in (*selection.paths, *selection.trees, layout.state_dir):
            real = layout.real(path)
            while not os.path.lexists(real):
                real = os.path.dirname(real)
            if os.lstat(real).st_dev != top.st_dev:
                return "%s lies outside the root subvolume" % path
        return None

    def estimate(self) -> int:
        """Next to nothing: only what changes later is kept twice."""
        return 4 << 20

    def _create(self) -> None:
        result = command.run(["btrfs", "subvolume", "snapshot", "-r", self.layout.root, self._tree()], timeout=120)
        if result.rc != 0:
            raise OtaError("NO_SPACE", "btrfs could not take a snapshot: %s" % result.tail)
        durable.sync_tree(self.folder)

    def prove(self) -> None:
        """It is there and read-only, and every selected file in it can be opened."""
        result = command.run(["btrfs", "property", "get", "-ts", self._tree(), "ro"])
        if result.out.strip() != "ro=true":
            raise OtaError("RESTORE", "snapshot %s is not a read-only subvolume: %s" % (self.identifier, result.tail))
        try:
            tree.observe(self._view(), self.selection, content=False)
        except OSError as error:
            raise OtaError("RESTORE", "snapshot %s cannot be read: %s" % (self.identifier, error)) from None

    def manifest(self) -> tree.Manifest:
        """Read from the snapshot."""
        return tree.observe(self._view(), self.selection)

    def _open(self, path: str, entry: tree.Entry) -> t.IO[bytes]:
        return open(self._view().real(path), "rb")

    def remove(self) -> None:
        """Delete the subvolume, then the folder."""
        if os.path.isdir(self._tree()):
            command.run(["btrfs", "subvolume", "delete", self._tree()], timeout=120)
        super().remove()

    def _tree(self) -> str:
        return os.path.join(self.folder, "tree")

    def _view(self) -> Layout:
        return Layout(self._tree(), self.layout.state_dir)


def _file_system(path: str) -> str:
    """The type of the file system that holds ``path``, from the longest mount point above it."""
    best = ("", "")
    with open("/proc/self/mountinfo", encoding="utf-8") as handle:
        for line in handle:
            before, _separator, after = line.partition(" - ")
            point = before.split()[4].replace("\\040", " ")
            if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= len(best[0]):
                best = (point, after.split()[0])
    return best[1]
