# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What the guard does when it runs: at the deadline, at boot, or because somebody asked to go back now."""

from __future__ import annotations

import time
import traceback

from ..base.errors import OtaError
from ..enrolment.identity import Identity
from ..kinds import snapshots
from ..records import releases
from ..records.transaction import TOUCHED, UNTOUCHED, Transaction
from ..system import background, durable, lock
from ..system.layout import Layout
from . import finish, guard, quiesce, reboot, worker
from .health import Health
from .restore import go_back

#: Boots with an open transaction before it goes back whatever its health says.
MOST_BOOTS = 3


def run(layout: Layout, identifier: str, mode: str) -> None:
    """Settle transaction ``identifier``; ``mode`` is ``wait`` (for the deadline), ``deadline``, ``boot`` or ``now``."""
    found = _ours(layout, identifier)
    while mode == "wait" and found is not None and found.is_open and guard.remaining(found) > 0:
        # short sleeps: the boot clock goes on while the device sleeps, and the deadline may be moved
        time.sleep(max(0.0, min(guard.remaining(found), 60)))
        found = _ours(layout, identifier)
    if found is None or (not found.is_open and found.data.get("tidied")):
        return
    if mode == "quiesced":
        quiesce.watch(found)
        return
    if mode == "deadline" and guard.remaining(found) > 1:
        return  # an alarm by a wall clock that was set forward, or of a deadline that was moved
    if mode == "boot":
        found = _booted(layout, identifier)
        if found is None:
            return
    elif found.state in (*UNTOUCHED, *TOUCHED) and found.state != "restoring":
        pid = durable.read_json(found.folder("worker.json"), {}).get("pid")
        background.end(layout, worker.name(found), pid, found.id)
    with lock.hold(layout, wait=600):
        found = _ours(layout, identifier)
        if found is not None:
            _settle(found, mode)


def _ours(layout: Layout, identifier: str) -> Transaction | None:
    found = Transaction.load(layout)
    return found if found is not None and found.id == identifier else None


def _booted(layout: Layout, identifier: str) -> Transaction | None:
    """Count this boot, and wait for the rest of the system unless it was let try often enough."""
    with lock.hold(layout, wait=600):
        found = _ours(layout, identifier)
        if found is not None and found.is_open:
            found.count_boot()
    if found is not None and not (found.state in ("rebooting", "checking") and found.boots >= MOST_BOOTS):
        reboot.wait_for_system()
    return found


def _settle(found: Transaction, mode: str) -> None:
    if not found.is_open:
        if not found.data.get("tidied"):
            finish.tidy(found)
        return
    asked = durable.read_json(found.folder("asked.json")) or {}
    if found.state in UNTOUCHED:
        code, message = (
            asked.get("code", "INTERRUPTED"),
            asked.get("message", "interrupted before anything was touched"),
        )
        finish.finish(found, "deferred", code, message)
    elif found.state == "restoring":
        go_back(found, found.code, found.message)
    elif asked:
        go_back(found, asked["code"], asked["message"])
    elif mode == "boot":
        _after_boot(found)
    elif found.state == "rebooting" and mode == "now":
        _reboot_again(found)
    elif found.state == "unconfirmed" or mode in ("deadline", "wait"):
        if guard.remaining(found) <= 1 or mode == "now":
            go_back(found, "DEADLINE", "nobody confirmed within %d s" % found.deadline)
    else:
        go_back(found, "INTERRUPTED", "the engine was lost in state %s" % found.state)


def _reboot_again(found: Transaction) -> None:
    """The worker was lost between saying that it reboots and doing so."""
    if reboot.happened(found):
        _after_boot(found)
        return
    try:
        reboot.ask(found.layout)
    except OtaError as error:
        go_back(found, error.code, error.message)


def _after_boot(found: Transaction) -> None:
    if reboot.is_into_new(found):
        _into_new(found)
    elif found.state != "unconfirmed":
        go_back(found, "INTERRUPTED", "the device went down in state %s" % found.state)
    elif found.boots > MOST_BOOTS:
        go_back(found, "DEADLINE", "still not confirmed after %d boots" % found.boots)
    elif guard.remaining(found) <= 0:  # else this boot was looked at already
        document = releases.of_transaction(found) or {}
        health = Health(found.layout, document.get("health", {}), Identity(found.layout).words)
        verdict = health.wait(found.baseline)
        if not verdict.healthy:
            go_back(found, "HEALTH", "after a boot: %s" % verdict.reason)
            return
        snapshots.load(found.layout, found.id)  # it must still be there to be worth waiting for
        guard.arm(found)


def _into_new(found: Transaction) -> None:
    """The reboot that the release asked for: prove the new release, or go back from it."""
    if found.boots >= MOST_BOOTS:
        go_back(found, "REBOOT", "booted %d times and never came to be healthy" % found.boots)
        return
    guard.arm(found)  # nothing of the last boot's alarms is left; the deadline starts anew
    document = releases.of_transaction(found) or {}
    try:
        worker.check(found, document.get("health", {}))
    except OtaError as error:
        go_back(found, error.code, "after the reboot: %s" % error.message)
        return
    except Exception as error:  # the device must not stay in between
        found.log(traceback.format_exc())
        go_back(found, "HEALTH", "after the reboot: %s: %s" % (type(error).__name__, error))
        return
    guard.arm(found)
