# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.
"""Whether a device could take a release, from what it says of itself; the device decides again when it is asked."""

from __future__ import annotations

import typing as t

from ....module_utils._device.documents import release

Document = t.Mapping[str, t.Any]


def unfit(
    document: Document,
    digest: str,
    infos: t.Mapping[str, object],
    hosts: t.Sequence[str],
    *,
    retry_rejected: bool = False,
) -> dict[str, str]:
    """Those of ``hosts`` that would refuse the release, each with the reason.

    ``infos`` maps hosts to what fleet.ota.info returned; of a host that is not in it, or that gave no answer, nothing
    is said. The rules are the device's own: its identity against ``compatible``, its confirmed release against
    ``from``, and, unless ``retry_rejected``, what failed there before.
    """
    reasons = {}
    for name in hosts:
        reason, _before = _judged(document, digest, infos.get(name), retry_rejected)
        if reason:
            reasons[name] = reason
    return reasons


def stands_before(document: Document, digest: str, info: object) -> bool:
    """Whether a device would take the release but for what it runs now: its way there is :mod:`paths`'s subject."""
    _reason, before = _judged(document, digest, info, retry_rejected=False)
    return before


def words(identity: Document) -> dict[str, str]:
    """What ``compatible`` is compared with; labels never hide the fixed ones."""
    fixed = {key: str(identity.get(key, "")) for key in ("name", "hardware", "site")}
    return {**(identity.get("labels") or {}), **fixed}


def _judged(document: Document, digest: str, info: object, retry_rejected: bool) -> tuple[str | None, bool]:
    """Why a device would refuse, None if it would not; True beside it if only ``from`` of the release is in its way."""
    if not isinstance(info, t.Mapping) or "releases" not in info:
        return None, False  # it gave no answer
    identity = info.get("identity")
    if not info.get("enrolled") or not identity:
        return "is not enrolled", False
    own = words(identity)
    for key, allowed in sorted(document.get("compatible", {}).items()):
        if own.get(key) not in allowed:
            wanted = " or ".join(allowed)
            return f"is incompatible: the release is for {key} {wanted}, this is {own.get(key) or 'without one'}", False
    confirmed = info["releases"].get(document["name"]) or {}
    current = confirmed.get("current")
    if current and current.get("digest") == digest:
        return None, False  # there already: it is part of the plan and comes out as current
    if confirmed.get("counter") is not None and confirmed["counter"] > document["counter"]:
        return f"has confirmed counter {confirmed['counter']}, newer than {document['counter']}", False
    obstacle = release.obstacle(t.cast(release.Document, document), current)
    if obstacle:
        return f"cannot take it directly: {obstacle}", True
    if not retry_rejected and digest in (info.get("rejected") or {}):
        return "has rejected this release before", False
    return None, False
