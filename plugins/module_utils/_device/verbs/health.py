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
from ..kinds.checks import Finding, Section
from ..records import installed, releases, transaction
from ..system.layout import Layout
from ..transaction import health


def look(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
    """Health by given checks, or by those of everything confirmed here."""
    words = identity.Identity(layout).words if os.path.exists(layout.file("identity.json")) else {}
    requested = t.cast(Section, request)
    sections = [requested] if request.get("checks") is not None else _sections(layout)
    problems = schema.Problems()
    findings: dict[str, Finding] = {}
    healthy = True
    for section in sections:
        own = {key: value for key, value in section.items() if key in Section.__annotations__ and value is not None}
        checks.validate("health", own, problems)
        if problems.found:
            raise OtaError("RELEASE", "; ".join(problems.found))
        verdict = health.Health(layout, t.cast(Section, own), words).wait(request.get("baseline"))
        healthy = healthy and verdict.healthy
        findings.update(verdict.checks)
    last = transaction.Transaction.load(layout)
    return {
        "healthy": healthy,
        "checks": findings,
        "transaction": last.reply() if last else None,
        "releases": installed.Memory(layout).value["releases"],
        "witness": witness.shown(layout),
    }


def _sections(layout: Layout) -> list[Section]:
    sections = []
    for entry in installed.Memory(layout).value["releases"].values():
        document = releases.confirmed(layout, entry["current"])
        if document and document.get("health"):
            sections.append(document["health"])
    return sections
