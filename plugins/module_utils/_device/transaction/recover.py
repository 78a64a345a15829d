# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What the guard does when it runs: it waits until there is something to do, and does it until all is settled.

Nothing that fails ends it for good: what raises is tried again, what is killed is started again, a lock whose holder is
stopped or hangs is taken from it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback

from ..base.errors import OtaError
from ..base.states import State
from ..enrolment.identity import Identity
from ..kinds import snapshots
from ..records import releases
from ..records.transaction import Transaction
from ..system import background, durable, lock
from ..system.boot import boot_id
from ..system.layout import Layout
from . import finish, guard, quiesce, reboot, worker
from .health import Health
from .restore import go_back

#: Boots with an open transaction before it goes back whatever its health says.
MOST_BOOTS = 3
#: Seconds between two looks of a guard that waits.
_PAUSE = 0.5
#: Seconds without a holder of the lock after which a transaction that is at work is taken for abandoned.
_ABANDONED = 5.0
#: Seconds in which a holder of the lock has to use the processor: while it restores, and at any other time.
_RESTORING_PATIENCE, _PATIENCE = 900.0, 60.0
#: Seconds after which one that was stopped or frozen is not going to be let go on.
_STOPPED_PATIENCE = 10.0
#: Seconds after which a guard looks anew at what is due while somebody works.
_BUSY = 600.0
#: Seconds from one failure to the next try: they double from the first to the last.
_FIRST_REST, _LAST_REST = 1.0, 300.0


def run(layout: Layout, identifier: str, mode: str) -> None:
    """Settle transaction ``identifier``.

    ``mode``: ``wait`` stays until it is settled; ``deadline``, ``boot`` and ``now`` do once what is due then;
    ``quiesced`` waits for what :mod:`quiesce` is about.
    """
    if mode == guard.STAYS:
        _Guard(layout, identifier).stay()
        return
    transaction = _ours(layout, identifier)
    if transaction is None or (not transaction.is_open and transaction.tidied):
        return
    if mode == "quiesced":
        quiesce.watch(transaction)
    elif mode != "deadline" or guard.remaining(transaction) <= 1:  # else a deadline that was moved
        _Guard(layout, identifier).act(transaction, mode)


class _Spell:
    """For how long something has been so without a break, as far as it was looked at."""

    def __init__(self) -> None:
        self._since: float | None = None

    def lasts(self, is_so: bool, seconds: float) -> bool:
        """Look again: whether it has been so for ``seconds``."""
        if not is_so:
            self._since = None
            return False
        now = time.monotonic()
        self._since = self._since if self._since is not None else now
        return now - self._since >= seconds


