# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.
"""Whether a device could take a release, from what it says of itself; the device decides again when it is asked."""

from __future__ import annotations

import typing as t

from ...module_utils._device import release

Document = t.Mapping[str, t.Any]


def unfit(
    document: Document,
    digest: str,
    infos: t.Mapping[str, t.Any],
    hosts: t.Sequence[str],
    *,
    retry_rejected: bool = False,
) -> dict[str, str]:
    """Those of ``hosts`` that would refuse the release, each with the reason.

    ``infos`` maps hosts to what fleet.ota.info returned; of a host that is not in it, or that gave no answer, nothing
    is said. The rules are the device's own: its identity against ``compatible``, its confirmed release against
    ``from``, and, unless ``retry_rejected``, what failed there before.
    """
    found = {}
    for name in hosts:
        info = infos.get(name)
        if not isinstance(info, t.Mapping) or "releases" not in info:
            continue
        reason = _reason(document, digest, info, retry_rejected)
        if reason:
            found[name] = reason
    return found


def stands_before(document: Document, digest: str, info: t.Any) -> bool:
    """Whether a device would take the release but for what it runs now: its way there is :mod:`paths`'s subject."""
    if not isinstance(info, t.Mapping) or "releases" not in info or _basic(document, info):
        return False
    known = _known(document, info)
    current = known.get("current")
    if (current and current.get("digest") == digest) or (known.get("counter") or 0) > document["counter"]:
        return False
    return release.obstacle(dict(document), current) is not None


def words(identity: Document) -> dict[str, str]:
    """What ``compatible`` is compared with; labels never hide the fixed ones."""
    fixed = {key: str(identity.get(key, "")) for key in ("name", "hardware", "site")}
    return {**(identity.get("labels") or {}), **fixed}


def _known(document: Document, info: Document) -> Document:
    return t.cast(Document, info["releases"].get(document["name"]) or {})


def _basic(document: Document, info: Document) -> str | None:
    """What keeps the device from the release whichever way it comes."""
    identity = info.get("identity")
    if not info.get("enrolled") or not identity:
        return "is not enrolled"
    own = words(identity)
    for key, allowed in sorted(document.get("compatible", {}).items()):
        if own.get(key) not in allowed:
            wanted = " or ".join(allowed)
            return f"is incompatible: the release is for {key} {wanted}, this is {own.get(key) or 'without one'}"
    return None


def _reason(document: Document, digest: str, info: Document, retry_rejected: bool) -> str | None:
    basic = _basic(document, info)
    if basic:
        return basic
    known = _known(document, info)
    current = known.get("current")
    if current and current.get("digest") == digest:
        return None  # there already: it is part of the plan and comes out as current
    if known.get("counter") is not None and known["counter"] > document["counter"]:
        return f"has confirmed counter {known['counter']}, newer than {document['counter']}"
    obstacle = release.obstacle(dict(document), current)
    if obstacle:
        return f"cannot take it directly: {obstacle}"
    if not retry_rejected and digest in (info.get("rejected") or {}):
        return "has rejected this release before"
    return None
