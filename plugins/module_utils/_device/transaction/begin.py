# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Opening a transaction: its options, and starting its worker."""

from __future__ import annotations

import os
import typing as t

from ..base import schema
from ..base.errors import OtaError
from ..base.protocol import Checkpoint, Request, whole
from ..base.typed import TypedDict
from ..documents import data
from ..kinds import interlocks
from ..records.transaction import Transaction
from ..system import background, durable
from . import guard, rehearse, worker

#: Seconds that a confirm may take.
DEADLINE = 600
#: How many snapshots may stay; at least one leads back from what is installed.
KEEP = schema.whole(1, 100)


class Options(TypedDict):
    """What a request says of its transaction; the fields of a transaction say more."""

    rollout: str | None
    generation: int
    deadline: int
    snapshot: str
    protect: list[str]
    keep_snapshots: int
    data: list[data.Entry]
    interlocks: list[interlocks.Entry]
    rehearsal: str
    checkpoint: Checkpoint | None


def busy(running: Transaction) -> OtaError:
    """The refusal of a device that has another transaction open."""
    message = "transaction %s (%s %s) is open on this device; it ends by itself at its deadline"
    return OtaError("BUSY", message % (running.id, running.release["name"], running.release["version"]))


def options(request: Request) -> Options:
    """The options of a request that are kept with its transaction."""
    listed: object = request.get("protect") or []
    protect = [str(path) for path in t.cast("list[str]", listed)]
    if isinstance(listed, str) or any(not os.path.isabs(path) or not path.strip("/") for path in protect):
        raise OtaError("RELEASE", "protect must list absolute paths below /, not %r" % (listed,))
    wrong_paths = [path for path in protect if schema.kernels(path)]
    if wrong_paths:
        message = "protect must not list %s, which the kernel or a boot makes; name files that stay"
        raise OtaError("RELEASE", message % ", ".join(wrong_paths))
    deadline = whole(request, "deadline", DEADLINE)
    if deadline < 5:
        raise OtaError("RELEASE", "a deadline of %d s is too short for any confirm; give at least 5" % deadline)
    wrong = KEEP(request.get("keep_snapshots", 1))
    if wrong:
        raise OtaError("RELEASE", "keep_snapshots %s" % wrong)
    rehearsal = str(request.get("rehearsal") or "auto")
    if rehearsal not in rehearse.MODES:
        raise OtaError("RELEASE", "rehearsal must be one of %s, not %r" % (", ".join(rehearse.MODES), rehearsal))
    return {
        "rehearsal": rehearsal,
        "rollout": request.get("rollout"),
        "generation": whole(request, "generation", 0),
        "deadline": deadline,
        "snapshot": request.get("snapshot") or "auto",
        "protect": protect,
        "keep_snapshots": request.get("keep_snapshots", 1),
        "data": t.cast("list[data.Entry]", request.get("data") or []),
        "interlocks": t.cast("list[interlocks.Entry]", request.get("interlocks") or []),
        "checkpoint": request.get("checkpoint"),
    }


def launch(transaction: Transaction) -> None:
    """Start the worker of a transaction, apart from this session."""
    layout = transaction.layout
    guard.at_boot(transaction)  # from now on: a boot ends also what has touched nothing yet
    arguments = ["worker", layout.root, layout.state_dir, transaction.id]
    pid = background.start(layout, worker.name(transaction), arguments, transaction.folder("worker.log"))
    if pid is not None:
        durable.write_json(transaction.folder("worker.json"), {"pid": pid})
