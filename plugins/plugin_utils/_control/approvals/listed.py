# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Approvals as verified metadata list them, with the people whose signatures they have."""

from __future__ import annotations

import typing as t

from ....module_utils._device.documents import approval, approved
from ..base import libraries
from .approval import Approved

try:
    from tuf.api.metadata import Metadata, Targets
except ImportError:  # libraries.require() tells
    pass


def read(targets: str, roles: t.Mapping[str, str], contents: t.Mapping[str, str]) -> list[Approved]:
    """The approvals in ``contents`` (by TUF path) that a role of this name lists itself.

    ``targets`` and ``roles`` are the texts of verified metadata. An approval that its own role does not list is none.
    """
    libraries.require()
    delegator = Metadata[Targets].from_bytes(targets.encode()).signed if contents else None
    found = []
    for path, content in contents.items():
        role = path.partition("/")[0]
        if delegator is not None and role in roles:
            one = of(delegator, role, Metadata[Targets].from_bytes(roles[role].encode()), path, content.encode())
            if one is not None:
                found.append(Approved(one, approval.parse(one.content)))
    return found


def of(delegator: Targets, role: str, metadata: Metadata[Targets], path: str, content: bytes) -> approved.Listed | None:
    """``content`` as the verified ``metadata`` of ``role`` list it; None if they do not."""
    entry = metadata.signed.targets.get(path)
    if entry is None:
        return None
    result = delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
    # one key under two ids signs once, as on devices
    people = {str(key.keyval): keyid for keyid, key in reversed(list(result.signed.items()))}
    return approved.Listed(path, role, content, result.threshold, tuple(people.values()), entry.custom or {})
