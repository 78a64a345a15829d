# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""A release that is offered: is it signed, for this device, approved, and newer?"""

from __future__ import annotations

import typing as t

from ..base import longlist, protocol
from ..base.errors import OtaError
from ..documents import approval, release
from ..enrolment import machine, sealed
from ..enrolment.identity import Identity
from ..kinds import payloads
from ..records.installed import Memory
from ..records.transaction import Transaction
from ..system.layout import Layout
from ..trust import Accepted, Trust
from .approvals import Asked, require_approved


class Offer(t.NamedTuple):
    """A release that was verified, is for this device and was approved for it as the fleet's policy asks."""

    accepted: Accepted
    document: release.Document
    identity: Identity
    memory: Memory
    approvals: dict[str, approval.Approved]

    @property
    def release(self) -> protocol.Release:
        """Its name, version, counter and digest."""
        document = self.document
        return {
            "name": document["name"],
            "version": document["version"],
            "counter": document["counter"],
            "digest": self.accepted.digest,
        }


def examine(
    layout: Layout,
    bundle: protocol.Bundle,
    *,
    retry_rejected: bool = False,
    keep: bool = True,
    rollout: str | None = None,
) -> Offer:
    """Verify a bundle and everything about it that needs no payload; OtaError with the reason code otherwise."""
    identity, trust = Identity(layout), Trust(layout)
    machine.require_same(layout)
    accepted = trust.accept(bundle, keep=keep)
    document = release.load(longlist.of_bytes(accepted.content))
    identity.match(document.get("compatible", {}))
    asked, settings = Asked(identity.words, trust.now, rollout), sealed.load(layout)
    required = settings is not None and settings.require_approval
    approvals = require_approved(accepted, _paths(bundle), asked, required=required)
    memory = Memory(layout)
    last = Transaction.load(layout)
    ours = last is not None and last.release["digest"] == accepted.digest
    memory.require_acceptable(document, accepted.digest, retry_rejected, last.reply() if last and ours else None)
    return Offer(accepted, document, identity, memory, approvals)


def _paths(bundle: protocol.Bundle) -> list[str]:
    """The approvals that a bundle names."""
    paths: object = bundle.get("approvals") or []
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise OtaError("METADATA", "the bundle's approvals are not a list of paths")
    return paths


def is_current(layout: Layout, offer: Offer) -> bool:
    """Whether the device confirmed this release, and still shows it."""
    current = offer.memory.of(offer.document["name"])["current"]
    if not current or current["digest"] != offer.accepted.digest:
        return False
    installers = payloads.create(layout, offer.document, lambda text: None)
    return all(installer.observe() == installer.wanted() for installer in installers)


def difference(layout: Layout, offer: Offer) -> protocol.Difference:
    """What ``--diff`` shows: release and payloads before and after."""
    current = offer.memory.of(offer.document["name"])["current"]
    before: dict[str, object] = {"release": "%s %s" % (current["name"], current["version"]) if current else None}
    after: dict[str, object] = {"release": "%s %s" % (offer.document["name"], offer.document["version"])}
    for installer in payloads.create(layout, offer.document, lambda text: None):
        before[installer.payload["name"]] = installer.observe()
        after[installer.payload["name"]] = installer.wanted()
    return {"before": before, "after": after}
