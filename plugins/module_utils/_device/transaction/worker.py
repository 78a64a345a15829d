# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The work of a transaction, from staged to unconfirmed, in one process under one lock."""

from __future__ import annotations

import os
import traceback
import typing as t

from ..base.errors import OtaError, lacking
from ..base.states import State
from ..documents import data, release
from ..enrolment.identity import Identity
from ..kinds import interlocks, snapshots
from ..kinds.checks import Check, Measured, Section
from ..kinds.payloads import restart
from ..kinds.snapshots import AFTER, EXPECTED, Terms
from ..records import releases
from ..records.transaction import Transaction
from ..system import durable, lock
from ..system.files import tree
from ..system.layout import Layout
from ..system.overlay import Need
from ..transfer import staging
from . import backup, elsewhere, guard, migrate, quiesce, reboot, rehearse
from .finish import NOT_ITS_FAULT, finish
from .health import Health, measured
from .restore import go_back
from .services import back, forward, names, record

#: Seconds that another program may take to install its packages before the device is deferred.
PACKAGE_PATIENCE = 120.0
#: Files of a snapshot, a transaction and its logs.
SNAPSHOT_INODES = 64
#: A disk is slower than the memory of a rehearsal by at most this factor, and writes at least so many bytes a second.
_SLOWER, _SLOWEST = 10, 1 << 20


def name(transaction: Transaction) -> str:
    """The name of the detached work."""
    return "fleet-ota-worker-" + transaction.id


def work(layout: Layout, identifier: str) -> None:
    """Carry transaction ``identifier`` from ``staged`` to ``unconfirmed`` or back to where it came from."""
    with lock.hold(layout, wait=60):
        transaction = Transaction.load(layout)
        if transaction is None or transaction.id != identifier or transaction.state is not State.STAGED:
            return
        try:
            if transaction.kind == "rollback":
                _prepare_rollback(transaction)
            else:
                _prepare_update(transaction)
        except OtaError as error:
            _stop(transaction, State(error.outcome), error.code, error.message)
        except ImportError as error:
            missing = lacking(error, "this release")
            _stop(transaction, State(missing.outcome), missing.code, missing.message)
        except Exception as error:  # whatever it was, the device must end in a known state
            transaction.log(traceback.format_exc())
            _stop(transaction, State.REFUSED, "ENGINE", "%s: %s" % (type(error).__name__, error))


def _stop(transaction: Transaction, end: State, code: str, message: str) -> None:
    transaction.log("%s: %s" % (code, message))
    if transaction.state.is_untouched:
        finish(transaction, end, code, message)
    else:
        install_code = code if code in ("INSTALL", "HEALTH", "REBOOT", *NOT_ITS_FAULT) else "INSTALL"
        go_back(transaction, install_code, message if code == install_code else "%s: %s" % (code, message))


# -- update ----------------------------------------------------------------------------------------------------------


