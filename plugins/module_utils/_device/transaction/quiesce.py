# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Stopping who writes while a snapshot is taken: ``quiesce`` and ``resume`` of a release (docs/data.md).

That resuming is owed is on disk before the first command runs; a process beside the worker resumes as soon as the
worker is lost, and the guard of the next boot when the device goes down.
"""

from __future__ import annotations

import os
import time
import typing as t

from ..base.errors import OtaError
from ..documents.data import Release
from ..records.transaction import Transaction
from ..system import command, durable, lock
from ..system.units import apart
from . import guard

TIMEOUT = 120  # seconds for each command


def begin(transaction: Transaction, document: Release) -> None:
    """Run the commands of ``quiesce``; OtaError ``REQUIREMENT`` when one fails, after resuming."""
    if not document.get("quiesce"):
        return
    durable.write_json(_owed(transaction), {"resume": document["resume"]})
    guard.at_boot(transaction)
    guard.start(transaction, "fleet-ota-resume-" + transaction.id, "quiesced")
    for argv in document["quiesce"]:
        result = _run(transaction, argv)
        if result.rc != 0:
            resume(transaction)
            message = "%s ended with %d, so nothing was snapshotted: %s; quiesce must work on this device"
            raise OtaError("REQUIREMENT", message % (argv[0], result.rc, result.tail))


def resume(transaction: Transaction) -> None:
    """Run the commands of ``resume`` if they are owed; all of them, whatever one says. Can be run again."""
    try:
        owed = durable.read_json(_owed(transaction))
    except OtaError as error:  # what is owed is lost; the rest of the way must not be
        transaction.log(error.message)
        owed = {"resume": []}
    if owed is None:
        return
    for argv in owed["resume"]:
        result = _run(transaction, argv)
        if result.rc != 0:
            transaction.log("resume: %s ended with %d: %s" % (argv[0], result.rc, result.tail))
    durable.remove(_owed(transaction))


def watch(transaction: Transaction) -> None:
    """Resume when the worker is lost before it did: the kernel gives its lock back at that moment."""
    while os.path.exists(_owed(transaction)):
        if lock.is_free(transaction.layout):
            with lock.hold(transaction.layout, wait=60):
                resume(transaction)
        time.sleep(0.2)


def _run(transaction: Transaction, argv: t.Sequence[str]) -> command.Result:
    # What resuming starts ran before: it is none of the change's, and a way back does not end it.
    name, environment = "resumed-" + transaction.id, {"FLEET_OTA_ROOT": transaction.layout.root}
    return apart.run(transaction.layout, name, argv, timeout=TIMEOUT, environment=environment)


def _owed(transaction: Transaction) -> str:
    return transaction.folder("quiesced.json")
