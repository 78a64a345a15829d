# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Verbs that only look: what the device is, how it is, whether it would take a release."""

from __future__ import annotations

import os
import platform
import typing as t

from ..admission import witness
from ..base.errors import OtaError
from ..base.protocol import Reply, Request
from ..enrolment import identity, machine, sealed
from ..kinds import checks, interlocks, payloads, snapshots
from ..records import installed, logs, transaction
from ..system import command, kept
from ..system.files import tree
from ..system.layout import Layout
from ..transaction import guard
from ..trust import crypto


def info(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
    """The device's own truth."""
    last = transaction.Transaction.load(layout)
    memory = installed.Memory(layout).value
    disk = os.statvfs(layout.state if os.path.isdir(layout.state) else layout.root)
    nothing = tree.Selection((), (), ())
    kinds = [kind for kind in snapshots.kinds() if snapshots.by_kind(kind).probe(layout, nothing) is None]
    reply: dict[str, object] = {
        "identity": kept.read(layout, identity.NAME),
        "enrolled": os.path.exists(layout.file("trust", "root.json")),
        "instance": machine.instance(layout),
        "releases": memory["releases"],
        "rejected": memory["rejected"],
        "sealed": _sealed(layout),
        "transaction": last.reply() if last else None,
        "witness": witness.shown(layout),
        "capabilities": {
            "payload_types": payloads.types_known(),
            "checks": checks.kinds(),
            "interlocks": interlocks.kinds(),
            "snapshots": kinds,
            "guard": _guard(layout),
            "python": platform.python_version(),
            "architecture": platform.machine(),
            "free_bytes": disk.f_bavail * disk.f_frsize,
            "key_types": sorted(crypto.SCHEMES),
            "openssl": command.which("openssl") is not None,
        },
    }
    if request.get("logs"):
        reply["logs"] = logs.read(last, request.get("transaction"))
    return reply


def _guard(layout: Layout) -> str | None:
    """The guard that ``auto`` takes here."""
    try:
        return guard.choose(layout, "auto")
    except OtaError:
        return None


def _sealed(layout: Layout) -> Reply | None:
    settings = sealed.load(layout)
    return settings.shown() if settings else None