def _prepare_update(transaction: Transaction) -> None:
    layout = transaction.layout
    document = releases.of_transaction(transaction)
    if document is None:
        raise OtaError("RELEASE", "the transaction's release document is gone; run again")
    files = release.payload_files(document)
    pull = durable.read_json(transaction.folder("request.json"), {}).get("pull") or {}
    missing = {entry["sha256"] for entry in staging.missing(layout, files)}
    for entry in files:
        if entry["sha256"] in missing:
            staging.pull(layout, entry, pull.get(entry["sha256"], []))
    durable.remove(transaction.folder("request.json"))  # its addresses may hold credentials
    paths = staging.take(layout, transaction.folder("payload"), files)
    payloads = releases.installers_of(transaction, document, paths)
    for payload in payloads:
        if transaction.repair:
            payload.repair()
        payload.require_installable()
    transaction.advance(State.VERIFIED)
    for payload in payloads:
        payload.hold(PACKAGE_PATIENCE)  # from what is looked at now until all is installed nobody else changes it
    rehearsed = rehearse.rehearse(transaction, payloads)
    names.require_known(layout, payloads, rehearsed.touched)
    transaction.advance(State.REHEARSED, slowness=_slowness(rehearsed.needs, rehearsed.seconds))
    scopes = [payload.scope(rehearsed.touched) for payload in payloads]
    entries = data.merged(document, transaction.data)
    single, trees = (frozenset().union(*parts) for parts in zip(*((one.paths, one.trees) for one in scopes)))
    data.require_spared(transaction.data, layout.real, single, trees)
    protect = {*document.get("protect", []), *transaction.protect, *data.paths(entries, "restore")}
    selection = tree.select(
        layout,
        single,
        protect | trees,
        [
            *exclude(layout),
            *data.paths(entries, "keep"),
            *(path for scope in scopes for path in scope.volatile),
        ],
    )
    terms = _terms([scope.terms for scope in scopes])
    extra = {**rehearsed.needs, layout.state_dir: Need(document.get("requires", {}).get("free_space", 0), 0)}
    concerned = sorted({unit for payload in payloads for unit in payload.units()}) if layout.is_real else []
    interlocks.ask(layout, transaction.interlocks)  # it may have taken long to bring the payloads here
    quiesce.begin(transaction, document)
    try:
        backup.run(transaction, entries)
        snapshot = _snapshot(transaction, selection, extra, concerned, terms, rehearsed.texts)
    finally:
        quiesce.resume(transaction)
    sections = [document.get("health", {})]
    if transaction.before:
        before = releases.known(layout, transaction.before)
        sections.append(before.get("health", {}) if before else {})
    _baseline(transaction, sections)
    _arm(transaction)
    try:
        for payload in payloads:
            payload.install()
    finally:
        snapshot.shared.keep(AFTER)  # while nobody else could have entered anything
    restart(payloads)
    migrate.forward(transaction, entries)
    _in_place(transaction, document.get("health", {}))


# -- rollback --------------------------------------------------------------------------------------------------------


def _prepare_rollback(transaction: Transaction) -> None:
    layout = transaction.layout
    source = snapshots.load(layout, transaction.source or "")
    source.prove()
    left = releases.confirmed(layout, transaction.before)
    leaving = releases.installers_of(transaction, left)
    for payload in leaving:
        payload.hold(PACKAGE_PATIENCE)
    apart = set().union(*(payload.set_apart(source) for payload in leaving))
    changed, _conflicts = source.undo()  # they were accepted before this was started
    transaction.advance(State.VERIFIED)
    transaction.advance(State.REHEARSED)  # what goes back is known without
    extra = {layout.state_dir: Need(sum(entry.get("s", 0) for _path, entry in source.pairs()), 0)}
    transaction.slowness = _slowness(extra)
    interlocks.ask(layout, transaction.interlocks)
    quiesce.begin(transaction, left or {})
    try:
        concerned = transaction.leaving.get("units", []) if layout.is_real else []
        expected = source.shared.expected()
        snapshot = _snapshot(transaction, source.selection, extra, concerned, source.terms, expected)
    finally:
        quiesce.resume(transaction)
    document = releases.of_transaction(transaction)
    section = document.get("health", {}) if document else {}
    _baseline(transaction, [section])
    _arm(transaction)
    for payload in leaving:
        payload.quiesce()
    back.pause(transaction, source, changed)
    migrate.back(transaction, left.get("data", []) if left else [])
    others = source.shared.packages_of_others() | apart
    try:
        source.restore(changed)
        for payload in leaving:
            payload.put_back_apart(source)
    finally:
        snapshot.shared.keep(AFTER)
    # Where others brought packages since, what is made of all packages is neither of now nor of then: not put back.
    stale = sorted({*source.left, *(source.terms.generated if others else ())})
    if stale:
        for payload in leaving:
            payload.regenerate(stale)
    again = releases.installers_of(transaction, document)
    for payload in again:
        payload.activate()
    restart(again)
    for unit, reason in back.bring_back(transaction, source).items():
        raise OtaError("HEALTH", "%s ran before and does not start: %s" % (unit, reason))
    _in_place(transaction, section)


# -- steps of both ---------------------------------------------------------------------------------------------------


