# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Deciding whether a release is taken, and opening its transaction (the device decides)."""

from __future__ import annotations

from ..admission import lease, witness
from ..admission.offer import Offer, difference, examine, is_current
from ..base.protocol import Request, TransactionReply
from ..base.states import State
from ..documents import data, release
from ..enrolment import machine
from ..kinds import interlocks, payloads
from ..records import releases
from ..records.transaction import Transaction
from ..system import durable
from ..system.layout import Layout
from ..transaction import backup, guard, reboot
from ..transaction.begin import busy, launch, options
from ..transaction.finish import settle
from ..transfer import staging

#: The reply where there is no transaction.
IDLE: TransactionReply = {"transaction": None, "state": State.IDLE.value, "outcome": None}


def _same_rollout(last: Transaction, offer: Offer, request: Request) -> bool:
    same = last.rollout == request.get("rollout")
    return same and last.release["digest"] == offer.accepted.digest


def apply(layout: Layout, request: Request) -> TransactionReply:
    """Take the offered release, or say why not; called with the lock held.

    Replies with a transaction reply; work that goes on is at work detached. ``missing`` lists payload files that
    must be staged first.
    """
    running = settle(layout)
    machine.require_known(layout, request.get("expected"), running.sequence if running else 0)
    witness.require_newer(layout, request)
    offer = examine(
        layout,
        request["bundle"],
        retry_rejected=bool(request.get("retry_rejected")),
        keep=not request.get("check"),
        rollout=request.get("rollout"),
    )
    machine.require_meant(layout, offer.identity.value["name"], request.get("checkpoint"))
    if running is not None and running.is_open:
        if running.kind == "update" and _same_rollout(running, offer, request):
            lease.fence(layout, "update", request, running)
            return running.reply()  # the same command again: go on with what runs
        raise busy(running)
    lease.fence(layout, "update", request, take=False)
    if is_current(layout, offer):
        if running is not None and running.state is State.CONFIRMED and _same_rollout(running, offer, request):
            return {**running.reply(), "again": True}  # done by an earlier run of this very rollout
        return {
            **IDLE,
            "outcome": "current",
            "release": offer.release,
            "before": offer.release,
        }
    backup.require_possible(layout, data.merged(offer.document, request.get("data")))
    interlocks.ask(layout, request.get("interlocks"))
    diff = difference(layout, offer)
    files = release.payload_files(offer.document)
    missing = staging.missing(layout, files)
    pull = request.get("pull") or {}
    kind = guard.choose(layout, request.get("guard", "auto"), reboot.mode(offer.document) != "never")
    for installer in payloads.create(layout, offer.document, lambda text: None):
        installer.require_ready(repair=bool(request.get("repair")))
    if request.get("check") or any(entry["sha256"] not in pull for entry in missing):
        before = offer.memory.of(offer.document["name"])["current"]
        return {**IDLE, "release": offer.release, "missing": missing, "diff": diff, "before": before}
    lease.fence(layout, "update", request)  # not before: who still brings payloads here has not begun
    transaction = Transaction(
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
    transaction.begin()
    releases.store(transaction, offer.accepted.content)
    durable.write_json(transaction.folder("request.json"), {"pull": pull})
    launch(transaction)
    return transaction.reply()
