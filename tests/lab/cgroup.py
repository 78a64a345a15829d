# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control group per device: the handle by which everything in it, whatever it forked, is ended at one stroke."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

from . import host
from .errors import LabError

PARENT = "fleet-ota-lab"


def parent() -> Path:
    """The group above those of all devices; it need not exist.

    :raises LabError: when this machine has no cgroup2 file system mounted
    """
    mount = host.cgroup_mount()
    if mount is None:
        raise LabError(host.why_not() or "no cgroup2 file system is mounted")
    return mount / PARENT


class ControlGroup:
    """The group of one device, with a child `keeper` for the lab's own process and `machine` for the device's."""

    def __init__(self, name: str) -> None:
        """:param name: unique on this machine"""
        self.path = parent() / name

    def make(self) -> None:
        """Make the group with its children."""
        for child in ("keeper", "machine"):
            (self.path / child).mkdir(parents=True, exist_ok=True)

    def add(self, child: str, process: int) -> None:
        """Move a process into `child`; processes it starts from then on are in there too."""
        (self.path / child / "cgroup.procs").write_text(str(process))

    def processes(self) -> list[int]:
        """Process ids of all members, as seen from this machine."""
        found: list[int] = []
        for group in self._groups():
            try:
                found += [int(word) for word in (group / "cgroup.procs").read_text().split()]
            except OSError:  # the group went away while we looked
                continue
        return found

    def populated(self) -> bool:
        """Whether any process is left in the group or below."""
        try:
            return "populated 1" in (self.path / "cgroup.events").read_text()
        except OSError:
            return False

    def kill(self, timeout: float = 20.0) -> None:
        """End every process with SIGKILL, wait until all are gone, and remove the group.

        :param timeout: seconds
        :raises LabError: when processes are still there then
        """
        if not self.path.is_dir():
            return
        (self.path / "cgroup.kill").write_text("1")
        self.wait_empty(timeout)
        for group in sorted(self._groups(), key=lambda path: len(path.parts), reverse=True):
            group.rmdir()
        try:
            self.path.parent.rmdir()
        except OSError:  # other devices still have groups there
            pass

    def wait_empty(self, timeout: float) -> None:
        """Wait until no process is left.

        :param timeout: seconds
        :raises LabError: when processes are still there then
        """
        deadline = time.monotonic() + timeout
        with (self.path / "cgroup.events").open() as events:
            poll = select.poll()
            poll.register(events, select.POLLPRI)  # the kernel wakes us at each change
            while self.populated():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise LabError(f"processes {self.processes()} in {self.path} do not end")
                poll.poll(min(left, 0.5) * 1000)

    def _groups(self) -> Iterator[Path]:
        for folder, _children, _files in os.walk(self.path):
            yield Path(folder)
