# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""A release on its way to one device: what is said, and how its payloads get there."""

from __future__ import annotations

import datetime
import hashlib
import time
import typing as t

from .._control.base.errors import ControlError
from .._control.client.bundle import Bundle

if t.TYPE_CHECKING:
    from .base import Link


class TooLate(Exception):
    """The moment is over after which nothing is begun; says which, and the next step."""


class Until:
    """The moment after which nothing is begun, from a text as ``2030-03-07T05:00:00Z``; None for no such moment.

    Raises ControlError for a text that is none, or has no offset from UTC.
    """

    def __init__(self, text: str | None) -> None:
        try:
            self._end = datetime.datetime.fromisoformat(text) if text is not None else None
        except ValueError:
            self._end = None
        if text is not None and (self._end is None or self._end.tzinfo is None):
            raise ControlError(f"window_end is {text!r}; give a moment with its offset, such as 2030-03-07T05:00:00Z")

    def insist(self, seconds: int = 0) -> None:
        """Raise :class:`TooLate` if it is over in so many ``seconds``."""
        if self._end is not None and now() + datetime.timedelta(seconds=seconds) >= self._end:
            raise TooLate(
                f"nothing was brought, because the time for it ends at {self._end.isoformat()} and this device's turn "
                "came too late; stage again in its next window, with more forks or less splay if it keeps being late"
            )


def now() -> datetime.datetime:
    """This moment."""
    return datetime.datetime.now(datetime.UTC)


class Offer:
    """A bundle with the way of its payloads to ``host``: ``push`` over the connection or ``pull`` from ``mirrors``.

    With a ``splay`` (seconds) a device that pulls is not told where from before its share of it has passed. Raises
    ControlError for a way that leads nowhere.
    """

    def __init__(
        self, bundle: Bundle, transfer: str, mirrors: t.Sequence[str], *, host: str = "", splay: int = 0
    ) -> None:
        if transfer == "pull" and not mirrors:
            raise ControlError("transfer is pull but no mirrors are named; name the URLs that serve targets/payloads")
        if splay < 0:
            raise ControlError(f"splay is {splay}; give seconds, or 0 for none")
        self.bundle = bundle
        self._mirrors = list(mirrors) if transfer == "pull" else []
        self._pause = 0
        if self._mirrors and splay:
            self._pause = share(host, [entry["sha256"] for entry in bundle.payloads()], splay)

    def request(self) -> dict[str, t.Any]:
        """The members of a request that carry it."""
        return {"bundle": self.bundle.wire(), **({} if self._pause else self._pull())}

    def bring(
        self, device: Link, missing: t.Iterable[t.Mapping[str, t.Any]], until: Until | None = None
    ) -> dict[str, t.Any]:
        """Push what the device says is missing, or wait until it may pull; what that adds to :meth:`request`.

        Raises :class:`TooLate` instead of beginning after ``until``.
        """
        if until:
            until.insist(self._pause)
        if self._mirrors:
            time.sleep(self._pause)
            self._pause = 0
            if until:
                until.insist()  # a pause can be longer than it should, on a machine that was suspended
            return self._pull()
        for entry in missing:
            path = self.bundle.payload(entry["sha256"])
            device.push(entry["sha256"], entry["length"], entry["offset"], path)
        return {}

    def _pull(self) -> dict[str, t.Any]:
        if not self._mirrors:
            return {}
        return {"pull": {entry["sha256"]: self._urls(entry["sha256"]) for entry in self.bundle.payloads()}}

    def _urls(self, sha256: str) -> list[str]:
        return [f"{mirror.rstrip('/')}/targets/payloads/{sha256}" for mirror in self._mirrors]


def share(host: str, payloads: t.Iterable[str], splay: int) -> int:
    """After how many of ``splay`` seconds ``host`` begins to pull ``payloads`` (their SHA-256).

    Always the same for the same device and files, so that a run that is begun again does not draw anew, and another
    one for the next release, so that nobody is always the last (systemd.timer, FixedRandomDelay).
    """
    drawn = hashlib.sha256(" ".join([host, *sorted(payloads)]).encode()).digest()
    return int.from_bytes(drawn[:8], "big") % (splay + 1)
