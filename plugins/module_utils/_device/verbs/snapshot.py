# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Verb `snapshot`: snapshots that people make."""

from __future__ import annotations

import os
import typing as t

from ..base import schema
from ..base.errors import OtaError
from ..base.protocol import Reply, Request
from ..kinds import snapshots
from ..records import transaction
from ..system import lock
from ..system.files import tree
from ..system.layout import Layout
from ..transaction import worker


def snapshot(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
    """Snapshots that people make: create, restore, prove, remove, list; they have names of their own."""
    layout.prepare()
    action, name = request["action"], str(request.get("name") or "")
    listed = [entry for entry in snapshots.listing(layout) if not transaction.IDENTIFIER.match(entry["id"])]
    if action == "list":
        return {"changed": False, "snapshots": listed}
    if not schema.NAME.match(name) or transaction.IDENTIFIER.match(name):
        raise OtaError("RELEASE", "%r cannot name a snapshot; use letters, digits, '.', '_' and '-'" % name)
    there = any(entry["id"] == name for entry in listed)
    if request.get("check") or (action == "create" and there) or (action == "remove" and not there):
        changed = {"create": not there, "remove": there, "prove": False}.get(action)
        if changed is None:
            changed = bool(snapshots.load(layout, name).remaining())
        return {"changed": changed, "snapshots": listed}
    with lock.hold(layout, wait=30):
        if action == "create":
            paths = [str(path) for path in request.get("paths") or []]
            wrong = [path for path in paths if schema.absolute(path) or not os.path.lexists(layout.real(path))]
            if wrong or not paths:
                raise OtaError("RELEASE", "nothing to snapshot at %s; name existing absolute paths" % (wrong or paths))
            selection = tree.select(layout, (), paths, worker.exclude(layout))
            snapshot = snapshots.choose(layout, selection, request.get("kind") or "auto")(layout, name, selection)
            disk = os.statvfs(layout.state)
            needed = snapshot.estimate()
            if disk.f_bavail * disk.f_frsize < needed:
                raise OtaError("NO_SPACE", "a snapshot needs %d bytes in %s; make room" % (needed, layout.state))
            snapshot.create()
            snapshot.prove()
            return {"changed": True, "kind": snapshot.kind, "snapshots": snapshots.listing(layout)}
        snapshot = snapshots.load(layout, name)
        if action == "remove":
            snapshot.remove()
            return {"changed": True}
        snapshot.prove()
        if action == "prove":
            return {"changed": False}
        paths = snapshot.restore()
        remaining = snapshot.remaining()
        if remaining:
            raise OtaError(
                "RESTORE", "%d paths are not as in the snapshot: %s" % (len(remaining), ", ".join(remaining[:5]))
            )
        return {"changed": bool(paths), "paths": paths}
