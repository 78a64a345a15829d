# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""A release that is offered: is it signed, for this device, approved, and newer?"""

from __future__ import annotations

import typing as t

from ..base.errors import OtaError
from ..base.protocol import Request
from ..documents import release
from ..enrolment import machine, sealed
from ..enrolment.identity import Identity
from ..kinds import payloads
from ..records.installed import Memory
from ..records.transaction import Transaction
from ..system.layout import Layout
from ..trust import Accepted, Trust
from .approvals import Asked, check


class Offer(t.NamedTuple):
    """A release that was verified, is for this device and was approved for it as the fleet's policy asks."""

    accepted: Accepted
    document: release.Document
    identity: Identity
    memory: Memory
    approvals: dict[str, t.Any]

    @property
    def release(self) -> dict[str, t.Any]:
        """``{name, version, counter, digest}``."""
        return {**{key: self.document[key] for key in ("name", "version", "counter")}, "digest": self.accepted.digest}


def examine(
    layout: Layout, bundle: Request, *, retry_rejected: bool = False, keep: bool = True, rollout: str | None = None
) -> Offer:
    """Verify a bundle and everything about it that needs no payload; OtaError with the reason code otherwise."""
    identity, trust = Identity(layout), Trust(layout)
    machine.check(layout)
    accepted = trust.accept(bundle, keep=keep)
    document = release.parse(accepted.content)
    identity.match(document.get("compatible", {}))
    asked, settings = Asked(identity.words, trust.now, rollout), sealed.load(layout)
    required = settings is not None and settings.require_approval
    approvals = check(accepted, _paths(bundle), asked, required=required)
    memory = Memory(layout)
    last = Transaction.load(layout)
    ours = last is not None and last.release["digest"] == accepted.digest
    memory.check(document, accepted.digest, retry_rejected, last.reply() if last and ours else None)
    return Offer(accepted, document, identity, memory, approvals)


def _paths(bundle: Request) -> list[str]:
    """The approvals that a bundle names."""
    found = bundle.get("approvals") or []
    if not isinstance(found, list) or not all(isinstance(path, str) for path in found):
        raise OtaError("METADATA", "the bundle's approvals are not a list of paths")
    return found


def is_current(layout: Layout, offer: Offer) -> bool:
    """Whether the device confirmed this release, and still shows it."""
    current = offer.memory.of(offer.document["name"])["current"]
    if not current or current["digest"] != offer.accepted.digest:
        return False
    found = payloads.create(layout, offer.document, lambda text: None)
    return all(installer.observe() == installer.wanted() for installer in found)


def difference(layout: Layout, offer: Offer) -> dict[str, t.Any]:
    """What ``--diff`` shows: release and payloads before and after."""
    current = offer.memory.of(offer.document["name"])["current"]
    before: dict[str, t.Any] = {"release": "%s %s" % (current["name"], current["version"]) if current else None}
    after: dict[str, t.Any] = {"release": "%s %s" % (offer.document["name"], offer.document["version"])}
    for installer in payloads.create(layout, offer.document, lambda text: None):
        before[installer.payload["name"]] = installer.observe()
        after[installer.payload["name"]] = installer.wanted()
    return {"before": before, "after": after}
