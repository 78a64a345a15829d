# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Snapshot kind ``lvm``: a thin snapshot of the logical volume that holds the root file system.

Needs device-mapper, a root on a thin volume (lvmthin(7)) and lvm2's programs. Taking it freezes the file system for a
moment, so that the snapshot is one instant of it. It is mounted read-only, in the state directory, when it is read.
"""

from __future__ import annotations

import os

from ...base.errors import OtaError
from ...system import command, mounts
from ...system.files import tree
from ...system.layout import Layout
from ._volume import Volume

PREFERENCE = 8
#: A pool fuller than this (of data or of metadata) takes no snapshot: when it overflows, the origin is lost with it.
FULLEST = 90.0
#: Mounting what was frozen must not write a thing; each file system says that in its own words.
_MOUNT = {"ext4": "ro,noload", "ext3": "ro,noload", "xfs": "ro,norecovery,nouuid"}


class Snapshot(Volume):
    """The volume ``VG/fleet-ota-ID``, mounted at ``STATE/snapshots/ID/tree``."""

    kind = "lvm"

    @classmethod
    def probe(cls, layout: Layout, selection: tree.Selection) -> str | None:
        """The device's root must be the root of a file system on a thin volume whose pool has room."""
        if not layout.is_real:
            return "a device that is a directory has no volume of its own"
        if command.which("lvs") is None:
            return "the programs of lvm2 are not installed"
        mount = mounts.of(layout.root)
        if mount.kind not in _MOUNT:
            return "the root file system is %s; %s can be read from a snapshot" % (
                mount.kind,
                ", ".join(sorted(_MOUNT)),
            )
        if mounts.nearest(layout.state).st_dev != os.lstat(layout.root).st_dev:
            return "%s lies outside the root volume" % layout.state_dir
        volume = _volume(mount.source)
        if not volume["pool_lv"]:
            return "%s is not a thin volume" % mount.source
        for part in ("data_percent", "metadata_percent"):
            used = float(_volume("%s/%s" % (volume["vg_name"], volume["pool_lv"]))[part] or 100)
            if used > FULLEST:
                return "the thin pool is %.0f %% full (%s); extend it" % (used, part)
        return None

    def _take(self) -> None:
        group, origin = self._origin()
        name = self._name()
        # -kn: active at once. Its own file system is frozen by device-mapper while it is taken.
        command.run(["sync", "-f", self.layout.root], timeout=120)
        argv = ["lvcreate", "--yes", "--quiet", "--snapshot", "--setactivationskip", "n", "--permission", "r"]
        result = command.run([*argv, "--name", name, "%s/%s" % (group, origin)], timeout=120)
        if result.rc != 0:
            raise OtaError("NO_SPACE", "lvm could not take a snapshot: %s" % result.tail)
        self._readable()

    def _prove_volume(self) -> None:
        group, _volume_name = self._origin()
        volume = _volume("%s/%s" % (group, self._name()))
        if volume["lv_attr"][1:2] != "r" or not volume["pool_lv"] or volume["lv_health_status"]:
            raise OtaError("RESTORE", "snapshot %s is not a sound read-only thin volume" % self.identifier)
        self._readable()

    def _readable(self) -> str:
        """Mounted where it belongs; after a boot it is mounted again."""
        place = self._tree()
        if os.path.ismount(place):
            return place
        group, _volume_name = self._origin()
        device = "/dev/%s/%s" % (group, self._name())
        command.run(["lvchange", "--activate", "y", "--ignoreactivationskip", "%s/%s" % (group, self._name())])
        os.makedirs(place, exist_ok=True)
        kind = mounts.of(self.layout.root).kind
        result = command.run(["mount", "-t", kind, "-o", _MOUNT.get(kind, "ro"), device, place])
        if result.rc != 0:
            raise OtaError("RESTORE", "snapshot %s cannot be mounted: %s" % (self.identifier, result.tail))
        return place

    def _drop(self) -> None:
        if not self.layout.is_real or command.which("lvremove") is None:
            return
        if os.path.ismount(self._tree()):
            command.run(["umount", self._tree()])
        mount = mounts.of(self.layout.root)
        if mount.kind in _MOUNT and mount.source.startswith("/dev/"):
            volume = _volume(mount.source)
            if volume["pool_lv"] and _volume("%s/%s" % (volume["vg_name"], self._name()))["pool_lv"]:
                command.run(["lvremove", "--yes", "--quiet", "%s/%s" % (volume["vg_name"], self._name())], timeout=120)

    def _origin(self) -> tuple[str, str]:
        """Volume group and name of the root volume."""
        volume = _volume(mounts.of(self.layout.root).source)
        return volume["vg_name"], volume["lv_name"]

    def _name(self) -> str:
        return "fleet-ota-" + self.identifier


def _volume(which: str) -> dict[str, str]:
    """What lvs(8) says about a volume by its device or its ``VG/LV``; empty texts if it is none."""
    keys = ("vg_name", "lv_name", "lv_attr", "pool_lv", "data_percent", "metadata_percent", "lv_health_status")
    argv = ["lvs", "--noheadings", "--separator", "|", "--options", ",".join(keys), which]
    result = command.run(argv, environment={"LVM_SUPPRESS_FD_WARNINGS": "1"})
    if result.rc != 0:
        return dict.fromkeys(keys, "")
    return dict(zip(keys, (word.strip() for word in result.out.strip().split("|"))))