class _Guard:
    """One guard of one transaction; ``pid`` is the process by which a guard that stays is known."""

    def __init__(self, layout: Layout, identifier: str) -> None:
        self.layout, self.identifier = layout, identifier
        self.pid: int | None = None
        self._free, self._asked = _Spell(), _Spell()
        self._holders: list[lock.Holder] = []
        self._idle_since = 0.0

    def stay(self) -> None:
        """Do what is due whenever something is, until all is settled; started again by a parent of its own, if need be.

        systemd starts it again itself.
        """
        self.pid = os.getpid()
        if not background.by_systemd(self.layout):
            _supervise()
        rest = _FIRST_REST
        while True:
            transaction = None
            try:
                transaction = self._load()
                if transaction is None or self._is_over(transaction):
                    return
                mode = self._due(transaction)
                if mode:
                    self.act(transaction, mode)
                    rest = _FIRST_REST
                else:
                    time.sleep(_PAUSE)
            except MemoryError:
                raise  # begins anew, with the memory of a process that has done nothing yet
            except Exception as error:
                if isinstance(error, OtaError) and error.code == "BUSY":  # it is looked after by somebody else
                    time.sleep(_FIRST_REST)
                    continue
                _tell(transaction, error)
                time.sleep(rest)
                rest = min(2 * rest, _LAST_REST)

    def act(self, transaction: Transaction, mode: str) -> None:
        """Do what is due, as a guard that runs in ``mode``; OtaError ``BUSY`` while somebody else is at it."""
        if mode == "boot":
            self._count_boot(transaction)
        elif transaction.is_at_work and transaction.state is not State.RESTORING:
            pid = None
            with contextlib.suppress(OtaError):
                pid = durable.read_json(transaction.folder("worker.json"), {}).get("pid")
            background.end(self.layout, worker.name(transaction), pid, transaction.id)
        with self._taken(transaction):
            current = self._load()
            if current is not None:
                _settle(current, mode, self.pid)

    def _load(self) -> Transaction | None:
        return _ours(self.layout, self.identifier)

    def _is_over(self, transaction: Transaction) -> bool:
        """Whether nothing is left to do; a guard that must not act by itself waits for nothing."""
        if not transaction.is_open:
            return transaction.tidied is not None
        return transaction.guard == "none" and self._due(transaction) is None

    def _due(self, transaction: Transaction) -> str | None:
        """What is to be done now, as a mode of :func:`run`; None if nothing is."""
        is_abandoned = self._is_abandoned(transaction)
        if not transaction.is_open:
            return "now" if is_abandoned else None
        expires = transaction.expires
        if transaction.counted != boot_id() or (expires and expires["boot"] != boot_id() and is_abandoned):
            return "boot"
        if self._is_asked(transaction):
            return "now"
        if transaction.state is not State.UNCONFIRMED and is_abandoned:
            return "boot" if reboot.is_into_new(transaction) and reboot.happened(transaction) else "now"
        if expires and transaction.guard != "none" and guard.remaining(transaction) <= 0:
            return "deadline"
        return None

    def _is_asked(self, transaction: Transaction) -> bool:
        """Whether a request to go back was made, and the guard that was called for it has not come."""
        was_asked = transaction.state is not State.RESTORING and os.path.exists(transaction.folder("asked.json"))
        return self._asked.lasts(was_asked, _ABANDONED)

    def _is_abandoned(self, transaction: Transaction) -> bool:
        """Whether nobody has held the lock for a while; somebody who was just asked to work may not have it yet."""
        return self._free.lasts(not finish.is_starting(transaction) and lock.is_free(self.layout), _ABANDONED)

    def _clear(self, transaction: Transaction) -> None:
        """Take the lock from holders that do nothing with it, because they are stopped or have hung for long."""
        holders = lock.holders(self.layout)
        now = time.monotonic()
        if holders != self._holders:
            self._holders, self._idle_since = holders, now
        current = self._load() or transaction  # its holder may have gone on since the caller looked
        patience = _RESTORING_PATIENCE if current.state is State.RESTORING else _PATIENCE
        if any(lock.is_stopped(holder.pid) for holder in holders):
            patience = _STOPPED_PATIENCE
        if holders and now - self._idle_since >= patience:
            lock.end_holders(self.layout, [holder.pid for holder in holders])

    def _taken(self, transaction: Transaction) -> contextlib.ExitStack:
        """The lock, held until what is returned is left; OtaError ``BUSY`` where somebody works with it for long."""
        stack, end = contextlib.ExitStack(), time.monotonic() + _BUSY
        while True:
            self._clear(transaction)
            try:
                stack.enter_context(lock.hold(self.layout, wait=2))
                return stack
            except OtaError:
                if time.monotonic() >= end:
                    raise

    def _count_boot(self, transaction: Transaction) -> None:
        """Count this boot, and wait for the rest of the system unless it was let try often enough."""
        with self._taken(transaction):
            counted = self._load()
            if counted is not None and counted.is_open:
                counted.count_boot()
        if counted is not None and not (
            counted.state in (State.REBOOTING, State.CHECKING) and counted.boots >= MOST_BOOTS
        ):
            reboot.wait_for_system()


