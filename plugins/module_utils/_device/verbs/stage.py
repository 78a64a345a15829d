# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Verb `stage`: bring payloads here ahead of time."""

from __future__ import annotations

import typing as t

from ..base.protocol import Reply, Request
from ..system.layout import Layout
from ..transfer import staging


def stage(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
    """Say what is missing, take a pushed piece, or pull."""
    layout.prepare()
    files = list(request.get("files") or [])
    changed = False
    if "put" in request:
        staging.put(layout, request["put"], stream)
        files, changed = files or [request["put"]], True
    if request.get("pull") and not request.get("check"):
        for entry in staging.missing(layout, files):
            staging.pull(layout, entry, request["pull"].get(entry["sha256"], []))
            changed = True
    return {"changed": changed, "missing": staging.missing(layout, files)}
