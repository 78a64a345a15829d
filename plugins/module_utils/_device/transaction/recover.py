# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What the guard does when it runs: at the deadline, at boot, or at once, when a request asks to go back."""

from __future__ import annotations

import time
import traceback

from ..base.errors import OtaError
from ..base.states import State
from ..enrolment.identity import Identity
from ..kinds import snapshots
from ..records import releases
from ..records.transaction import Transaction
from ..system import background, durable, lock
from ..system.layout import Layout
from . import finish, guard, quiesce, reboot, worker
from .health import Health
from .restore import go_back

#: Boots with an open transaction before it goes back whatever its health says.
MOST_BOOTS = 3


def run(layout: Layout, identifier: str, mode: str) -> None:
    """Settle transaction ``identifier``; ``mode`` is ``wait`` (for the deadline), ``deadline``, ``boot`` or ``now``."""
    transaction = _ours(layout, identifier)
    while mode == "wait" and transaction is not None and transaction.is_open and guard.remaining(transaction) > 0:
        # short sleeps: the boot clock goes on while the device sleeps, and the deadline may be moved
        time.sleep(max(0.0, min(guard.remaining(transaction), 60)))
        transaction = _ours(layout, identifier)
    if transaction is None or (not transaction.is_open and transaction.tidied):
        return
    if mode == "quiesced":
        quiesce.watch(transaction)
        return
    if mode == "deadline" and guard.remaining(transaction) > 1:
        return  # an alarm by a wall clock that was set forward, or of a deadline that was moved
    if mode == "boot":
        transaction = _booted(layout, identifier)
        if transaction is None:
            return
    elif transaction.is_at_work and transaction.state is not State.RESTORING:
        pid = durable.read_json(transaction.folder("worker.json"), {}).get("pid")
        background.end(layout, worker.name(transaction), pid, transaction.id)
    with lock.hold(layout, wait=600):
        transaction = _ours(layout, identifier)
        if transaction is not None:
            _settle(transaction, mode)


def _ours(layout: Layout, identifier: str) -> Transaction | None:
    transaction = Transaction.load(layout)
    return transaction if transaction is not None and transaction.id == identifier else None


def _booted(layout: Layout, identifier: str) -> Transaction | None:
    """Count this boot, and wait for the rest of the system unless it was let try often enough."""
    with lock.hold(layout, wait=600):
        transaction = _ours(layout, identifier)
        if transaction is not None and transaction.is_open:
            transaction.count_boot()
    if transaction is not None and not (
        transaction.state in (State.REBOOTING, State.CHECKING) and transaction.boots >= MOST_BOOTS
    ):
        reboot.wait_for_system()
    return transaction


def _settle(transaction: Transaction, mode: str) -> None:
    if not transaction.is_open:
        if not transaction.tidied:
            finish.tidy(transaction)
        return
    asked = durable.read_json(transaction.folder("asked.json")) or {}
    if transaction.state.is_untouched:
        code, message = (
            asked.get("code", "INTERRUPTED"),
            asked.get("message", "interrupted before anything was touched"),
        )
        finish.finish(transaction, State.DEFERRED, code, message)
    elif transaction.state is State.RESTORING:
        go_back(transaction, transaction.code or "INTERRUPTED", transaction.message)
    elif asked:
        go_back(transaction, asked["code"], asked["message"])
    elif mode == "boot":
        _after_boot(transaction)
    elif transaction.state is State.REBOOTING and mode == "now":
        _reboot_again(transaction)
    elif transaction.state is State.UNCONFIRMED or mode in ("deadline", "wait"):
        if guard.remaining(transaction) <= 1 or mode == "now":
            go_back(transaction, "DEADLINE", "nobody confirmed within %d s" % transaction.deadline)
    else:
        go_back(transaction, "INTERRUPTED", "the engine was lost in state %s" % transaction.state)


def _reboot_again(transaction: Transaction) -> None:
    """The worker was lost between saying that it reboots and doing so."""
    if reboot.happened(transaction):
        _after_boot(transaction)
        return
    try:
        reboot.ask(transaction.layout)
    except OtaError as error:
        go_back(transaction, error.code, error.message)


def _after_boot(transaction: Transaction) -> None:
    if reboot.is_into_new(transaction):
        _into_new(transaction)
    elif transaction.state is not State.UNCONFIRMED:
        go_back(transaction, "INTERRUPTED", "the device went down in state %s" % transaction.state)
    elif transaction.boots > MOST_BOOTS:
        go_back(transaction, "DEADLINE", "still not confirmed after %d boots" % transaction.boots)
    elif guard.remaining(transaction) <= 0:  # else this boot was looked at already
        document = releases.of_transaction(transaction)
        health = Health(
            transaction.layout, document.get("health", {}) if document else {}, Identity(transaction.layout).words
        )
        verdict = health.wait(transaction.baseline)
        if not verdict.healthy:
            go_back(transaction, "HEALTH", "after a boot: %s" % verdict.reason)
            return
        snapshots.load(transaction.layout, transaction.id)  # it must still be there to be worth waiting for
        guard.arm(transaction)


def _into_new(transaction: Transaction) -> None:
    """The reboot that the release asked for: prove the new release, or go back from it."""
    if transaction.boots >= MOST_BOOTS:
        go_back(transaction, "REBOOT", "booted %d times and never came to be healthy" % transaction.boots)
        return
    guard.arm(transaction)  # nothing of the last boot's alarms is left; the deadline starts anew
    document = releases.of_transaction(transaction)
    try:
        worker.prove(transaction, document.get("health", {}) if document else {})
    except OtaError as error:
        go_back(transaction, error.code, "after the reboot: %s" % error.message)
        return
    except Exception as error:  # the device must not stay in between
        transaction.log(traceback.format_exc())
        go_back(transaction, "HEALTH", "after the reboot: %s: %s" % (type(error).__name__, error))
        return
    guard.arm(transaction)
