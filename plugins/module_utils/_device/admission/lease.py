# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Whose device it is: which run of which rollout, by which journal, and who was replaced (``BUSY``, ``STALE``).

``lease.json``: ``{rollout, generation, holder, before: [{rollout, generation, holder}]}``. The *holder* is the journal
of the run, by the hash of its first record (or of the one since which an older copy of it is followed); a resume of the
same journal keeps it. Two controllers with journals of their own count the same generations of the same rollout, and
only this tells them apart. What a request does not say, a person at the device or an older controller, is not compared.
"""

from __future__ import annotations

import typing as t

from ..base.errors import OtaError
from ..base.protocol import Request, whole
from ..records.transaction import Transaction
from ..system import kept, lock
from ..system.boot import boot_id, clock
from ..system.layout import Layout
from . import witness

#: How many earlier runs a device remembers.
REMEMBERED = 32
_NAME, _LOCK = "lease.json", "lease.lock"


class Part(t.NamedTuple):
    """A run that has or had the device; ``holder`` is None where the request did not say."""

    rollout: str
    generation: int
    holder: str | None

    def is_of(self, rollout: str, holder: str | None) -> bool:
        """Whether it may be the same journal of the same rollout."""
        return self.rollout == rollout and (self.holder == holder or None in (self.holder, holder))


def took_part(layout: Layout, rollout: str) -> bool:
    """Whether an update of this rollout had this device, as far back as it remembers."""
    return any(part.rollout == rollout for part in _parts(layout))


def fence(
    layout: Layout, kind: str, request: Request, running: Transaction | None = None, *, take: bool = True
) -> None:
    """Refuse a controller that does not have the device; with ``take`` note whose it is now.

    ``kind`` is that of the transaction that is asked for, ``running`` one that is open and meant by the request.

    Replaced (``STALE``) is an older generation of a journal, however many others came since, and a numbered generation
    that another journal or rollout took the device from: a controller that slept must not undo what was done in the
    meantime. Its next run has a higher number, and is a decision of its operator. While ``running`` is open no other
    journal gets it (``BUSY``), until its deadline has passed or with ``take_over``.
    """
    rollout = name(kind, request.get("rollout"))
    if rollout is not None:
        holder = request.get("holder") or witness.chain(request.get("checkpoint"))
        asker = Part(rollout, whole(request, "generation"), holder)
        _fence(layout, asker, request, running, take)
        if take:
            witness.keep(layout, request)


def insist(running: Transaction, request: Request) -> None:
    """:func:`fence` for what is asked of a transaction that ``running`` is: to keep it, to go back, to wait longer.

    Without a generation none is compared, so that the way back is open to an operator at the device.
    """
    rollout = name(running.kind, running.rollout)
    if not running.is_open or rollout is None:
        return
    generation, holder = request.get("generation"), request.get("holder")
    if generation is None and holder is None:
        return
    if generation is None:
        generation = _newest(_parts(running.layout), rollout, holder)
    _fence(running.layout, Part(rollout, int(generation), holder), request, running, True)


def name(kind: str, rollout: str | None) -> str | None:
    """What the lease calls a rollout: the way back has a journal of its own, and so counts its generations itself."""
    return "back from %s" % rollout if rollout and kind == "rollback" else rollout


def _fence(layout: Layout, asker: Part, request: Request, running: Transaction | None, take: bool) -> None:
    # a lock of its own: a controller that takes over a running transaction does not hold the device's
    with lock.hold(layout, wait=5, name=_LOCK):
        parts = _parts(layout)
        current = parts[0] if parts else None
        mine = current is not None and current.is_of(asker.rollout, asker.holder)
        newest = _newest(parts, asker.rollout, asker.holder)
        if asker.generation < newest or (not mine and 0 < asker.generation == newest):
            raise _stale(asker, newest, current)
        if running is not None and current and not mine and not request.get("take_over") and not _is_over(running):
            raise _busy(running, current)
        after = [asker._replace(holder=asker.holder or (current.holder if mine and current else None))]
        after += [part for part in parts if not part.is_of(asker.rollout, asker.holder)]
        if take and after != parts and not request.get("check"):
            _write(layout, after)


def _newest(parts: t.Sequence[Part], rollout: str, holder: str | None) -> int:
    return max((part.generation for part in parts if part.is_of(rollout, holder)), default=-1)


def _is_over(running: Transaction) -> bool:
    """Whether the deadline has passed and no guard took the device back: it has no guard, or lost it.

    In another boot the guard looks at the device first, and the deadline begins anew.
    """
    expires = running.expires
    if not expires:
        return False
    return clock() > (expires["clock"] if expires.get("boot") == boot_id() else running.deadline)


def _stale(asker: Part, newest: int, current: Part | None) -> OtaError:
    if asker.generation < newest:
        by = "generation %d" % newest
    elif current and current.rollout == asker.rollout:
        by = "a run with another journal"
    else:
        by = "rollout %s" % (current and current.rollout)
    message = "generation %d of rollout %s was replaced by %s; this controller must stop, or be run again"
    return OtaError("STALE", message % (asker.generation, asker.rollout, by))


def _busy(running: Transaction, current: Part) -> OtaError:
    message = "transaction %s is of a run of %s with another journal (its first record is %s); wait for its end,"
    message = message % (running.id, current.rollout, str(current.holder)[:12])
    return OtaError("BUSY", message + " or take the device over with fleet_ota_take_over if that controller is gone")


def _parts(layout: Layout) -> list[Part]:
    """Who has the device, then who had it, newest first."""
    lease = kept.read(layout, _NAME)
    if not lease:
        return []
    parts = [lease, *lease.get("before", [])]
    # older engines kept {rollout: generation}, in the order in which they came
    older = [{"rollout": rollout, "generation": number} for rollout, number in (lease.get("known") or {}).items()]
    return [Part(one["rollout"], int(one["generation"]), one.get("holder")) for one in [*parts, *reversed(older)]]


def _write(layout: Layout, parts: t.Sequence[Part]) -> None:
    before = [part._asdict() for part in parts[1 : REMEMBERED + 1]]
    kept.write(layout, _NAME, dict(parts[0]._asdict(), before=before))
