# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What was accepted, kept so that nothing older is accepted later."""

from __future__ import annotations

import os
import time
import urllib.parse

from ..base.errors import OtaError
from ..system import durable


class Store:
    """One folder: ``root.json`` (at first the pinned one), ``timestamp.json`` and so on, and the time floor.

    With ``write=False`` what is kept is only remembered by this object, for a look that must change nothing.
    """

    def __init__(self, folder: str, floor: str, *, write: bool = True) -> None:
        self.folder = folder
        self.write = write
        self._floor = floor
        self._fresh: dict[str, bytes | None] = {}

    def path(self, name: str) -> str:
        """The file of a role; a name with ``/`` or ``..`` stays inside the folder (CVE-2021-41131)."""
        return os.path.join(self.folder, urllib.parse.quote(name, safe="") + ".json")

    def read(self, name: str) -> bytes | None:
        """What is kept of a role, or None. Raises OtaError ``TRUST_ROOT`` if it is there but cannot be read."""
        if name in self._fresh:
            return self._fresh[name]
        try:
            with open(self.path(name), "rb") as handle:
                return handle.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            message = "the trusted metadata %s cannot be read (%s); enroll this device again"
            raise OtaError("TRUST_ROOT", message % (self.path(name), error.strerror)) from None

    def keep(self, name: str, content: bytes) -> None:
        """Keep the metadata of a role; on disk when this returns."""
        if self.read(name) == content:
            return
        self._fresh[name] = content
        if self.write:
            durable.write(self.path(name), content)

    def forget(self, name: str) -> None:
        """Drop what is kept of a role; gone from the disk when this returns."""
        self._fresh[name] = None
        if self.write:
            durable.remove(self.path(name))

    def time(self, clock: float | None) -> float:
        """The time to believe: ``clock`` (this machine's if None), or the floor if that is later."""
        return max(time.time() if clock is None else clock, self.floor())

    def floor(self) -> int:
        """The newest time believed so far, in seconds since 1970."""
        try:
            floor = durable.read_json(self._floor, {"time": 0})["time"]
            if isinstance(floor, bool) or not isinstance(floor, int):
                raise ValueError("no time stands in it")
            return floor
        except (OtaError, OSError, ValueError, TypeError, KeyError) as error:
            message = "the time floor %s cannot be used (%s); enroll this device again"
            raise OtaError("TRUST_ROOT", message % (self._floor, error)) from None

    def raise_floor(self, now: float) -> None:
        """Believe no earlier time from now on: metadata was fresh at ``now``."""
        if self.write and int(now) > self.floor():
            durable.write_json(self._floor, {"time": int(now)})
