# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The end of a transaction: memory, guard, what stays and what is pruned. Each step can be run again."""

from __future__ import annotations

import contextlib
import os
import shutil

from ..base import schema
from ..kinds import payloads, snapshots
from ..records import history, installed, releases, transaction
from ..records.transaction import UNTOUCHED, Transaction
from ..system import boot
from ..system.layout import Layout
from . import guard, quiesce

#: A way back for these reasons says nothing against the release.
INNOCENT = ("INTERRUPTED",)


def finish(done: Transaction, outcome: str, code: str, message: str) -> None:
    """Come to the end ``outcome`` (anything but ``updated``) and tidy up."""
    if outcome in ("restored", "broken") and done.kind == "update" and code not in INNOCENT:
        reason, text = (code, message) if outcome == "restored" else (done.data.get("code") or code, message)
        installed.Memory(done.layout).reject(done.release["digest"], reason, text)
    done.advance(outcome, outcome=outcome, code=code, message=message)
    tidy(done)


def confirm(done: Transaction) -> None:
    """The commit point is the one write of ``confirmed``; everything after it is repeated until it is done."""
    done.advance("confirmed", outcome="updated", code=None, message="")
    tidy(done)


def tidy(done: Transaction) -> None:
    """What belongs to the end, whichever it was; marks the transaction as tidied."""
    layout = done.layout
    quiesce.resume(done)
    done.witness()
    if done.state == "confirmed":
        _remember(done)
    guard.disarm(done)
    whole = _prune(layout, done)
    history.compact(layout, done.id)
    done.save(tidied=whole)  # what a failing disk did not let go is for the next call


def settle(layout: Layout) -> Transaction | None:
    """The transaction as it is, after finishing what a killed run left undone. The caller holds the lock.

    With the lock held nobody is at work, so an open transaction that ought to be at work was interrupted: before
    anything was touched it is given up here; later it is left to :func:`restore.go_back`, which the caller starts.
    """
    found = Transaction.load(layout)
    if found is None:
        return None
    if found.state in UNTOUCHED and not _starting(found):
        finish(found, "deferred", "INTERRUPTED", "interrupted before anything was touched; run again")
    elif not found.is_open and not found.data.get("tidied"):
        tidy(found)
    return found


def _starting(found: Transaction) -> bool:
    """Whether the worker was asked for just now and may not have taken the lock yet."""
    age = boot.clock() - float(found.began)
    return bool(found.state == "staged" and 0 <= age < 20)


def _remember(done: Transaction) -> None:
    known = installed.Memory(done.layout)
    if done.kind == "rollback":
        known.reject(done.before["digest"], "REQUESTED", "somebody went back from it")
        if (known.of(done.release["name"])["current"] or {}).get("digest") == done.before["digest"]:
            known.went_back(done.release["name"])
        return
    releases.keep(done)
    more = {"transaction": done.id, "units": done.data.get("units", []), "rollout": done.data.get("rollout")}
    if done.data.get("migrated"):
        more["migrated"] = done.data["migrated"]
    known.confirm({**done.release, **more}, int(done.data.get("keep_snapshots") or 1))


def _prune(layout: Layout, done: Transaction) -> bool:
    """Keep the ways back that memory knows of, nothing staged, and the folder of this last transaction.

    False if a snapshot that is to go is still there.
    """
    known = installed.Memory(layout)
    chains = [known.chain(name) for name in known.value["releases"]]
    _unstage(layout, done)
    # Nothing leads further back than to the oldest; what is installed keeps its own, whatever else goes.
    wanted = {entry["transaction"] for chain in chains for entry in (chain[:-1] or chain)}
    if done.state == "broken":
        wanted.add(done.id)  # for the hands that this one needs
    folder = layout.file("snapshots")

    def others() -> list[str]:  # also one whose removal was interrupted
        return [name for name in os.listdir(folder) if transaction.IDENTIFIER.match(name) and name not in wanted]

    for name in others():
        snapshots.remove(layout, name)
    for name in os.listdir(layout.file("transactions")):
        if name != done.id:
            transaction.remove_folder(layout, name)
    _prune_releases(layout, known, {entry["digest"] for chain in chains for entry in chain})
    return not others()


def _unstage(layout: Layout, done: Transaction) -> None:
    """Staged files are not needed any more; what was only deferred finds them again."""
    folder, inbox = done.folder("payload"), layout.file("inbox")
    if done.state == "deferred":
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            if schema.SHA256.match(name):
                os.rename(os.path.join(folder, name), os.path.join(inbox, name))
    else:
        for name in os.listdir(inbox):
            with contextlib.suppress(FileNotFoundError):  # somebody may be staging right now
                os.unlink(os.path.join(inbox, name))
    shutil.rmtree(folder, ignore_errors=True)


def _prune_releases(layout: Layout, known: installed.Memory, digests: set[str]) -> None:
    for name, value in known.value["releases"].items():
        document = releases.confirmed(layout, value["current"])
        if document:
            versions = {entry["version"] for entry in known.chain(name)}
            for installer in payloads.create(layout, document, lambda text: None):
                installer.prune(versions)
    folder = layout.file("releases")
    for file in os.listdir(folder) if os.path.isdir(folder) else []:
        if file[:-5] not in digests:
            os.unlink(os.path.join(folder, file))
