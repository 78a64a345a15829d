# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Snapshot kind ``btrfs``: a read-only snapshot of the root subvolume, in milliseconds, whatever its size."""

from __future__ import annotations

import os

from ...base.errors import OtaError
from ...system import command, durable, mounts
from ...system.files import tree
from ...system.layout import Layout
from ._volume import Volume

PREFERENCE = 10
_SUBVOLUME_INODE = 256  # the root directory of every btrfs subvolume


class Snapshot(Volume):
    """``STATE/snapshots/ID/tree`` is the snapshot."""

    kind = "btrfs"

    @classmethod
    def probe(cls, layout: Layout, selection: tree.Selection) -> str | None:
        """The device's root and its state must be one subvolume."""
        if command.which("btrfs") is None:
            return "the program btrfs is not installed"
        if mounts.of(layout.root).kind != "btrfs":
            return "%s is not on btrfs" % layout.root
        top = os.lstat(layout.root)
        if top.st_ino != _SUBVOLUME_INODE:
            return "%s is not a btrfs subvolume" % layout.root
        if mounts.nearest(layout.state).st_dev != top.st_dev:
            return "%s lies outside the root subvolume" % layout.state_dir
        return None

    def _take(self) -> None:
        result = command.run(["btrfs", "subvolume", "snapshot", "-r", self.layout.root, self._tree()], timeout=120)
        if result.rc != 0:
            raise OtaError("NO_SPACE", "btrfs could not take a snapshot: %s" % result.tail)
        durable.sync_tree(self.folder)

    def _prove_volume(self) -> None:
        result = command.run(["btrfs", "property", "get", "-ts", self._tree(), "ro"])
        if result.out.strip() != "ro=true":
            raise OtaError("RESTORE", "snapshot %s is not a read-only subvolume: %s" % (self.identifier, result.tail))

    def _readable(self) -> str:
        return self._tree()

    def _drop(self) -> None:
        if os.path.isdir(self._tree()) and command.which("btrfs"):
            command.run(["btrfs", "subvolume", "delete", self._tree()], timeout=120)
