# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""A release on its way to one device: what is said, and how its payloads get there."""

from __future__ import annotations

import typing as t

from .._control.bundle import Bundle

if t.TYPE_CHECKING:
    from .device import Device


class Offer:
    """A bundle with the way of its payloads: ``push`` over the connection or ``pull`` from ``mirrors``."""

    def __init__(self, bundle: Bundle, transfer: str, mirrors: t.Sequence[str]) -> None:
        if transfer == "pull" and not mirrors:
            from .._control.errors import ControlError

            raise ControlError("transfer is pull but no mirrors are named; name the URLs that serve targets/payloads")
        self.bundle = bundle
        self._mirrors = list(mirrors) if transfer == "pull" else []

    def request(self) -> dict[str, t.Any]:
        """The members of a request that carry it."""
        found: dict[str, t.Any] = {"bundle": self.bundle.wire()}
        if self._mirrors:
            found["pull"] = {entry["sha256"]: self._urls(entry["sha256"]) for entry in self.bundle.payloads()}
        return found

    def stage(self, device: Device, missing: t.Iterable[t.Mapping[str, t.Any]]) -> int:
        """Push what the device says is missing; the number of files."""
        count = 0
        for entry in missing:
            path = self.bundle.payload(entry["sha256"])
            device.push(entry["sha256"], entry["length"], entry["offset"], path)
            count += 1
        return count

    def _urls(self, sha256: str) -> list[str]:
        return ["%s/targets/payloads/%s" % (mirror.rstrip("/"), sha256) for mirror in self._mirrors]
