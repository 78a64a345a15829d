# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Back to the release before, by the same transaction: snapshot, guard, change, health, confirm.

Needs no metadata and works with everything expired: the way back is always open.
"""

from __future__ import annotations

import typing as t

from ..admission import lease, witness
from ..base.errors import OtaError
from ..enrolment import machine
from ..enrolment.identity import Identity
from ..kinds import interlocks, snapshots
from ..records import releases
from ..records.installed import Memory
from ..records.transaction import Transaction
from ..system.layout import Layout
from ..transaction import guard, reboot
from ..transaction.begin import busy, launch, options
from ..transaction.finish import settle


def rollback(layout: Layout, request: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Start going back from what was confirmed last (or from ``name``); called with the lock held.

    Refuses with ``NO_PREVIOUS``, or with ``CONFLICT`` when somebody else has changed since what would go back.
    """
    running = settle(layout)
    if running is not None and running.is_open:
        if running.kind == "rollback" and running.rollout == request.get("rollout"):
            lease.fence(layout, "rollback", request, running)
            return running.reply()
        raise busy(running)
    machine.check(layout)
    machine.compare(layout, request.get("expected"), running.sequence if running else 0)
    witness.compare(layout, request)
    lease.fence(layout, "rollback", request, take=False)
    Identity(layout)
    memory = Memory(layout)
    name = request.get("name") or memory.latest()
    entry = memory.of(name) if name else {"current": None, "previous": None}
    current, previous = entry["current"], entry["previous"]
    if running is not None and _is_done(running, request):
        return {**running.reply(), "again": True}
    rollout = request.get("rollout")
    if rollout and current and current.get("rollout") not in (None, rollout) and lease.took_part(layout, rollout):
        message = "%s %s came by rollout %s since; going back from %s would undo that one instead"
        raise OtaError("STALE", message % (name, current["version"], current["rollout"], rollout))
    if not current or not previous:
        raise OtaError(
            "NO_PREVIOUS", "there is no release before %s to go back to" % (current or {}).get("version", "this one")
        )
    interlocks.ask(layout, request.get("interlocks"))  # the way back asked for may be urgent, the press still runs
    source = snapshots.load(layout, current["transaction"])
    changed, conflicts = source.undo()
    if conflicts and not request.get("overwrite"):
        message = "%d paths were changed since %s was confirmed (%s); look at them, or say overwrite to lose that"
        text = message % (len(conflicts), current["version"], ", ".join(conflicts[:5]))
        raise OtaError("CONFLICT", text, paths=conflicts)
    diff = {
        "before": {"release": "%s %s" % (name, current["version"])},
        "after": {"release": "%s %s" % (name, previous["version"]), "paths": len(changed)},
    }
    # What needed a boot to come needs one to go.
    boots = reboot.mode(releases.confirmed(layout, current), releases.confirmed(layout, previous))
    kind = guard.choose(layout, request.get("guard", "auto"), boots != "never")
    wanted = {key: previous[key] for key in ("name", "version", "counter", "digest")}
    if request.get("check"):
        return {
            "transaction": None,
            "state": "idle",
            "outcome": None,
            "release": wanted,
            "before": current,
            "diff": diff,
        }
    lease.fence(layout, "rollback", request)
    transaction = Transaction.begin(
        layout,
        kind="rollback",
        release=wanted,
        before=current,
        source=current["transaction"],
        diff=diff,
        guard=kind,
        reboot=boots,
        **options(request),
    )
    launch(transaction)
    return transaction.reply()


def _is_done(last: Transaction, request: t.Mapping[str, t.Any]) -> bool:
    """Whether this very rollback was confirmed already: running the same command again goes back once, not twice."""
    rollout = request.get("rollout")
    return bool(last and rollout and last.kind == "rollback" and last.rollout == rollout and last.state == "confirmed")
