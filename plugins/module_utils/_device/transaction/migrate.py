# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Migrating data: ``forward`` once the new code is in place, ``back`` before the old one comes (docs/data.md).

``migration.json`` of a transaction: ``{steps: [{path, do, undo, timeout}], begun}``. How many steps were begun is on
disk before each runs, so that a way back undoes just those, however the device went down.
"""

from __future__ import annotations

import typing as t

from ..base.errors import OtaError
from ..base.typed import TypedDict
from ..documents.data import Entry, Migration
from ..records.transaction import Transaction
from ..system import command, durable

TIMEOUT = 300  # seconds for a command of an entry that does not say
Entries = t.Sequence[Entry]


class Step(TypedDict):
    """A migration of one path: the command, the one that undoes it, and the seconds that each may take."""

    path: str
    do: list[str]
    undo: list[str] | None
    timeout: int


def forward(transaction: Transaction, entries: Entries) -> None:
    """Migrate what ``entries`` (of :func:`data.merged`) say; OtaError ``INSTALL`` when a command fails.

    Which of it stays, and so has to be migrated back one day, is kept with the transaction.
    """
    migrating = [entry for entry in entries if entry.get("migrate")]
    stays = [entry["path"] for entry in migrating if entry["on_restore"] == "keep"]
    steps = []
    for entry in migrating:
        migration = entry["migrate"]
        back = migration["back"] if entry["path"] in stays else None
        steps.append(_step(entry["path"], migration, migration["forward"], back))
    _do(transaction, steps)
    if stays:
        transaction.save(migrated=stays)


def back(transaction: Transaction, entries: Entries) -> None:
    """Migrate back what the release that ``transaction`` goes back from had migrated; as :func:`forward`."""
    migrated = transaction.leaving.get("migrated") or []
    steps = []
    for entry in reversed(entries):
        if entry.get("migrate") and entry["path"] in migrated:
            migration = entry["migrate"]
            steps.append(_step(entry["path"], migration, migration["back"], migration["forward"]))
    _do(transaction, steps)


def undo(transaction: Transaction) -> None:
    """Undo the steps that were begun, last first; OtaError ``RESTORE`` when one fails. Can be run again."""
    value = durable.read_json(_path(transaction))
    while value and value["begun"]:
        step = value["steps"][value["begun"] - 1]
        if step["undo"]:
            result = _run(transaction, step, step["undo"])
            if result.rc != 0:
                message = "%s could not be migrated back: %s ended with %d: %s"
                raise OtaError("RESTORE", message % (step["path"], step["undo"][0], result.rc, result.tail))
        value["begun"] -= 1
        durable.write_json(_path(transaction), value)


def _do(transaction: Transaction, steps: list[Step]) -> None:
    for index, step in enumerate(steps):
        durable.write_json(_path(transaction), {"steps": steps, "begun": index + 1})
        result = _run(transaction, step, step["do"])
        if result.rc != 0:
            message = "%s could not be migrated: %s ended with %d: %s"
            raise OtaError("INSTALL", message % (step["path"], step["do"][0], result.rc, result.tail))


def _step(path: str, migration: Migration, do: list[str], undo: list[str] | None) -> Step:
    return {"path": path, "do": do, "undo": undo, "timeout": migration.get("timeout", TIMEOUT)}


def _run(transaction: Transaction, step: Step, argv: list[str]) -> command.Result:
    root = transaction.layout.root
    return command.run(argv, timeout=step["timeout"], environment={"FLEET_OTA_ROOT": root})


def _path(transaction: Transaction) -> str:
    return transaction.folder("migration.json")
