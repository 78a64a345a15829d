# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Units and processes on the way back: stopped before files go back, running from the right files after it.

Nothing here stops a way back: what does not work is told.
"""

from __future__ import annotations

import contextlib
import os
import re
import typing as t

from ...base.errors import OtaError
from ...kinds import snapshots
from ...records.transaction import Transaction
from ...system import processes
from ...system.files import tree
from ...system.processes import Process
from ...system.units import ALIVE, Failures, Manager, Properties, apart
from . import again, daemons
from . import record as records
from .record import Record

#: What a machine does not live without: never stopped, never restarted.
_NEVER = re.compile(
    r"^(dbus|dbus-broker|systemd-logind|user@.*|user-runtime-dir@.*|(console-|serial-)?getty(@.*)?|display-manager|gdm3?"
    r"|lightdm|sddm|ssh@.*|sshd@.*|fleet-ota-.*)\.(service|socket)$"
)
#: What is restarted at the end, but not stopped for as long as files go back.
_AT_ONCE = re.compile(r"^(systemd-.*|NetworkManager|networking|wpa_supplicant.*|connman|ssh|sshd)\.(service|socket)$")


class Paths:
    """The files that a change concerns: named ones, and trees."""

    def __init__(self, snapshot: snapshots.Base) -> None:
        self._single = frozenset(snapshot.selection.paths)
        self._trees = frozenset(snapshot.selection.trees) - frozenset(snapshot.terms.wide)

    def hold(self, path: str) -> bool:
        """Whether ``path`` is one of them."""
        real = os.path.realpath(path)
        return real in self._single or tree.covers(self._trees, real)

    def hold_below(self, path: str) -> bool:
        """Whether ``path`` lies in one of the trees."""
        return tree.covers(self._trees, os.path.realpath(path))


def end_started(transaction: Transaction) -> None:
    """End every program that the change started outside of units, package tools and daemons among them."""
    with _told(transaction, "ending what the release started"):
        records.forget(transaction)
        ended = apart.end(transaction.layout, transaction.id)
        if ended:
            transaction.log("ended: %s" % ", ".join(ended))


def pause(transaction: Transaction, snapshot: snapshots.Base, changed: t.Collection[str] = ()) -> None:
    """End what the change started, and stop the units that it concerns, for as long as they say that this takes.

    ``changed`` are paths of which every process is concerned, also one that ran before (a rollback).
    """
    end_started(transaction)
    if not transaction.layout.is_real:
        return
    record = records.load(transaction)
    if changed and record is not None:
        with _told(transaction, "ending daemons"):
            daemons.end_old(transaction, record, frozenset(changed))
    for key, manager in records.managers().items():
        with _told(transaction, "stopping units", key):
            loaded = manager.loaded()
            names = _to_stop(transaction, record, key, loaded, Paths(snapshot), frozenset(changed))
            transaction.log("stopping: %s" % (", ".join(names) or "nothing"))
            for name, reason in manager.stop(names).items():
                records.tell(transaction, "%s did not stop: %s" % (name, reason))


def bring_back(transaction: Transaction, snapshot: snapshots.Base) -> Failures:
    """Once the files are back: what ran before runs again, and nothing from files that are gone.

    Returns why units that this release concerns do not start.
    """
    if not transaction.layout.is_real:
        return {}
    record = records.load(transaction)
    since = record["clock"] if record and records.is_this_boot(record) and transaction.kind == "update" else 0.0
    for key, manager in records.managers().items():
        with _told(transaction, "units", key):
            manager.reload()
        with _told(transaction, "units", key):
            _renew(transaction, record, key, manager, Paths(snapshot), since)
    if record is None:
        return {}
    return _start(transaction, record, Paths(snapshot).hold)


def start_stopped(transaction: Transaction) -> None:
    """Where files could not go back: what ran before and was stopped runs again, from whatever files are there."""
    record = records.load(transaction) if transaction.layout.is_real else None
    if record is None:
        return
    gone = _gone(record)
    for key, manager in records.managers().items():
        with _told(transaction, "units", key):
            manager.reload()
    _start(transaction, record, lambda path: True)
    started = sorted(gone - _gone(record))
    if started:
        records.tell(transaction, "started again, from the files that are there: %s" % ", ".join(started))


def _gone(record: Record) -> set[str]:
    """The units that ran before and do not now, as far as systemd answers."""
    found: set[str] = set()
    for key, manager in records.managers().items():
        with contextlib.suppress(OtaError, OSError):
            alive = {name for name, unit in manager.loaded().items() if unit.get("ActiveState") in ALIVE}
            found |= set(record["units"].get(key, {})) - alive
    return found


def _start(transaction: Transaction, record: Record, concerned: t.Callable[[str], bool]) -> Failures:
    """Start what ran before, daemons among it that run files which are ``concerned``; as :func:`bring_back`."""
    failures: Failures = {}
    with _told(transaction, "starting what ran before"):
        mine = again.concerned(transaction, record)
        if not records.is_this_boot(record):  # a boot starts what is enabled by itself
            for before in record["units"].values():
                for name in set(before) - mine:
                    del before[name]
        for name, reason in again.start(transaction, record, records.managers(), forward=False).items():
            records.tell(transaction, "%s ran before and does not start: %s" % (name, reason))
            failures.update({name: reason} if name in mine else {})
        daemons.start_again(transaction, record, concerned)
    return failures


def _to_stop(
    transaction: Transaction,
    record: Record | None,
    key: str,
    loaded: t.Mapping[str, Properties],
    paths: Paths,
    changed: t.AbstractSet[str],
) -> list[str]:
    """The release's units, those that its files define, and those that run or write its files, with their triggers."""
    names = set() if key else set(again.named(transaction, loaded))
    names |= {name for name, unit in loaded.items() if any(map(paths.hold, _definition(unit)))}
    since = record["clock"] if record and records.is_this_boot(record) else 0.0
    for process in processes.everything():
        if process.key == key and process.unit.endswith(".service"):
            new = process.started >= since and any(map(paths.hold, process.files))
            old = bool(changed) and any(os.path.realpath(path) in changed for path in process.files)
            if new or old or any(map(paths.hold_below, processes.written(process.pid))):
                names.add(process.unit)
    names = {name for name in names if loaded.get(name, {}).get("ActiveState") in ALIVE}
    names |= {trigger for name in names for trigger in loaded[name].get("TriggeredBy", "").split()}
    return sorted(name for name in names if not _NEVER.match(name) and not _AT_ONCE.match(name))


