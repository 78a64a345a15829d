# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Back to the release before, by the same transaction: snapshot, guard, change, health, confirm.

Needs no metadata and works with everything expired: the way back is always open.
"""

from __future__ import annotations

from ..admission import lease, witness
from ..base.errors import OtaError
from ..base.protocol import Difference, Release, Request, TransactionReply
from ..base.states import State
from ..enrolment import machine
from ..enrolment.identity import Identity
from ..kinds import interlocks, payloads, snapshots
from ..records import releases
from ..records.installed import Memory
from ..records.transaction import Transaction
from ..system.layout import Layout
from ..transaction import guard, reboot
from ..transaction.begin import busy, launch, options
from ..transaction.finish import settle
from .apply import IDLE


def rollback(layout: Layout, request: Request) -> TransactionReply:
    """Start going back from what was confirmed last (or from ``name``); called with the lock held.

    Refuses with ``NO_PREVIOUS``, or with ``CONFLICT`` when paths that would go back were changed by others since.
    """
    running = settle(layout)
    if running is not None and running.is_open:
        if running.kind == "rollback" and running.rollout == request.get("rollout"):
            lease.fence(layout, "rollback", request, running)
            return running.reply()
        raise busy(running)
    machine.require_same(layout)
    machine.require_known(layout, request.get("expected"), running.sequence if running else 0)
    witness.require_newer(layout, request)
    lease.fence(layout, "rollback", request, take=False)
    machine.require_meant(layout, Identity(layout).value["name"], request.get("checkpoint"))
    memory = Memory(layout)
    name = request.get("name") or memory.latest()
    chain = memory.of(name or "")
    current, previous = chain["current"], chain["previous"]
    if running is not None and _is_done(running, request):
        return {**running.reply(), "again": True}
    rollout = request.get("rollout")
    if rollout and current and current.get("rollout") not in (None, rollout) and lease.took_part(layout, rollout):
        message = "%s %s came by rollout %s since; going back from %s would undo that one instead"
        raise OtaError("STALE", message % (name, current["version"], current["rollout"], rollout))
    if not current or not previous:
        raise OtaError(
            "NO_PREVIOUS", "there is no release before %s to go back to" % current["version"] if current else "this one"
        )
    interlocks.ask(layout, request.get("interlocks"))  # the way back asked for may be urgent, the press still runs
    source = snapshots.load(layout, current["transaction"])
    left = releases.confirmed(layout, current)
    for payload in payloads.create(layout, left, lambda text: None) if left else []:
        payload.set_apart(source)
    changed, conflicts = source.undo()
    if conflicts and not request.get("overwrite"):
        message = "%d paths were changed since %s was confirmed (%s); look at them, or say overwrite to lose that"
        text = message % (len(conflicts), current["version"], ", ".join(conflicts[:5]))
        raise OtaError("CONFLICT", text, paths=conflicts)
    diff: Difference = {
        "before": {"release": "%s %s" % (name, current["version"])},
        "after": {"release": "%s %s" % (name, previous["version"]), "paths": len(changed)},
    }
    # What needed a boot to come needs one to go.
    boots = reboot.mode(left, releases.confirmed(layout, previous))
    kind = guard.choose(layout, request.get("guard", "auto"), boots != "never")
    target: Release = {
        "name": previous["name"],
        "version": previous["version"],
        "counter": previous["counter"],
        "digest": previous["digest"],
    }
    if request.get("check"):
        return {
            **IDLE,
            "release": target,
            "before": current,
            "diff": diff,
        }
    lease.fence(layout, "rollback", request)
    transaction = Transaction(
        layout,
        kind="rollback",
        release=target,
        before=current,
        source=current["transaction"],
        diff=diff,
        guard=kind,
        reboot=boots,
        **options(request),
    )
    transaction.begin()
    launch(transaction)
    return transaction.reply()


def _is_done(last: Transaction, request: Request) -> bool:
    """Whether this very rollback was confirmed already: running the same command again goes back once, not twice."""
    rollout = request.get("rollout")
    return bool(
        last and rollout and last.kind == "rollback" and last.rollout == rollout and last.state is State.CONFIRMED
    )
