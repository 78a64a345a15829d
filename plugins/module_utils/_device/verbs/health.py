# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Verb `health`: run health checks now."""

from __future__ import annotations

import os
import typing as t

from ..admission import witness
from ..base import schema
from ..base.errors import OtaError
from ..base.protocol import Reply, Request
from ..enrolment import identity
from ..kinds import checks
from ..records import installed, releases, transaction
from ..system.layout import Layout
from ..transaction import health


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
    result["releases"] = installed.Memory(layout).value["releases"]
    result["witness"] = witness.shown(layout)
    return result


def _sections(layout: Layout) -> list[dict[str, t.Any]]:
    found = []
    for entry in installed.Memory(layout).value["releases"].values():
        document = releases.confirmed(layout, entry["current"])
        if document and document.get("health"):
            found.append(document["health"])
    return found