def _definition(unit: Properties) -> list[str]:
    """The files that say what a running unit is."""
    if unit.get("ActiveState") not in ALIVE:
        return []
    return [path for path in (unit.get("FragmentPath", ""), *unit.get("DropInPaths", "").split()) if path]


def _renew(
    transaction: Transaction,
    record: Record | None,
    key: str,
    manager: Manager,
    paths: Paths,
    since: float,
) -> None:
    """Stop units that came with the change, and restart those that run what it brought."""
    loaded = manager.loaded()
    before = record["units"].get(key, {}) if record else {}
    alive = {name: unit for name, unit in loaded.items() if unit.get("ActiveState") in ALIVE}
    came = {name for name, unit in alive.items() if name not in before and unit.get("LoadState") == "not-found"}
    stale = {process.unit for process in _stale(key, paths, since) if process.unit in alive}
    if not key:
        stale |= {name for name in again.named(transaction, alive) if _AT_ONCE.match(name) and name in alive}
    for name in stale:
        if _NEVER.match(name):
            records.tell(transaction, "%s runs files that went back; a reboot ends that" % name)
    stop = sorted(name for name in {*came, *(stale - set(before))} if not _NEVER.match(name))
    again_names = sorted(name for name in stale if name in before and not _NEVER.match(name))
    for name, reason in manager.stop(stop).items():
        records.tell(transaction, "%s did not stop: %s" % (name, reason))
    for name, reason in manager.restart(again_names, again.LONGEST_START).items():
        records.tell(transaction, "%s did not restart: %s" % (name, reason))
    for name, unit in alive.items():
        if name not in before and name not in stop and record and unit.get("UnitFileState") == "disabled":
            records.tell(transaction, "%s runs and did not before" % name)


def _stale(key: str, paths: Paths, since: float) -> t.Iterator[Process]:
    """Processes of services that started with what the change brought, and go on running it."""
    for process in processes.everything():
        if process.key == key and process.unit.endswith(".service") and process.started >= since:
            if any(map(paths.hold, processes.outdated(process))):
                yield process


@contextlib.contextmanager
def _told(transaction: Transaction, what: str, key: str = "") -> t.Iterator[None]:
    """Note what goes wrong, and go on; a user's systemd may have ended with the user's session."""
    try:
        yield
    except Exception as error:  # whatever it is, files must go back
        reason = error.message if isinstance(error, OtaError) else "%s: %s" % (type(error).__name__, error)
        if key and key not in records.managers():
            transaction.log("user %s is logged out: %s" % (key, reason))
        else:
            records.tell(transaction, "%s: %s" % (what, reason))
