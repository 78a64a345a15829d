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

from .. import trust
from ..base.errors import OtaError
from ..base.protocol import Reply, Request
from ..enrolment import identity, parts
from ..system import durable, kept, lock
from ..system.layout import Layout


def enroll(layout: Layout, request: Request, stream: t.IO[bytes]) -> Reply:
    """Write the identity and pin the trust root; a root that is pinned already stays and must be the same one."""
    document = identity.parse(request["identity"])
    offered = trust.pinned(request["trust_root"])
    before = _present(layout)
    path, pinned = layout.file("trust", "root.json"), None
    if os.path.exists(path):
        with open(path, encoding="utf-8") as handle:
            pinned = trust.pinned(handle.read())
        if pinned["version"] == offered["version"] and trust.canonical(pinned) != trust.canonical(offered):
            message = "this device trusts another root of version %d; remove %s there to enroll it anew"
            raise OtaError("TRUST_ROOT", message % (pinned["version"], os.path.dirname(path)))
    more = parts.changes(layout, request)
    changed = before != document or pinned is None or any(one.changed for one in more)
    if changed and not request.get("check"):
        layout.prepare()
        with lock.hold(layout, wait=30):
            identity.store(layout, document)
            if pinned is None:
                durable.write(path, request["trust_root"].encode())
                durable.write_json(layout.file("trust", "floor.json"), {"time": int(time.time())})
            for one in more:
                one.apply()
    shown, after = parts.described(before, document, more)
    return {"changed": changed, "before": shown, "after": after, "root_version": (pinned or offered)["version"]}


def _present(layout: Layout) -> identity.Document | None:
    """The identity that is here; a damaged one is none, for enrolling is what replaces it."""
    try:
        return t.cast("identity.Document | None", kept.read(layout, identity.NAME))
    except OtaError:
        return None
