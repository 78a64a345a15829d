# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Verbs that change something without a transaction: enrolment, payloads, snapshots of people, a bare install."""

from __future__ import annotations

import os
import time
import typing as t

from . import (
    apply,
    conclude,
    durable,
    enrolment,
    fetch,
    identity,
    installers,
    lock,
    notnow,
    schema,
    snapshots,
    transaction,
    tree,
    trust,
    worker,
)
from .errors import OtaError
from .layout import Layout
from .protocol import Reply, Request


def enroll(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
    """Write the identity and pin the trust root; a root that is pinned already stays and must be the same one."""
    wanted = identity.check(request["identity"])
    offered = trust.pinned(request["trust_root"])
    before = durable.read_json(layout.file("identity.json"))
    path, pinned = layout.file("trust", "root.json"), None
    if os.path.exists(path):
        with open(path, encoding="utf-8") as handle:
            pinned = trust.pinned(handle.read())
        if pinned["version"] == offered["version"] and trust.canonical(pinned) != trust.canonical(offered):
            message = "this device trusts another root of version %d; remove %s there to enroll it anew"
            raise OtaError("TRUST_ROOT", message % (pinned["version"], os.path.dirname(path)))
    more = enrolment.changes(layout, request)
    changed = before != wanted or pinned is None or any(one.changed for one in more)
    if changed and not request.get("check"):
        layout.prepare()
        with lock.hold(layout, wait=30):
            durable.write_json(layout.file("identity.json"), wanted)
            if pinned is None:
                durable.write(path, request["trust_root"].encode())
                durable.write_json(layout.file("trust", "floor.json"), {"time": int(time.time())})
            for one in more:
                one.apply()
    reply = {"changed": changed, "before": before, "after": wanted, "root_version": (pinned or offered)["version"]}
    return enrolment.described(reply, more)


def stage(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
    """Say what is missing, take a pushed piece, or pull."""
    layout.prepare()
    files = list(request.get("files") or [])
    changed = False
    if "put" in request:
        fetch.put(layout, request["put"], stream)
        files, changed = files or [request["put"]], True
    if request.get("pull") and not request.get("check"):
        for entry in fetch.missing(layout, files):
            fetch.pull(layout, entry, request["pull"].get(entry["sha256"], []))
            changed = True
    return {"changed": changed, "missing": fetch.missing(layout, files)}


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
            made = snapshots.choose(layout, selection, request.get("kind") or "auto")(layout, name, selection)
            disk = os.statvfs(layout.state)
            needed = made.estimate()
            if disk.f_bavail * disk.f_frsize < needed:
                raise OtaError("NO_SPACE", "a snapshot needs %d bytes in %s; make room" % (needed, layout.state))
            made.create()
            made.prove()
            return {"changed": True, "kind": made.kind, "snapshots": snapshots.listing(layout)}
        made = snapshots.load(layout, name)
        if action == "remove":
            made.remove()
            return {"changed": True}
        made.prove()
        if action == "prove":
            return {"changed": False}
        paths = made.restore()
        remaining = made.remaining()
        if remaining:
            raise OtaError(
                "RESTORE", "%d paths are not as in the snapshot: %s" % (len(remaining), ", ".join(remaining[:5]))
            )
        return {"changed": bool(paths), "paths": paths}


def install(layout: Layout, request: Request) -> Reply:
    """Verify and install under one lock, without a transaction: no snapshot, no guard, no health."""
    running = conclude.settle(layout)
    if running is not None and running.is_open:
        raise apply.busy(running)
    offer = apply.examine(layout, request["bundle"], retry_rejected=bool(request.get("retry_rejected")))
    files = apply.release.payload_files(offer.document)
    found = installers.create(layout, offer.document, lambda text: None)
    before = {one.payload["name"]: one.observe() for one in found}
    after = {one.payload["name"]: one.wanted() for one in found}
    changed = before != after
    if changed:
        notnow.ask(layout, None)
    for one in found if changed else []:
        one.ready(repair=bool(request.get("repair")))
    missing = fetch.missing(layout, files) if changed else []
    pull = request.get("pull") or {}
    reply: Reply = {"changed": changed, "diff": {"before": before, "after": after}, "release": offer.release}
    if not changed or request.get("check") or any(entry["sha256"] not in pull for entry in missing):
        return dict(reply, missing=missing)
    for entry in missing:
        fetch.pull(layout, entry, pull[entry["sha256"]])
    folder = layout.file("transactions", "install")
    paths = fetch.take(layout, folder, files)
    for one in found:
        one.files = paths
        if request.get("repair"):
            one.repair()
        one.check()
    for one in found:
        one.install()
    transaction.remove_folder(layout, "install")
    return dict(reply, missing=[])
