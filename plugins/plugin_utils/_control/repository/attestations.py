# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Statements about a release as targets beside it (docs/reference/approval.md)."""

from __future__ import annotations

import typing as t

from ..policy import attestations
from ..policy.attestations import Attachment
from .metadata import store
from .metadata.store import content_name

try:
    from tuf.api.metadata import TargetFile
except ImportError:  # libraries.require() tells
    pass

if t.TYPE_CHECKING:
    from .metadata.releases import Listed
    from .metadata.store import State, Store


def together(disk: Store, state: State, wanted: Listed, more: t.Iterable[Attachment]) -> list[Attachment]:
    """What any channel lists about the release already, and ``more``; each once."""
    attachments: dict[str, Attachment] = {}
    for name, metadata in state.channels.items():
        for path, entry in () if store.is_approvals(name) else metadata.signed.targets.items():
            if (entry.custom or {}).get("release") == wanted.digest:
                one = attestations.parse(disk.content(path, entry), path)
                attachments[one.sha256] = one
    attachments.update((one.sha256, one) for one in more)
    return [attachments[sha256] for sha256 in sorted(attachments)]


def entries(wanted: Listed, attached: t.Iterable[Attachment]) -> tuple[dict[str, TargetFile], dict[str, bytes]]:
    """The targets to list in the release's channel, and their content by name below the repository."""
    targets: dict[str, TargetFile] = {}
    contents: dict[str, bytes] = {}
    for one in attached:
        path = f"{wanted.target.removesuffix('.json')}.{one.sha256[:16]}.intoto.json"
        custom = {"release": wanted.digest, "predicate": one.predicate}
        targets[path] = TargetFile(len(one.content), {"sha256": one.sha256}, path, {"custom": custom})
        contents[content_name(path, one.sha256)] = one.content
    return targets, contents
