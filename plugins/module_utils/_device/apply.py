# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Deciding whether a release is taken, and opening its transaction (the device decides)."""

from __future__ import annotations

import os
import typing as t

from . import (
    authorize,
    backup,
    binding,
    data,
    detach,
    durable,
    fetch,
    guard,
    installers,
    lease,
    notnow,
    reboot,
    release,
    schema,
    sealed,
    witness,
    worker,
)
from .conclude import settle
from .errors import OtaError
from .identity import Identity
from .layout import Layout
from .memory import Memory
from .protocol import Request
from .transaction import Transaction
from .trust import Accepted, Trust

DEADLINE = 600
#: How many snapshots may stay; at least one leads back from what is installed.
KEEP = schema.whole(1, 100)
IDLE: dict[str, t.Any] = {"transaction": None, "state": "idle", "outcome": None}


class Offer(t.NamedTuple):
    """A release that was verified, is for this device and was approved for it as the fleet's policy asks."""

    accepted: Accepted
    document: release.Document
    identity: Identity
    memory: Memory
    approvals: dict[str, t.Any]

    @property
    def release(self) -> dict[str, t.Any]:
        """``{name, version, counter, digest}``."""
        return {**{key: self.document[key] for key in ("name", "version", "counter")}, "digest": self.accepted.digest}


def examine(
    layout: Layout, bundle: Request, *, retry_rejected: bool = False, keep: bool = True, rollout: str | None = None
) -> Offer:
    """Verify a bundle and everything about it that needs no payload; OtaError with the reason code otherwise."""
    identity, trust = Identity(layout), Trust(layout)
    binding.check(layout)
    accepted = trust.accept(bundle, keep=keep)
    document = release.parse(accepted.content)
    identity.match(document.get("compatible", {}))
    asked, settings = authorize.Asked(identity.words, trust.now, rollout), sealed.load(layout)
    required = settings is not None and settings.require_approval
    approvals = authorize.check(accepted, _paths(bundle), asked, required=required)
    memory = Memory(layout)
    last = Transaction.load(layout)
    ours = last is not None and last.release["digest"] == accepted.digest
    memory.check(document, accepted.digest, retry_rejected, last.reply() if last and ours else None)
    return Offer(accepted, document, identity, memory, approvals)


def _paths(bundle: Request) -> list[str]:
    """The approvals that a bundle names."""
    found = bundle.get("approvals") or []
    if not isinstance(found, list) or not all(isinstance(path, str) for path in found):
        raise OtaError("METADATA", "the bundle's approvals are not a list of paths")
    return found


def is_current(layout: Layout, offer: Offer) -> bool:
    """Whether the device confirmed this release, and still shows it."""
    current = offer.memory.of(offer.document["name"])["current"]
    if not current or current["digest"] != offer.accepted.digest:
        return False
    found = installers.create(layout, offer.document, lambda text: None)
    return all(installer.observe() == installer.wanted() for installer in found)


def _same_rollout(last: Transaction, offer: Offer, request: Request) -> bool:
    same = last.rollout == request.get("rollout")
    return same and bool(last.release["digest"] == offer.accepted.digest)


def difference(layout: Layout, offer: Offer) -> dict[str, t.Any]:
    """What ``--diff`` shows: release and payloads before and after."""
    current = offer.memory.of(offer.document["name"])["current"]
    before: dict[str, t.Any] = {"release": "%s %s" % (current["name"], current["version"]) if current else None}
    after: dict[str, t.Any] = {"release": "%s %s" % (offer.document["name"], offer.document["version"])}
    for installer in installers.create(layout, offer.document, lambda text: None):
        before[installer.payload["name"]] = installer.observe()
        after[installer.payload["name"]] = installer.wanted()
    return {"before": before, "after": after}


