# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What a device remembers between transactions: what is installed, what failed here, how far it has come.

``installed.json``: ``{format, releases: {NAME: {current, previous, counter}}, rejected: {DIGEST: {...}}}``.
``current`` and ``previous`` are ``{name, version, counter, digest, transaction, units, rollout, time}``; the snapshot
that leads back from ``current`` has the id of its transaction. ``earlier`` lists what was before ``previous``, newest
first, as far as there are snapshots to get there.
"""

from __future__ import annotations

import time
import typing as t

from ..base import protocol
from ..base.errors import OtaError
from ..base.typed import TypedDict
from ..documents import release
from ..system import kept
from ..system.layout import Layout

FORMAT = 1
_NAME = "installed.json"
#: Releases of which it is kept that the device went down.
_MOST_INTERRUPTED = 20


class Entry(protocol.Release, total=False):
    """A release that was confirmed here; ``migrated`` are the paths of data that were migrated and stay."""

    transaction: str
    units: list[str]
    rollout: str | None
    time: str
    migrated: list[str]


class Chain(TypedDict, total=False):
    """What is installed of one name, and what was before it."""

    current: Entry | None
    previous: Entry | None
    earlier: list[Entry]
    counter: int


class Rejection(TypedDict):
    """Why a release is not taken again."""

    code: str
    message: str
    time: str


class _Document(TypedDict):
    format: int
    releases: dict[str, Chain]
    rejected: dict[str, Rejection]


class Document(_Document, total=False):
    """``installed.json``; ``interrupted``: in which transactions and steps of a release the device went down."""

    interrupted: dict[str, dict[str, list[str]]]


def stamp() -> str:
    """The time now, UTC, RFC 3339."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Memory:
    """``installed.json`` of one device; every change is durable when its method returns."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        empty: Document = {"format": FORMAT, "releases": {}, "rejected": {}}
        found = kept.read(layout, _NAME, valid=_is_whole, lasting=True)
        self.value: Document = t.cast(Document, found) if found else empty

    def of(self, name: str) -> Chain:
        """What is installed of the release name ``name``."""
        return self.value["releases"].get(name, {"current": None, "previous": None, "counter": 0})

    def latest(self) -> str | None:
        """The release name that was confirmed last, or None."""
        times = [(entry["current"]["time"], name) for name, entry in self.value["releases"].items() if entry["current"]]
        return max(times)[1] if times else None

    def require_acceptable(
        self,
        document: release.Document,
        digest: str,
        retry_rejected: bool,
        last: protocol.TransactionReply | None = None,
    ) -> None:
        """Refuse what is older than confirmed (``ROLLBACK``), failed here before (``REJECTED``), or goes over other
        releases than the one that is here (``UPDATE_PATH``).

        ``last`` is the reply of the last transaction, which tells the asker whether it was its own.
        """
        here = self.of(document["name"])
        current, floor = here["current"], here["counter"]
        if current and current["digest"] == digest:
            return  # here already, if only after a way back from something newer
        if document["counter"] < floor:
            message = "counter %d of %s %s is below %d, which this device has confirmed; use a rollback to go back"
            raise OtaError("ROLLBACK", message % (document["counter"], document["name"], document["version"], floor))
        rejection = self.value["rejected"].get(digest)
        if rejection and not retry_rejected:
            message = "this release failed here before (%s: %s); set retry_rejected to offer it again"
            raise OtaError(
                "REJECTED", message % (rejection["code"], rejection["message"]), rejected=rejection, last=last
            )
        obstacle = release.obstacle(document, current)
        if obstacle:
            message = "%s %s cannot be taken here directly: %s; update to a release in between first"
            raise OtaError("UPDATE_PATH", message % (document["name"], document["version"], obstacle))

    def chain(self, name: str) -> list[Entry]:
        """What is installed, what was before that, and so on."""
        entry = self.of(name)
        return [one for one in (entry["current"], entry["previous"], *entry.get("earlier", [])) if one]

    def confirm(self, done: Entry, keep: int = 1) -> None:
        """``done`` is what is installed now; the counter's floor rises. Can be run again.

        ``keep`` is how many ways back stay: so many releases before ``done`` are remembered.
        """
        entry = self.of(done["name"]).copy()
        current = entry["current"]
        if current is None or current.get("transaction") != done["transaction"]:
            confirmed: Entry = {**done, "time": stamp()}
            entry.update(_entries([confirmed, *self.chain(done["name"])][: keep + 1]))
        entry["counter"] = max(entry["counter"], done["counter"])
        self.value["releases"][done["name"]] = entry
        self.value["rejected"].pop(done["digest"], None)
        self.value.get("interrupted", {}).pop(done["digest"], None)
        self._write()

    def went_back(self, name: str) -> None:
        """The release before is installed again; a way back leads to the one before that. Can be run again."""
        entry = self.of(name).copy()
        if entry["previous"] is not None:
            entry.update(_entries(self.chain(name)[1:]))
            self.value["releases"][name] = entry
            self._write()

    def forget(self, name: str) -> None:
        """Nothing of ``name`` is installed any more."""
        entry = self.of(name).copy()
        entry.update(_entries([]))
        self.value["releases"][name] = entry
        self._write()

    def reject(self, digest: str, code: str, message: str) -> None:
        """Never take this release again, unless a request says ``retry_rejected``."""
        self.value["rejected"][digest] = {"code": code, "message": message, "time": stamp()}
        self._write(cramped=True)

    def went_down(self, digest: str, step: str, transaction: str) -> int:
        """Note that the device went down in ``step`` of a release; in how many transactions. Can be run again."""
        releases = self.value.setdefault("interrupted", {})
        steps = releases.pop(digest, {})
        transactions = steps.setdefault(step, [])
        if transaction not in transactions:
            transactions.append(transaction)
        releases[digest] = steps
        for oldest in list(releases)[:-_MOST_INTERRUPTED]:
            del releases[oldest]
        self._write(cramped=True)
        return len(transactions)

    def _write(self, *, cramped: bool = False) -> None:
        kept.write(self.layout, _NAME, t.cast("t.Mapping[str, object]", self.value), cramped=cramped)


def _is_whole(value: kept.Value) -> bool:
    """Whether it can be what was written."""
    chains, rejected = value.get("releases"), value.get("rejected")
    return isinstance(rejected, dict) and isinstance(chains, dict) and all(map(_is_chain, chains.values()))


def _is_chain(value: object) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("counter"), int):
        return False
    entries = [value.get("current"), value.get("previous"), *(value.get("earlier") or [])]
    return all(entry is None or (isinstance(entry, dict) and "digest" in entry) for entry in entries)


def _entries(chain: list[Entry]) -> Chain:
    current, previous = [*chain[:2], None, None][:2]
    return {"current": current, "previous": previous, "earlier": chain[2:]}
