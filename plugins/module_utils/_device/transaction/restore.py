# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The way back: put the snapshot back, prove it, and only then call it restored.

Its core is the snapshot: it is read whole, put back and compared. That needs no free byte, no program and no document.
Steps around it (stopping and starting what runs, what a release's own types add) are gentle: one that fails is written
down, and health decides in the end. What the core itself lacks for now, room, memory, a disk that can be written or
another program's lock, keeps the device ``restoring``, and the guard tries again until it is there.
"""

from __future__ import annotations

import contextlib
import traceback
import typing as t

from ..base.errors import OtaError
from ..base.states import State
from ..enrolment.identity import Identity
from ..kinds import payloads, snapshots
from ..records import releases
from ..records.transaction import Transaction
from ..system import mounts
from ..system.boot import boot_id
from ..system.files.descriptors import Crossing
from . import elsewhere, finish, guard, migrate, reboot
from .health import Health
from .services import back, reasons, record

TRIES = 3
#: Seconds that another program may take to install its packages, for each try to go back.
PACKAGE_PATIENCE = 600.0


def go_back(transaction: Transaction, code: str, message: str) -> None:
    """Restore what the transaction changed; can be interrupted and run again. Called with the lock held.

    The space held for this is given up before the first write: it must work with no byte free.
    """
    with contextlib.suppress(Exception):  # whatever is wrong with it shows below, when that is on record
        snapshots.load(transaction.layout, transaction.id).make_room()
    if transaction.state is not State.RESTORING:
        message = reasons.explained(transaction, code, message)  # while the units that failed still say it
    transaction.advance(State.RESTORING, code=code, message=message)
    with contextlib.suppress(OtaError, OSError):
        guard.at_boot(transaction)  # a release, or whoever repairs this device, may have removed it
    problem = ""
    if transaction.back_boots is not None and transaction.boots - transaction.back_boots >= TRIES:
        problem = "the device was restored and went down %d times before that could be proven" % TRIES
        finish.finish(transaction, State.BROKEN, "RESTORE", "%s (because of %s: %s)" % (problem, code, message))
        return
    for attempt in range(TRIES):
        try:
            problem = _restore(transaction)
            break
        except Exception as error:  # go on trying: a device must not stay in between
            transaction.log(traceback.format_exc())
            reason = error.message if isinstance(error, OtaError) else repr(error)
            problem = "going back failed: %s" % reason
            if _may_pass(error) and attempt == TRIES - 1:
                if transaction.trouble != reason:
                    transaction.save(trouble=reason)
                raise
    else:
        _start_stopped(transaction)
    transaction.trouble = None
    if problem:
        problem = "%s (was going back because of %s: %s)" % (problem, code, message)
        finish.finish(transaction, State.BROKEN, "RESTORE", problem + record.told(transaction))
    else:
        finish.finish(transaction, State.RESTORED, code, message + record.told(transaction))


def _start_stopped(transaction: Transaction) -> None:
    """What was stopped for a way back that did not succeed does not stay so until somebody repairs the device."""
    there: list[payloads.Base] = []
    active: set[str] = set()
    before = releases.known(transaction.layout, transaction.before)
    _gently(transaction, lambda: there.extend(releases.installers_of(transaction, before)))
    _gently(transaction, lambda: there.extend(_leaving(transaction)))

    def activate(payload: payloads.Base) -> None:
        name = payload.payload["name"]
        if name not in active and payload.observe() == payload.wanted():
            active.add(name)
            payload.activate()

    for payload in there:
        _gently(transaction, lambda payload=payload: activate(payload))  # type: ignore[misc]
    _gently(transaction, lambda: back.start_stopped(transaction))


def _may_pass(error: Exception) -> bool:
    """Whether what stopped a way back is nothing of the snapshot's own, and may be over at another time."""
    if isinstance(error, OtaError):
        return error.code == "PACKAGE_LOCK"
    return isinstance(error, (OSError, MemoryError)) and not isinstance(error, Crossing)


def _restore(transaction: Transaction) -> str:
    """One attempt; what is not as before, or an empty text."""
    layout = transaction.layout
    snapshot = snapshots.load(layout, transaction.id)
    snapshot.prove()  # before anything stops: what cannot be put back whole leaves the device as it runs
    leaving: list[payloads.Base] = []
    _gently(transaction, lambda: leaving.extend(_leaving(transaction)))
    back.end_started(transaction)  # also our own package manager, which has the locks
    for payload in leaving:
        payload.hold(PACKAGE_PATIENCE)  # one that installs packages right now is waited for
    for payload in leaving:
        _gently(transaction, payload.quiesce)
    back.pause(transaction, snapshot)
    if transaction.kind == "update":
        _migrate_back(transaction, snapshot, leaving)
    others = snapshot.shared.packages_of_others()
    for payload in leaving:  # a database that cannot be read any more goes back whole
        _gently(transaction, lambda payload=payload: others.update(payload.set_apart(snapshot)))  # type: ignore[misc]
    snapshot.foreign = lambda paths: {path for payload in leaving for path in payload.foreign(paths, others)}
    with mounts.writable(layout, snapshot.selection.trees, snapshot.selection.paths):
        changed = snapshot.restore()
    for payload in leaving:
        payload.put_back_apart(snapshot)
    if snapshot.left:
        for payload in leaving:
            _gently(transaction, lambda payload=payload: payload.regenerate(snapshot.left))  # type: ignore[misc]
    if transaction.kind == "rollback":
        migrate.undo(transaction)  # forward again: by the code that was just put back
    transaction.log("put back %d paths" % len(changed))
    remaining = snapshot.remaining()
    if remaining:  # what was stopped may have written until then; what is still different after this is not as before
        _again(snapshot, remaining)
        remaining = snapshot.remaining()
    theirs = snapshot.exchanged(remaining)
    remaining = [path for path in remaining if path not in theirs]
    # Only now, and never again after it: what is put back under a service that runs is lost for it.
    for payload in releases.installers_of(transaction, releases.known(layout, transaction.before)):
        _gently(transaction, payload.activate)
    back.bring_back(transaction, snapshot)
    _gently(transaction, lambda: elsewhere.tell(transaction, snapshot))
    if reboot.due_back(transaction):
        transaction.save(back_from=boot_id(), back_boots=transaction.boots)
        reboot.ask(layout, insist=True)  # proven after the boot, by the guard
    if theirs:  # put back twice, and changed by others each time: they own the folders
        record.tell(transaction, "others went on changing what was put back: %s" % ", ".join(sorted(theirs)[:5]))
    if remaining:
        return "%d paths are not as before, first %s" % (len(remaining), ", ".join(remaining[:5]))
    verdict = Health(layout, transaction.health_before or {}, Identity(layout).words).wait(transaction.baseline)
    transaction.save(health=verdict.checks)
    return "" if verdict.healthy else "the device is not as healthy as before: %s" % verdict.reason


def _again(snapshot: snapshots.Base, paths: list[str]) -> None:
    with mounts.writable(snapshot.layout, snapshot.selection.trees, snapshot.selection.paths):
        snapshot.restore(paths)


def _leaving(transaction: Transaction) -> list[payloads.Base]:
    """The installers of the release that goes."""
    return releases.installers_of(transaction, releases.of_transaction(transaction))


def _migrate_back(transaction: Transaction, snapshot: snapshots.Base, leaving: list[payloads.Base]) -> None:
    """Data that stays becomes what the old code reads, while the new one, which can do that, is still in place."""
    try:
        migrate.undo(transaction)
    except OtaError:  # the data stays in the new code's form: only that code can use it until an operator repairs this
        for payload in leaving:
            _gently(transaction, payload.activate)
        back.bring_back(transaction, snapshot)
        raise


def _gently(transaction: Transaction, step: t.Callable[[], None]) -> None:
    """A stop or start that fails must not keep the files from going back; health decides in the end."""
    try:
        step()
    except OtaError as error:
        transaction.log(error.message)
    except Exception:
        transaction.log(traceback.format_exc())
