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
from ..base.protocol import Reply, Request, TransactionReply
from ..base.states import AT_WORK, State
from ..records.transaction import Transaction
from ..system import boot, durable, lock
from ..system.layout import Layout
from ..transaction import begin, finish, guard, reboot
from . import _connection, apply


def locked(
    function: t.Callable[[Layout, Request], Reply],
) -> t.Callable[[Layout, Request, t.IO[bytes]], Reply]:
    """The verb that does ``function`` with the device to itself; OtaError ``BUSY`` if something is at work."""

    def verb(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
        if not os.path.isdir(layout.state):
            raise OtaError("NO_IDENTITY", "this device was not enrolled: there is no %s" % layout.state)
        layout.prepare()
        running = Transaction.load(layout)
        try:
            # A look at the status holds the lock for a moment; only real work is worth telling about.
            with lock.hold(layout, wait=0 if running and running.is_at_work else 5):
                reply = function(layout, request)
        except OtaError as error:
            # The transaction runs for the same rollout: an earlier call of this very command started it.
            if error.code != "BUSY" or not running or not running.is_at_work or not _ours(running, request):
                raise
            lease.insist(running, request)
            reply = running.reply()
        return _wait(layout, reply, request)

    return verb


def _ours(running: Transaction, request: Request) -> bool:
    return running.rollout == request.get("rollout")


def _wait(layout: Layout, reply: Reply, request: Request) -> Reply:
    """Stay for up to ``wait`` seconds while the transaction is at work: a short change costs one round trip."""
    end = time.monotonic() + float(request.get("wait") or 0)
    pause = 0.02
    while _is_going_on(reply) and time.monotonic() < end:
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)
        transaction = Transaction.load(layout)
        if transaction is None or transaction.id != reply["transaction"]:
            break
        reply = _reply(transaction)
    return reply


def _is_going_on(reply: Reply) -> bool:
    """Whether the transaction runs and the device stays up: no call waits on a device that reboots."""
    return bool(reply.get("transaction") and reply["state"] in AT_WORK and not reply.get("rebooting"))


def _reply(transaction: Transaction) -> TransactionReply:
    """The transaction reply; what was asked to go back is on its way, also before the guard has taken it over."""
    reply: TransactionReply = {**transaction.reply(), "rebooting": reboot.under_way(transaction)}
    if transaction.state is State.UNCONFIRMED and os.path.exists(transaction.folder("asked.json")):
        reply["state"] = State.RESTORING.value
    return reply


def status(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
    """How the transaction stands; what a lost engine left undone is done, or sent back, right away."""
    transaction = Transaction.load(layout)
    if transaction is None:
        return apply.IDLE.copy()
    unfinished = transaction.is_at_work or (not transaction.is_open and not transaction.tidied)
    if (unfinished or guard.is_overdue(transaction)) and lock.is_free(layout):
        with lock.hold(layout, wait=5):
            transaction = finish.settle(layout)
        if transaction is not None and (transaction.state.is_touched or guard.is_overdue(transaction)):
            _take_over(transaction)
    return _wait(layout, _reply(transaction) if transaction else {}, request)


def _take_over(transaction: Transaction) -> None:
    """Carry on with a transaction that no process works on: its worker or guard was killed, or has not started."""
    if reboot.under_way(transaction):
        with contextlib.suppress(OtaError):  # a system that is going down starts nothing any more
            guard.call(transaction, "now")
    else:
        guard.call(transaction, "boot" if reboot.is_into_new(transaction) and reboot.happened(transaction) else "now")


def _meant(transaction: Transaction, request: Request) -> bool:
    """Whether a request is about this transaction: by its id, by its rollout, or by naming neither."""
    identifier, rollout = request.get("transaction"), request.get("rollout")
    return (not identifier or transaction.id == identifier) and (not rollout or transaction.rollout == rollout)


def _while_waiting(layout: Layout, request: Request, do: t.Callable[[Transaction], None]) -> TransactionReply:
    """Do something to the transaction that a request is about, as long as it waits for a confirm."""
    transaction = finish.settle(layout)
    if transaction is None or not _meant(transaction, request):
        return apply.IDLE.copy()
    lease.insist(transaction, request)
    if transaction.state is State.UNCONFIRMED and not request.get("check"):
        do(transaction)
    return transaction.reply()


def confirm(layout: Layout, request: Request) -> TransactionReply:
    """Keep what is installed. Only a transaction that waits for it can be confirmed; once confirmed it stays so."""

    def keep(transaction: Transaction) -> None:
        _require_new_connection(layout, transaction)
        finish.confirm(transaction)

    return _while_waiting(layout, request, keep)


def _require_new_connection(layout: Layout, transaction: Transaction) -> None:
    """OtaError ``SAME_CONNECTION`` for an SSH connection that was made before the new release was in place."""
    connected, since = _connection.started() if layout.is_real else None, transaction.in_place
    if connected is None or not since or since["boot"] != boot.boot_id():
        return
    if connected + 0.05 < since["clock"]:  # the kernel counts it in ticks
        message = "this connection is older than the release; confirm over a new one, which proves that one can be made"
        raise OtaError("SAME_CONNECTION", message)


def extend(layout: Layout, request: Request) -> TransactionReply:
    """Move the deadline of what waits for a confirm: ``deadline`` seconds from now, never earlier than it is."""
    return _while_waiting(
        layout, request, lambda transaction: guard.extend(transaction, begin.options(request)["deadline"])
    )


def restore(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
    """Go back from the open transaction, at work or waiting; nothing open is nothing to do."""
    transaction = Transaction.load(layout)
    if transaction is None or not _meant(transaction, request):
        return apply.IDLE.copy()
    lease.insist(transaction, request)
    again = transaction.state is State.BROKEN
    if request.get("check") or not (transaction.is_open or again):
        return transaction.reply()
    if again:
        with lock.hold(layout, wait=5):
            guard.at_boot(transaction)
            # Three boots to prove it in, as the first time.
            transaction.advance(State.RESTORING, outcome=None, tidied=None, back_from=None, back_boots=None)
    if transaction.state is not State.RESTORING:
        asked = {
            "code": request.get("code") or "REQUESTED",
            "message": request.get("message") or "an operator requested it",
        }
        _ask(transaction, asked)
    if transaction.state is not State.RESTORING or lock.is_free(layout):
        try:
            guard.call(transaction, "now")
        except OtaError:
            if not reboot.under_way(transaction):  # what was asked for is on disk: the guard sees it after the boot
                raise
    return _wait(layout, {**transaction.reply(), "state": State.RESTORING.value}, request)


def _ask(transaction: Transaction, asked: t.Mapping[str, str]) -> None:
    """Put on disk what was asked for; where there is no room, by the state itself."""
    try:
        durable.write_json(transaction.folder("asked.json"), asked)
    except OSError:
        with lock.hold(transaction.layout, wait=5):
            transaction.advance(State.RESTORING, **asked)
