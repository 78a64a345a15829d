# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Starting again what ran before and does not any more."""

from __future__ import annotations

import typing as t

from ...base.errors import OtaError
from ...records.transaction import Transaction
from ...system.units import ALIVE, Failures, Manager, Properties, instances, own_names
from . import record as records
from .record import Before, Record

#: Seconds that all units together may take to start on a way back; health decides then.
LONGEST_START = 600.0


def start(transaction: Transaction, record: Record, managers: t.Mapping[str, Manager], *, forward: bool) -> Failures:
    """Start what ran before and does not now, but for what the change itself ended for good, which is told.

    Returns the reasons of units that do not start, by name.
    """
    failures: Failures = {}
    for key, manager in managers.items():
        before = record["units"].get(key, {})
        try:
            failed: Failures = {}
            for _attempt in range(2):  # one that needs another may have been asked for too early
                names = _missing(transaction, manager, before, forward)
                if not names:
                    failed = {}
                    break
                transaction.log("starting again: %s" % ", ".join(names))
                failed = manager.start(names, LONGEST_START)
            failures.update(failed)
        except OtaError as error:
            if not key or key in records.managers():  # else the user's systemd ended with the session
                records.tell(transaction, error.message)
    return failures


def concerned(transaction: Transaction, record: Record) -> set[str]:
    """The units of the release, and what depends on them."""
    names = [name for before in record["units"].values() for name in before]
    mine = named(transaction, names)
    return {name for before in record["units"].values() for name in records.related(mine, before)}


def named(transaction: Transaction, known: t.Iterable[str]) -> list[str]:
    """The units that the releases name or bring, also by an alias; of templates the instances that are ``known``."""
    return instances(own_names(transaction.units or []), known)


def _missing(transaction: Transaction, manager: Manager, before: t.Mapping[str, Before], forward: bool) -> list[str]:
    loaded = manager.loaded()
    alive = {name for name, unit in loaded.items() if unit.get("ActiveState") in ALIVE}
    gone = [name for name in before if name not in alive]
    # What took its place since goes on a way back: systemd stops it for the one that ran before.
    rivals = alive if forward else alive & set(before)
    names = []
    for name, unit in manager.show(gone).items():
        reason = _left_alone(unit, alive, rivals, before[name], forward)
        if reason is None:
            names.append(name)
        elif reason:
            records.tell(transaction, "%s ran before and does not now: %s" % (name, reason))
    return names


def _left_alone(unit: Properties, alive: set[str], rivals: set[str], before: Before, forward: bool) -> str | None:
    """Why ``unit`` is not started again: None if it is, nothing if that is as it should be.

    ``rivals`` are the units that may run in its place, of those that are ``alive``.
    """
    if unit.get("LoadState") != "loaded":
        return "its unit is %s" % unit.get("LoadState")
    against = rivals.intersection([*unit.get("Conflicts", "").split(), *unit.get("ConflictedBy", "").split()])
    if against:
        return "%s runs in its place" % ", ".join(sorted(against))
    if forward and before["enabled"].startswith("enabled") and unit.get("UnitFileState") in ("disabled", "masked"):
        return "it was disabled"
    triggers = unit.get("TriggeredBy", "").split()
    triggered = any(name in alive and not name.endswith(".socket") for name in triggers)
    if triggered and not before["enabled"].startswith("enabled"):  # else it does not wait for that at a boot either
        return ""  # its timer starts it when it is due
    if unit.get("BusName") and unit.get("UnitFileState") in ("static", ""):
        return ""  # ends when nobody asks, and starts when somebody does
    return "" if unit.get("RefuseManualStart") == "yes" else None