def _slowness(needs: t.Mapping[str, Need], rehearsed: float = 0.0) -> int:
    """Seconds that a slow device may take to put ``needs`` in place, which it ``rehearsed`` in so many seconds."""
    return int(_SLOWER * rehearsed + sum(need.bytes for need in needs.values()) / _SLOWEST)


def _terms(several: t.Sequence[Terms]) -> Terms:
    """Those of all payloads together."""

    def all_of(name: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(value for one in several for value in getattr(one, name)))

    forms = {path: form for one in several for path, form in one.forms.items()}
    return Terms(all_of("wide"), all_of("generated"), all_of("endings"), forms, all_of("packages"))


def _snapshot(
    transaction: Transaction,
    selection: tree.Selection,
    extra: t.Mapping[str, Need],
    concerned: list[str],
    terms: Terms,
    expected: t.Mapping[str, str],
) -> snapshots.Base:
    layout = transaction.layout
    snapshot = snapshots.choose(layout, selection, transaction.snapshot)(layout, transaction.id, selection, terms)
    needs = dict(extra)
    here = needs.get(layout.state_dir, Need(0, 0))
    needs[layout.state_dir] = Need(here.bytes + snapshot.estimate(), here.inodes + SNAPSHOT_INODES)
    rehearse.require_room(layout, needs)
    snapshot.create()
    if expected:
        snapshot.shared.keep(EXPECTED, expected.get)
    snapshot.prove()
    transaction.advance(State.SNAPSHOTTED, snapshot_kind=snapshot.kind, units=concerned)
    return snapshot


def _baseline(transaction: Transaction, sections: list[Section]) -> None:
    """Look once at what the old and the new release call healthy: what passes now must pass again after a way back."""
    layout = transaction.layout
    words = Identity(layout).words
    passing: dict[str, Check] = {}
    baseline: dict[str, Measured] = {}
    for section in sections:
        health = Health(layout, section, words)
        verdict = health.before()
        baseline.update(measured(verdict))
        for check in section.get("checks", []):
            if verdict.checks[check["name"]]["ok"]:
                passing[check["name"]] = check
    back: Section = {**(sections[-1] or sections[0]), "checks": list(passing.values())}
    transaction.save(baseline=baseline, health_before=back)


def _arm(transaction: Transaction) -> None:
    interlocks.ask(transaction.layout, transaction.interlocks)
    record.take(transaction)
    elsewhere.begin(transaction)
    guard.arm(transaction)
    transaction.advance(State.ARMED)
    transaction.advance(State.INSTALLING)


def _in_place(transaction: Transaction, section: Section) -> None:
    """Everything is installed: once it is on disk, reboot if it is due, else go on."""
    if transaction.layout.is_real:
        os.sync()  # scripts of packages do not do it, and a boot loader reads no journal: a record must not be ahead
    if reboot.due(transaction):
        transaction.advance(State.REBOOTING)
        if transaction.layout.is_real:
            reboot.ask(transaction.layout)  # the guard goes on after the boot
    elif transaction.reboot == "if_needed":
        transaction.save(reboot="never")  # it was not: the way back needs none either
    forward.resume(transaction)
    guard.in_place(transaction)
    prove(transaction, section)


def prove(transaction: Transaction, section: Section) -> None:
    """Prove the new release healthy, up to ``unconfirmed``; OtaError ``HEALTH`` otherwise."""
    transaction.advance(State.CHECKING)
    section = forward.with_units(transaction, releases.of_transaction(transaction), section)
    before = {**forward.baseline(transaction), **(transaction.baseline or {})}
    verdict = Health(transaction.layout, section, Identity(transaction.layout).words).wait(before)
    transaction.save(health=verdict.checks)
    if not verdict.healthy:
        raise OtaError("HEALTH", verdict.reason)
    snapshot = snapshots.load(transaction.layout, transaction.id)
    elsewhere.tell(transaction, snapshot)
    snapshot.record_after()
    transaction.advance(State.UNCONFIRMED)


def exclude(layout: Layout) -> list[str]:
    """What is never in a snapshot: our own state and the guard."""
    return [layout.state_dir, *guard.FILES]
