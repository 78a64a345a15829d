# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The end of a transaction: memory, guard, what stays and what is pruned. Each step can be run again."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ..base import schema
from ..base.errors import OtaError
from ..base.states import State
from ..documents.release import Document
from ..kinds import payloads, snapshots
from ..records import history, installed, releases, transaction
from ..records.transaction import Transaction
from ..system import boot
from ..system.files.remove import remove_own
from ..system.layout import Layout
from . import guard, quiesce

#: A device that went back for these reasons is deferred: it was the device's room, or another program.
NOT_ITS_FAULT = ("NO_SPACE", "PACKAGE_LOCK")
#: A way back for these reasons says nothing against the release.
INNOCENT = ("INTERRUPTED", *NOT_ITS_FAULT)
#: Steps in which code of the release runs, and tries that ended in one of them because the device went down that are no
#: coincidence any more.
_OWN_STEPS = (State.INSTALLING.value, State.CHECKING.value, State.UNCONFIRMED.value)
_PROOF = 2


def finish(done: Transaction, end: State, code: str, message: str) -> None:
    """Come to ``end`` (anything but ``confirmed``), which is the outcome too, and tidy up."""
    if end in (State.RESTORED, State.BROKEN) and done.kind == "update":
        reason, text = (code, message) if end is State.RESTORED else (done.code or code, message)
        try:
            if not _is_innocent(done, reason):
                installed.Memory(done.layout).reject(done.release["digest"], reason, text)
            elif done.went_down in _OWN_STEPS:
                message = _after_going_down(done, reason, message)
        except OtaError as error:  # a memory that is damaged must not keep the device between two releases
            done.log(error.message)
    deferred = end is State.RESTORED and code in NOT_ITS_FAULT
    done.advance(end, outcome="deferred" if deferred else end.value, code=code, message=message)
    tidy(done)


def _after_going_down(done: Transaction, code: str, message: str) -> str:
    """The device went down in a step of the release: once may be a power cut, twice in one step is the release.

    Returns ``message`` with what follows from it.
    """
    memory, digest, step = installed.Memory(done.layout), done.release["digest"], str(done.went_down)
    if memory.went_down(digest, step, done.id) < _PROOF:
        return "%s; once more in this step, and the release is not taken again" % message
    message = "%s, as in an earlier try: the release is not taken again" % message
    memory.reject(digest, code, message)
    return message


def _is_innocent(done: Transaction, code: str) -> bool:
    """Whether going back says nothing against the release; nor does a deadline that passed over a healthy one."""
    return code in INNOCENT or (code == "DEADLINE" and State.UNCONFIRMED.value in done.steps)


def confirm(done: Transaction) -> None:
    """The commit point is the one write of ``confirmed``; everything after it is repeated until it is done."""
    done.advance(State.CONFIRMED, outcome="updated", code=None, message="")
    tidy(done)


def tidy(done: Transaction) -> None:
    """What belongs to the end, whichever it was; marks the transaction as tidied."""
    layout = done.layout
    quiesce.resume(done)
    with contextlib.suppress(OSError):  # no room for a line: what is pruned makes some
        done.witness()
    if done.state is State.CONFIRMED:
        _remember(done)
    elif done.state is State.RESTORED:
        with contextlib.suppress(OtaError, OSError):  # a file too many harms nobody
            for payload in releases.installers_of(done, releases.of_transaction(done)):
                payload.forget()
    whole = _prune(layout, done)
    done.witness()
    guard.disarm(done)
    history.compact(layout, done.id)
    done.save(tidied=whole)  # what a failing disk did not let go is for the next call


def settle(layout: Layout) -> Transaction | None:
    """The transaction as it is, after finishing what a killed run left undone. The caller holds the lock.

    With the lock held nobody is at work, so an open transaction that ought to be at work was interrupted: before
    anything was touched it is given up here; later it is left to :func:`restore.go_back`, which the caller starts.
    """
    transaction = Transaction.load(layout)
    if transaction is None:
        return None
    if transaction.state.is_untouched and not is_starting(transaction):
        finish(transaction, State.DEFERRED, "INTERRUPTED", "interrupted before anything was touched; run again")
    elif not transaction.is_open and not transaction.tidied:
        tidy(transaction)
    return transaction


