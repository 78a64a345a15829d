# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Verb `install`: verify and install without a transaction."""

from __future__ import annotations

from ..admission.offer import examine
from ..base.protocol import Reply, Request
from ..documents import release
from ..kinds import interlocks, payloads
from ..records import transaction
from ..system.layout import Layout
from ..transaction import begin, finish, worker
from ..transfer import staging


def install(layout: Layout, request: Request) -> Reply:
    """Verify and install under one lock, without a transaction: no snapshot, no guard, no health."""
    running = finish.settle(layout)
    if running is not None and running.is_open:
        raise begin.busy(running)
    offer = examine(layout, request["bundle"], retry_rejected=bool(request.get("retry_rejected")))
    files = release.payload_files(offer.document)
    installers = payloads.create(layout, offer.document, lambda text: None)
    before = {one.payload["name"]: one.observe() for one in installers}
    after = {one.payload["name"]: one.wanted() for one in installers}
    changed = before != after
    if changed:
        interlocks.ask(layout, None)
    for one in installers if changed else []:
        one.require_ready(repair=bool(request.get("repair")))
    missing = staging.missing(layout, files) if changed else []
    pull = request.get("pull") or {}
    reply = {"changed": changed, "diff": {"before": before, "after": after}, "release": offer.release}
    if not changed or request.get("check") or any(entry["sha256"] not in pull for entry in missing):
        return {**reply, "missing": missing}
    for entry in missing:
        staging.pull(layout, entry, pull[entry["sha256"]])
    folder = layout.file("transactions", "install")
    paths = staging.take(layout, folder, files)
    for one in installers:
        one.hold(worker.PACKAGE_PATIENCE)
        one.files = paths
        if request.get("repair"):
            one.repair()
        one.require_installable()
    for one in installers:
        one.install()
    payloads.restart(installers)
    transaction.remove_folder(layout, "install")
    return {**reply, "missing": []}
