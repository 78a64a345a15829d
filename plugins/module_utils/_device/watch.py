# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What the guard does when it runs: at the deadline, at boot, or because somebody asked to go back now."""

from __future__ import annotations

import time

from . import conclude, detach, documents, durable, guard, lock, quiesce, snapshots, worker
from .health import Health
from .identity import Identity
from .layout import Layout
from .restore import go_back
from .transaction import TOUCHED, UNTOUCHED, Transaction, clock

#: Boots with an open transaction before it goes back whatever its health says.
MOST_BOOTS = 3


def run(layout: Layout, identifier: str, mode: str, seconds: float = 0) -> None:
    """Settle transaction ``identifier``; ``mode`` is ``wait`` (for the deadline), ``deadline``, ``boot`` or ``now``."""
    if mode == "wait":
        end = clock() + seconds
        while clock() < end:
            time.sleep(max(0.0, min(end - clock(), 60)))  # short sleeps: the boot clock goes on while the device sleeps
    found = Transaction.load(layout)
    if found is None or found.id != identifier or (not found.is_open and found.data.get("tidied")):
        return
    if mode == "quiesced":
        quiesce.watch(found)
        return
    if mode != "boot" and found.state in (*UNTOUCHED, *TOUCHED) and found.state != "restoring":
        pid = durable.read_json(found.folder("worker.json"), {}).get("pid")
        detach.end(layout, worker.name(found), pid, found.id)
    with lock.hold(layout, wait=600):
        found = Transaction.load(layout)
        if found is None or found.id != identifier:
            return
        _settle(found, mode)


def _settle(found: Transaction, mode: str) -> None:
    if not found.is_open:
        if not found.data.get("tidied"):
            conclude.tidy(found)
        return
    asked = durable.read_json(found.folder("asked.json")) or {}
    if found.state in UNTOUCHED:
        code, message = (
            asked.get("code", "INTERRUPTED"),
            asked.get("message", "interrupted before anything was touched"),
        )
        conclude.finish(found, "deferred", code, message)
    elif asked:
        go_back(found, asked["code"], asked["message"])
    elif found.state == "restoring":
        go_back(found, found.code, found.message)
    elif mode == "boot":
        _after_boot(found)
    elif found.state == "unconfirmed" or mode in ("deadline", "wait"):
        go_back(found, "DEADLINE", "nobody confirmed within %d s" % found.deadline)
    else:
        go_back(found, "INTERRUPTED", "the engine was lost in state %s" % found.state)


def _after_boot(found: Transaction) -> None:
    found.save(boots=found.boots + 1)
    if found.state != "unconfirmed":
        go_back(found, "INTERRUPTED", "the device went down in state %s" % found.state)
        return
    if found.boots > MOST_BOOTS:
        go_back(found, "DEADLINE", "still not confirmed after %d boots" % found.boots)
        return
    document = documents.of_transaction(found) or {}
    health = Health(found.layout, document.get("health", {}), Identity(found.layout).words)
    verdict = health.wait(found.baseline)
    if not verdict.healthy:
        go_back(found, "HEALTH", "after a boot: %s" % verdict.reason)
        return
    snapshots.load(found.layout, found.id)  # it must still be there to be worth waiting for
    guard.arm(found)