def is_starting(transaction: Transaction) -> bool:
    """Whether the worker was asked for just now and may not have taken the lock yet."""
    age = boot.clock() - transaction.began
    return transaction.state is State.STAGED and 0 <= age < 20


def _remember(done: Transaction) -> None:
    memory = installed.Memory(done.layout)
    if done.kind == "rollback":
        memory.reject(done.leaving["digest"], "REQUESTED", "an operator rolled it back")
        current = memory.of(done.release["name"])["current"]
        if current and current["digest"] == done.leaving["digest"]:
            memory.went_back(done.release["name"])
        return
    releases.keep(done)
    current = memory.of(done.release["name"])["current"]
    if current and current["digest"] == done.release["digest"] and current.get("transaction") != done.id:
        _installed_again(done.layout, current)
        return
    entry: installed.Entry = {
        **done.release,
        "transaction": done.id,
        "units": done.units or [],
        "rollout": done.rollout,
    }
    if done.migrated:
        entry["migrated"] = done.migrated
    memory.confirm(entry, done.keep_snapshots or 1)


def _installed_again(layout: Layout, current: installed.Entry) -> None:
    """The same release once more, over something that was damaged: the way back from it stays the one that it had."""
    with contextlib.suppress(OtaError, OSError):
        way_back = snapshots.load(layout, current["transaction"])
        way_back.shared.keep(snapshots.AFTER)
        way_back.record_after()


def _prune(layout: Layout, done: Transaction) -> bool:
    """Keep the ways back that memory knows of, nothing staged, and the folder of this last transaction.

    False if a snapshot that is to go is still there.
    """
    try:
        memory = installed.Memory(layout)
    except OtaError as error:  # nothing is pruned that somebody may need to repair this
        done.log(error.message)
        return False
    chains = [memory.chain(name) for name in memory.value["releases"]]
    _unstage(layout, done)
    # Nothing leads further back than to the oldest; what is installed keeps its own, whatever else goes.
    kept = {entry["transaction"] for chain in chains for entry in (chain[:-1] or chain)}
    if done.state is State.BROKEN:
        kept.add(done.id)  # an operator must repair this device, and may need it
    folder = layout.file("snapshots")

    def others() -> list[str]:  # also one whose removal was interrupted
        return [name for name in os.listdir(folder) if transaction.IDENTIFIER.match(name) and name not in kept]

    for name in others():
        snapshots.remove(layout, name)
    for name in os.listdir(layout.file("transactions")):
        if name != done.id:
            transaction.remove_folder(layout, name)
    _prune_releases(layout, memory, {entry["digest"] for chain in chains for entry in chain})
    return not others()


def _unstage(layout: Layout, done: Transaction) -> None:
    """Staged files are not needed any more; what was only deferred finds them again."""
    folder, inbox = done.folder("payload"), layout.file("inbox")
    if done.state is State.DEFERRED:
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            if schema.SHA256.match(name):
                os.rename(os.path.join(folder, name), os.path.join(inbox, name))
    else:
        for name in os.listdir(inbox):
            with contextlib.suppress(FileNotFoundError):  # another call may be staging right now
                os.unlink(os.path.join(inbox, name))
    with contextlib.suppress(OSError):
        remove_own(folder)


def _destinations(document: Document | None) -> set[t.Any]:
    """The places of the release's payloads; None for those that have no place of their own."""
    return {payload.get("destination") for payload in (document["payloads"] if document else [])} | {None}


def _prune_releases(layout: Layout, memory: installed.Memory, digests: set[str]) -> None:
    for name, value in memory.value["releases"].items():
        document = releases.known(layout, value["current"])
        if document:
            chain = memory.chain(name)
            places = [_destinations(releases.known(layout, entry)) for entry in chain]
            for installer in payloads.create(layout, document, lambda text: None):
                # A release without that place ran with what an older one had put there: nothing says which that was.
                if all(installer.payload.get("destination") in there for there in places):
                    installer.prune({entry["version"] for entry in chain})
    releases.prune(layout, digests)
