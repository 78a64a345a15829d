# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What verified metadata lists beside a release: the fleet's policy, approvals of its rollouts, statements about it.

Found by what the metadata itself says (``custom``), so that nothing is downloaded that is about other releases.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ....module_utils._device.documents import approval
from ..policy import attestations
from ..policy.attestations import Attachment
from ..policy.policy import TARGET, Policy, parse

if t.TYPE_CHECKING:
    from tuf.api.metadata import TargetFile

    from ..repository.metadata.releases import Listed

    Targets = t.Mapping[str, TargetFile]


@dataclasses.dataclass(frozen=True)
class Related:
    """``approvals`` are their TUF paths, ``documents`` the contents of all of it by path."""

    policy: Policy | None
    approvals: list[str]
    attachments: list[Attachment]
    documents: dict[str, str]


def gather(
    entry: Listed, channel: Targets, roles: t.Mapping[str, Targets], download: t.Callable[[str], bytes | None]
) -> Related:
    """Everything beside the release ``entry``.

    ``channel`` is what its channel lists, ``roles`` what each approval role lists; ``download`` gives the verified
    content of a path, None if verified metadata does not list it. Raises :class:`RepositoryError` for a policy or
    statement that cannot be read; an approval that cannot is left out, because others may do.
    """
    documents: dict[str, str] = {}
    content = download(TARGET)
    rules = None
    if content is not None:
        rules = parse(content)
        documents[TARGET] = content.decode()
    approvals = []
    for targets in roles.values():
        for path in _about(entry, targets):
            content = download(path)
            if content is not None and _is_approval(content):
                approvals.append(path)
                documents[path] = content.decode("ascii")
    attached = []
    for path in _about(entry, channel):
        content = download(path)
        if path != entry.target and content is not None:
            attached.append(attestations.parse(content, path))
    return Related(rules, approvals, attached, documents)


def _about(entry: Listed, targets: Targets) -> list[str]:
    return sorted(path for path, one in targets.items() if (one.custom or {}).get("release") == entry.digest)


def _is_approval(content: bytes) -> bool:
    try:
        approval.parse(content)
    except approval.ApprovalError:
        return False
    return True
