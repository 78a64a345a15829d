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

from . import (
    apply,
    binding,
    checks,
    command,
    crypto,
    documents,
    durable,
    guard,
    health,
    identity,
    installers,
    interlocks,
    memory,
    schema,
    sealed,
    snapshots,
    transaction,
    tree,
    witness,
)
from .errors import OtaError
from .layout import Layout
from .protocol import Reply, Request


def info(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
    """The device's own truth."""
    found = transaction.Transaction.load(layout)
    known = memory.Memory(layout).value
    disk = os.statvfs(layout.state if os.path.isdir(layout.state) else layout.root)
    nothing = tree.Selection((), (), ())
    kinds = [kind for kind in snapshots.kinds() if snapshots.by_kind(kind).probe(layout, nothing) is None]
    return {
        "identity": durable.read_json(layout.file("identity.json")),
        "enrolled": os.path.exists(layout.file("trust", "root.json")),
        "instance": binding.instance(layout),
        "releases": known["releases"],
        "rejected": known["rejected"],
        "sealed": _sealed(layout),
        "transaction": found.reply() if found else None,
        "witness": witness.shown(layout),
        "capabilities": {
            "payload_types": installers.types_known(),
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


def _guard(layout: Layout) -> str | None:
    """The guard that ``auto`` takes here."""
    try:
        return guard.choose(layout, "auto")
    except OtaError:
        return None


def _sealed(layout: Layout) -> Reply | None:
    found = sealed.load(layout)
    return found.shown() if found else None


def verify(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
    """Everything that would be checked before installing, without changing anything."""
    offer = apply.examine(layout, request["bundle"], retry_rejected=bool(request.get("retry_rejected")), keep=False)
    accepted = offer.accepted
    verdict: Reply = {"channel": accepted.channel, "target": accepted.target, "threshold": accepted.threshold}
    verdict.update(root_version=accepted.root_version, approvals=offer.approvals)
    return {"release": offer.release, "verdict": verdict}


def look(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
    """Health by given checks, or by those of everything confirmed here."""
    words = identity.Identity(layout).words if os.path.exists(layout.file("identity.json")) else {}
    sections = [request] if request.get("checks") is not None else _sections(layout)
    problems = schema.Problems()
    keys = ("checks", "passes", "interval", "timeout", "settle")
    result: Reply = {"healthy": True, "checks": {}}
    for section in sections:
        wanted = {key: section[key] for key in keys if section.get(key) is not None}
        checks.validate("health", wanted, problems)
        if problems.found:
            raise OtaError("RELEASE", "; ".join(problems.found))
        verdict = health.Health(layout, wanted, words).wait(request.get("baseline"))
        result["healthy"] = result["healthy"] and verdict.healthy
        result["checks"].update(verdict.checks)
    found = transaction.Transaction.load(layout)
    result["transaction"] = found.reply() if found else None
    result["releases"] = memory.Memory(layout).value["releases"]
    result["witness"] = witness.shown(layout)
    return result


def _sections(layout: Layout) -> list[dict[str, t.Any]]:
    found = []
    for entry in memory.Memory(layout).value["releases"].values():
        document = documents.confirmed(layout, entry["current"])
        if document and document.get("health"):
            found.append(document["health"])
    return found