def _supervise() -> None:
    """Go on in a child of this process, which starts another one whenever that is killed or fails."""
    background.outlast_others()
    while True:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:  # no memory or no process left, which is what may have ended the one of before
            time.sleep(_FIRST_REST)
            continue
        if pid == 0:
            time.sleep(_PAUSE)
            if os.getppid() != parent:  # whoever ended that just now did not see this one
                os._exit(1)
            return
        _pid, status = os.waitpid(pid, 0)
        if status == 0:
            os._exit(0)
        time.sleep(_FIRST_REST)


def _tell(transaction: Transaction | None, error: Exception) -> None:
    """Write down why something did not succeed: where it can be read, whatever has no room."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    with contextlib.suppress(OSError):
        sys.stderr.write((error.message if isinstance(error, OtaError) else text).rstrip("\n") + "\n")
        sys.stderr.flush()
    if transaction is not None and not isinstance(error, OtaError):
        transaction.log(text)


def _ours(layout: Layout, identifier: str) -> Transaction | None:
    transaction = Transaction.load(layout)
    return transaction if transaction is not None and transaction.id == identifier else None


def _settle(transaction: Transaction, mode: str, stays: int | None) -> None:
    if not transaction.is_open:
        if not transaction.tidied:
            finish.tidy(transaction)
        return
    asked = _asked(transaction)
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
        _after_boot(transaction, stays)
    elif transaction.state is State.REBOOTING and mode == "now":
        _reboot_again(transaction, stays)
    elif transaction.state is State.UNCONFIRMED or mode == "deadline":
        if guard.remaining(transaction) <= 1 or (mode == "now" and stays is None):
            waited = "not confirmed within %d s" % transaction.deadline
            if transaction.state is not State.UNCONFIRMED:
                waited = "the release was still %s after %d s" % (transaction.state, guard.allowed(transaction))
            go_back(transaction, "DEADLINE", waited)
    elif reboot.happened(transaction) and not reboot.is_into_new(transaction):
        _went_down(transaction)
    else:
        go_back(transaction, "INTERRUPTED", "the engine was lost in state %s" % transaction.state)


def _asked(transaction: Transaction) -> dict[str, str]:
    """Why an operator asked to go back, if somebody did; what that was may be lost, not that it was asked."""
    path = transaction.folder("asked.json")
    asked: dict[str, str] = {}
    with contextlib.suppress(OtaError):
        asked = durable.read_json(path, {})
    if os.path.exists(path):
        return {"code": "REQUESTED", "message": "an operator requested it", **asked}
    return {}


def _reboot_again(transaction: Transaction, stays: int | None) -> None:
    """The worker was lost between saying that it reboots and doing so."""
    if reboot.happened(transaction):
        _after_boot(transaction, stays)
        return
    asked = transaction.reboots or 0
    if asked >= MOST_BOOTS:  # a container that is only started again, for one, stays in the boot of its host
        go_back(transaction, "REBOOT", "was told to reboot %d times and is in the same boot still" % asked)
        return
    transaction.save(reboots=asked + 1)
    try:
        reboot.ask(transaction.layout)
    except OtaError as error:
        go_back(transaction, error.code, error.message)


def _after_boot(transaction: Transaction, stays: int | None) -> None:
    if reboot.is_into_new(transaction):
        _into_new(transaction, stays)
    elif transaction.state is not State.UNCONFIRMED:
        _went_down(transaction)
    elif transaction.boots > MOST_BOOTS:
        transaction.went_down = transaction.state.value
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
        guard.arm(transaction, stays=stays)


def _went_down(transaction: Transaction) -> None:
    """By a power cut, or by the release; :mod:`finish` tells by how often."""
    transaction.went_down = transaction.state.value  # on disk with the state that follows
    go_back(transaction, "INTERRUPTED", "the device went down in state %s" % transaction.state)


def _into_new(transaction: Transaction, stays: int | None) -> None:
    """The reboot that the release asked for: prove the new release, or go back from it."""
    if transaction.boots >= MOST_BOOTS:
        go_back(transaction, "REBOOT", "booted %d times and never came to be healthy" % transaction.boots)
        return
    guard.arm(transaction, stays=stays)  # nothing of the last boot's alarms is left; the deadline starts anew
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
    guard.arm(transaction, stays=stays)