def apply(layout: Layout, request: Request) -> dict[str, t.Any]:
    """Take the offered release, or say why not; called with the lock held.

    Replies with a transaction reply; work that goes on is at work detached. ``missing`` lists payload files that
    must be staged first.
    """
    running = settle(layout)
    binding.compare(layout, request.get("expected"), running.sequence if running else 0)
    witness.compare(layout, request)
    offer = examine(
        layout,
        request["bundle"],
        retry_rejected=bool(request.get("retry_rejected")),
        keep=not request.get("check"),
        rollout=request.get("rollout"),
    )
    if running is not None and running.is_open:
        if running.kind == "update" and _same_rollout(running, offer, request):
            lease.fence(layout, "update", request, running)
            return running.reply()  # the same command again: go on with what runs
        raise busy(running)
    lease.fence(layout, "update", request, take=False)
    if is_current(layout, offer):
        if running is not None and running.state == "confirmed" and _same_rollout(running, offer, request):
            return {**running.reply(), "again": True}  # done by an earlier run of this very rollout
        return {
            "transaction": None,
            "state": "idle",
            "outcome": "current",
            "release": offer.release,
            "before": offer.release,
        }
    backup.ready(layout, data.merged(offer.document, request.get("data")))
    notnow.ask(layout, request.get("interlocks"))
    diff = difference(layout, offer)
    files = release.payload_files(offer.document)
    missing = fetch.missing(layout, files)
    pull = request.get("pull") or {}
    kind = guard.choose(layout, request.get("guard", "auto"), reboot.mode(offer.document) != "never")
    for installer in installers.create(layout, offer.document, lambda text: None):
        installer.ready(repair=bool(request.get("repair")))
    if request.get("check") or any(entry["sha256"] not in pull for entry in missing):
        before = offer.memory.of(offer.document["name"])["current"]
        return {**IDLE, "release": offer.release, "missing": missing, "diff": diff, "before": before}
    lease.fence(layout, "update", request)  # not before: who still brings payloads here has not begun
    transaction = Transaction.begin(
        layout,
        kind="update",
        release=offer.release,
        before=offer.memory.of(offer.document["name"])["current"],
        diff=diff,
        guard=kind,
        reboot=reboot.mode(offer.document),
        approvals=offer.approvals,
        repair=bool(request.get("repair")),
        **options(request),
    )
    durable.write(transaction.folder("release.json"), offer.accepted.content)
    durable.write_json(transaction.folder("request.json"), {"pull": pull})
    launch(transaction)
    return transaction.reply()


def busy(running: Transaction) -> OtaError:
    """The refusal of a device that has another transaction open."""
    message = "transaction %s (%s %s) is open on this device; it ends by itself at its deadline"
    return OtaError("BUSY", message % (running.id, running.release["name"], running.release["version"]))


def options(request: Request) -> dict[str, t.Any]:
    """The transaction options that are kept with a transaction."""
    protect = [str(path) for path in request.get("protect") or []]
    if any(not os.path.isabs(path) or not path.strip("/") for path in protect):
        raise OtaError("RELEASE", "protect must list absolute paths below /, not %r" % protect)
    deadline = int(request.get("deadline") or DEADLINE)
    if deadline < 5:
        raise OtaError("RELEASE", "a deadline of %d s is too short for any confirm; give at least 5" % deadline)
    wrong = KEEP(request.get("keep_snapshots", 1))
    if wrong:
        raise OtaError("RELEASE", "keep_snapshots %s" % wrong)
    return {
        "rollout": request.get("rollout"),
        "generation": int(request.get("generation") or 0),
        "deadline": deadline,
        "snapshot": request.get("snapshot") or "auto",
        "protect": protect,
        "keep_snapshots": request.get("keep_snapshots", 1),
        "data": request.get("data") or [],
        "interlocks": request.get("interlocks") or [],
        "checkpoint": request.get("checkpoint"),
    }


def launch(transaction: Transaction) -> None:
    """Start the worker of a transaction, apart from this session."""
    layout = transaction.layout
    arguments = ["worker", layout.root, layout.state_dir, transaction.id]
    pid = detach.start(layout, worker.name(transaction), arguments, transaction.folder("worker.log"))
    if pid is not None:
        durable.write_json(transaction.folder("worker.json"), {"pid": pid})
