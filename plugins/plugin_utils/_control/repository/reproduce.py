# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.
"""A release derived again from its inputs, before anybody signs it: is what would be signed what was built here?

Whoever signs on their own machine builds or fetches the payloads themselves and compares (in-toto's idea of an
independent rebuilder, reproducible-builds.org).
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import typing as t

from ..base.errors import RepositoryError
from . import source
from .metadata.releases import target_of
from .metadata.session import Session
from .metadata.store import content_name
from .proposals.proposals import Proposals


@dataclasses.dataclass(frozen=True)
class Derived:
    """What the inputs give: the release's ``digest``, where it stands (``channel stable`` or a proposal's id), and a
    line for each payload file."""

    digest: str
    where: list[str]
    lines: list[str]


def derive(session: Session, channel: str, document: pathlib.Path) -> Derived:
    """Compare what ``document`` (a release.yml) and the payloads beside it give with what is listed or proposed.

    Every proposal that waits for signatures must be the same to the last byte; so must what is listed already. Raises
    :class:`RepositoryError`: ``RELEASE`` when it stands nowhere, ``HASH_MISMATCH`` naming what differs.
    """
    described, content, payloads = source.read(document)
    digest = source.digest(content)
    target = target_of(channel, described["name"], described["version"])
    documents = dict(_standing(session, channel, target))
    if not documents:
        raise RepositoryError(
            f"{described['name']} {described['version']} is neither listed in channel {channel} nor proposed there; "
            "publish it first",
            code="RELEASE",
        )
    for where, other in documents.items():
        if other != content:
            wrong = _differences(json.loads(content), json.loads(other))
            raise RepositoryError(
                f"{where} holds another {described['name']} {described['version']} than {document} gives: "
                f"{'; '.join(wrong[:5])}; do not sign it before you know why",
                code="HASH_MISMATCH",
                differences=wrong,
            )
    return Derived(
        digest, list(documents), [f"{path.name}: sha256 {sha256}" for sha256, path in sorted(payloads.items())]
    )


def _standing(session: Session, channel: str, target: str) -> t.Iterator[tuple[str, bytes]]:
    """Where the target stands, with the document that stands there."""
    state = session.load()
    listed = state.channels[channel].signed.targets.get(target) if channel in state.channels else None
    if listed is not None:
        yield f"channel {channel}", session.store.content(target, listed)
    for proposal in Proposals(session).list():
        entry = proposal.roles[channel].signed.targets.get(target) if channel in proposal.roles else None
        if entry is not None and entry != listed and proposal.state in ("open", "ready"):
            yield proposal.id, proposal.content[content_name(target, entry.hashes["sha256"])]


def _differences(mine: object, theirs: object, where: str = "") -> list[str]:
    """Each place where two documents differ."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        keys = sorted({*mine, *theirs})
        return [
            line for key in keys for line in _differences(mine.get(key), theirs.get(key), f"{where}.{key}".lstrip("."))
        ]
    if isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        pairs = enumerate(zip(mine, theirs, strict=True))
        return [line for number, (one, other) in pairs for line in _differences(one, other, f"{where}[{number}]")]
    return [] if mine == theirs else [f"{where} is {theirs!r} there and {mine!r} here"]
