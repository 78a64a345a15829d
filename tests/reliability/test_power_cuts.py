# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power cuts at random moments of whole cycles, on real file systems that lose what was not synced.

ext4 and xfs are shut down by their own ioctl without flushing the log: nothing reaches the disk after that, and what
was never synced is gone. btrfs has no such ioctl: its image is copied while it is mounted, and the copy is what the
device wakes up with. Then the file system is mounted again, the device boots, and what must hold is looked at.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import random
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base import states

from tests.lab import host, processes

from .device import Directory, differences, leftovers
from .releases import Releases
from .report import Report

#: include/uapi/linux/ext4.h EXT4_IOC_SHUTDOWN, fs/xfs XFS_IOC_GOINGDOWN: _IOR('X', 125, __u32); 2 is NOLOGFLUSH.
SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, struct.pack("I", 2)
MEBIBYTES = {"ext4": 64, "xfs": 320, "btrfs": 160}
PACKAGES = {"ext4": "e2fsprogs", "xfs": "xfsprogs", "btrfs": "btrfs-progs"}
CUTS = {"ext4": 60, "xfs": 45, "btrfs": 30}
LONG = 10


class Disk:
    """A file system of its own in an image, mounted at ``place``."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.kind, self.image, self.place = kind, folder / "disk", folder / "mnt"
        self.place.mkdir(parents=True)
        with self.image.open("wb") as stream:
            stream.truncate(MEBIBYTES[kind] << 20)
        force = "-F" if kind == "ext4" else "-f"
        host.run(["mkfs.%s" % kind, "-q", force, str(self.image)])
        self.mount()

    def mount(self) -> None:
        host.run(["mount", "-o", "loop", str(self.image), str(self.place)])

    def unmount(self) -> None:
        host.run(["umount", str(self.place)])

    def cut(self) -> None:
        """Lose power: what was not synced by now is gone."""
        copy = self.image.with_suffix(".copy")
        if self.kind == "btrfs":
            subprocess.run(["cp", "--sparse=always", str(self.image), str(copy)], check=True)
        else:
            handle = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.ioctl(handle, SHUTDOWN, NO_LOG_FLUSH)
            finally:
                os.close(handle)

    def wake(self) -> None:
        """Mount what is on the disk, as the next boot does."""
        self.unmount()
        if self.kind == "btrfs":
            self.image.with_suffix(".copy").replace(self.image)
        self.mount()


def hide() -> None:
    """Mount where nobody else sees it: who has a copy of our mounts keeps a file system alive that was shut down."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x00020000) or libc.mount(b"none", b"/", None, (1 << 14) | (1 << 18), None):  # rec, private
        raise OSError(ctypes.get_errno(), "no mount namespace of our own")


# A copy of a mounted btrfs is not of one instant and may hold torn data blocks: for the long mode only.
@pytest.fixture(params=["ext4", "xfs", pytest.param("btrfs", marks=pytest.mark.long)])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """A mounted file system."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    host.need({f"mkfs.{request.param}": PACKAGES[request.param]})
    hide()
    processes.adopt_orphans()
    found = Disk(tmp_path / "disk", request.param)
    yield found
    processes.adopt_orphans(False)
    with contextlib.suppress(Exception):
        found.unmount()


def test_power_cuts_in_whole_cycles(
    disk: Disk,
    program: Path,
    releases: Releases,
    request: pytest.FixtureRequest,
    later: None,
    seed: int,
    tmp_path: Path,
) -> None:
    chance = random.Random(seed)
    device = Directory(disk.place / "device", program)
    device.root.mkdir()
    device.enroll(releases.trust_root)
    assert device.update(releases.get(1))["outcome"] == "updated"
    assert device.update(releases.get(2))["outcome"] == "updated"
    started = time.monotonic()
    cycle(device, releases, tmp_path / "said")
    longest = time.monotonic() - started
    trees = {"2": device.tree()}
    host.run(["sync", "-f", str(disk.place)])
    report = Report("power-cuts-%s" % disk.kind, seed)
    cuts = CUTS[disk.kind] * (LONG if request.config.getoption("--long") else 1)
    for number in range(cuts):
        after = chance.uniform(0, 1.15 * longest)
        last = device.transaction()["id"]
        struck = cut_in_a_cycle(disk, device, releases, after)
        report.iterations += 1
        report.interruptions += 1
        where = "cut %d (%s) after %.4f s" % (number, disk.kind, after)
        try:
            report.violation(where, list(check(device, trees, struck, last)))
        except Exception as error:
            report.violation(where, ["%s: %s" % (type(error).__name__, error)])
        if report.violations:
            break
    reply = device.update(releases.get(3), retry_rejected=True, rollout="last")
    if reply.get("outcome") != "updated" or leftovers(device):
        report.violation("in the end", ["%s; left over: %s" % (reply, leftovers(device))])
    report.close()


def cut_in_a_cycle(disk: Disk, device: Directory, releases: Releases, after: float) -> str | None:
    """Run a whole cycle, and lose power ``after`` seconds; who said it was confirmed, if so."""
    said = disk.image.with_suffix(".said")
    said.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            cycle(device, releases, said)
        os._exit(0)
    time.sleep(after)  # the moment is the point
    disk.cut()
    end_all({child})
    found = said.read_text() if said.exists() else None
    disk.wake()
    return found if disk.kind != "btrfs" else None  # the copy is made a moment before the process ends


def end_all(doomed: set[int]) -> None:
    """Kill these children, and what they started: who goes on working on the disk keeps it from being unmounted."""
    others = {*processes.children(os.getpid())} - doomed
    while doomed:
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        doomed = {*processes.children(os.getpid())} - others  # orphans come to us


def cycle(device: Directory, releases: Releases, said: Path) -> None:
    """Damage the device, and bring the release anew; what was confirmed is told to ``said``, which no cut concerns."""
    with contextlib.suppress(FileNotFoundError):
        (device.root / "opt/app/current").unlink()
    reply = device.update(releases.get(2), retry_rejected=True, rollout=str(time.time_ns()))
    if reply.get("outcome") == "updated":
        said.write_text("2")


def check(device: Directory, trees: dict[str, dict[str, object]], confirmed: str | None, last: str) -> Iterator[str]:
    """What does not hold after the device booted; ``last`` is the transaction before the cycle."""
    device.guard("boot")
    device.call("status")
    record = device.transaction()
    if record["state"] == "unconfirmed":
        device.guard("deadline")
        record = device.transaction()
    if record["state"] not in states.ENDED:
        yield "did not settle: %s" % record["state"]
    if record["outcome"] == "broken":
        yield "broken: %s" % record["message"]
    if confirmed is not None and (record["outcome"] != "updated" or record["id"] == last):
        yield "it said %s was confirmed, now it is %s" % (confirmed, record["outcome"])
    now = device.tree()
    damaged = {**trees["2"]}
    damaged.pop("opt/app/current")
    wanted = [trees["2"]] if record["outcome"] == "updated" and record["id"] != last else [damaged, trees["2"]]
    if all(differences(one, now) for one in wanted):
        yield "neither old nor new (%s): %s" % (record["outcome"], differences(wanted[0], now)[:6])
    device.history()
