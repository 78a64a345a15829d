# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Verbs about the transaction: how it stands, to keep what it installed, to go back."""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ..admission import lease
from ..base.errors import OtaError
from ..base.protocol import Reply, Request
from ..records import transaction
from ..system import boot, durable, lock
from ..system.layout import Layout
from ..transaction import begin, finish, guard, reboot
from . import _connection, apply


def locked(function: t.Callable[[Layout, Request], Reply]) -> t.Callable[[Layout, Request, t.IO[bytes]], Reply]:
    """The verb that does ``function`` with the device to itself; OtaError ``BUSY`` if something is at work."""

    def verb(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
        if not os.path.isdir(layout.state):
            raise OtaError("NO_IDENTITY", "this device was not enrolled: there is no %s" % layout.state)
        layout.prepare()
        running = transaction.Transaction.load(layout)
        try:
            # A look at the status holds the lock for a moment; only real work is worth telling about.
            with lock.hold(layout, wait=0 if running and running.is_at_work else 5):
                reply = function(layout, request)
        except OtaError as error:
            # At work for the same rollout: not somebody else, but what this very command started before.
            if error.code != "BUSY" or not running or not running.is_at_work or not _ours(running, request):
                raise
            lease.insist(running, request)
            reply = running.reply()
        return _wait(layout, reply, request)

    return verb


def _ours(running: transaction.Transaction, request: Request) -> bool:
    return bool(running.data.get("rollout") == request.get("rollout"))


def _wait(layout: Layout, reply: Reply, request: Request) -> Reply:
    """Stay for up to ``wait`` seconds while the transaction is at work: a short change costs one round trip."""
    end = time.monotonic() + float(request.get("wait") or 0)
    pause = 0.02
    while _is_going_on(reply) and time.monotonic() < end:
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)
        found = transaction.Transaction.load(layout)
        if found is None or found.id != reply["transaction"]:
            break
        reply = _reply(found)
    return reply


def _is_going_on(reply: Reply) -> bool:
    """At work, and not about to go down: nobody holds a connection to a device that reboots."""
    return bool(reply.get("transaction") and reply["state"] in transaction.AT_WORK and not reply.get("rebooting"))


def _reply(found: transaction.Transaction) -> Reply:
    """The transaction reply; what was asked to go back is on its way, also before the guard has taken it over."""
    reply = dict(found.reply(), rebooting=reboot.under_way(found))
    if found.state == "unconfirmed" and os.path.exists(found.folder("asked.json")):
        reply["state"] = "restoring"
    return reply


def status(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
    """How the transaction stands; what a lost engine left undone is done, or sent back, right away."""
    found = transaction.Transaction.load(layout)
    if found is None:
        return dict(apply.IDLE)
    unfinished = found.is_at_work or (not found.is_open and not found.data.get("tidied"))
    if unfinished and lock.is_free(layout):
        with lock.hold(layout, wait=5):
            found = finish.settle(layout)
        if found is not None and found.state in transaction.TOUCHED:
            _take_over(found)
    return _wait(layout, _reply(found) if found else {}, request)


def _take_over(found: transaction.Transaction) -> None:
    """Nobody is at work on what ought to be: the guard of this boot has not begun, or somebody was killed."""
    if reboot.under_way(found):
        with contextlib.suppress(OtaError):  # a system that is going down starts nothing any more
            _back(found, "now")
    else:
        _back(found, "boot" if reboot.is_into_new(found) and reboot.happened(found) else "now")


def _meant(found: transaction.Transaction, request: Request) -> bool:
    """Whether a request is about this transaction: by its id, by its rollout, or by naming neither."""
    identifier, rollout = request.get("transaction"), request.get("rollout")
    return (not identifier or found.id == identifier) and (not rollout or found.data.get("rollout") == rollout)


def _while_waiting(layout: Layout, request: Request, do: t.Callable[[transaction.Transaction], None]) -> Reply:
    """Do something to the transaction that a request is about, as long as it waits for a confirm."""
    found = finish.settle(layout)
    if found is None or not _meant(found, request):
        return dict(apply.IDLE)
    lease.insist(found, request)
    if found.state == "unconfirmed" and not request.get("check"):
        do(found)
    return found.reply()


def confirm(layout: Layout, request: Request) -> Reply:
    """Keep what is installed. Only a transaction that waits for it can be confirmed; once confirmed it stays so."""

    def keep(found: transaction.Transaction) -> None:
        _new_connection(layout, found)
        finish.confirm(found)

    return _while_waiting(layout, request, keep)


def _new_connection(layout: Layout, found: transaction.Transaction) -> None:
    """OtaError ``SAME_CONNECTION`` for an SSH connection that was made before the new release was in place."""
    made, since = _connection.started() if layout.is_real else None, found.data.get("in_place")
    if made is None or not since or since["boot"] != boot.boot_id():
        return
    if made + 0.05 < since["clock"]:  # the kernel counts it in ticks
        message = "this connection is older than the release; confirm over a new one, which proves that one can be made"
        raise OtaError("SAME_CONNECTION", message)


def extend(layout: Layout, request: Request) -> Reply:
    """Move the deadline of what waits for a confirm: ``deadline`` seconds from now, never earlier than it is."""
    return _while_waiting(layout, request, lambda found: guard.extend(found, begin.options(request)["deadline"]))


def restore(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
    """Go back from the open transaction, at work or waiting; nothing open is nothing to do."""
    found = transaction.Transaction.load(layout)
    if found is None or not _meant(found, request):
        return dict(apply.IDLE)
    lease.insist(found, request)
    again = found.state == "broken"
    if request.get("check") or not (found.is_open or again):
        return found.reply()
    if again:
        with lock.hold(layout, wait=5):
            found.advance("restoring", outcome=None, tidied=False)
    if found.state != "restoring":
        asked = {
            "code": request.get("code") or "REQUESTED",
            "message": request.get("message") or "somebody asked for it",
        }
        durable.write_json(found.folder("asked.json"), asked)
    if found.state != "restoring" or lock.is_free(layout):
        try:
            _back(found, "now")
        except OtaError:
            if not reboot.under_way(found):  # what was asked for is on disk: the guard sees it after the boot
                raise
    return _wait(layout, dict(found.reply(), state="restoring"), request)


def _back(found: transaction.Transaction, mode: str) -> None:
    guard.start(found, "fleet-ota-back-%s-%d" % (found.id, time.time_ns() // 1000000), mode)
