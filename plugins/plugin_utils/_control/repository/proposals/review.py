# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What a proposal is worth now: which of its signatures count, and whether it can still take effect."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import typing as t

from ...keys.ring import Ring
from ..metadata import changes, store
from ..metadata.edit import Edit
from ..metadata.session import Session
from .kinds import beyond, content_of, new_targets, strictly
from .proposal import Proposal, moment, stamp

try:
    from tuf.api.metadata import Metadata
    from tuf.api.serialization import DeserializationError
except ImportError:  # libraries.require() tells
    pass

if t.TYPE_CHECKING:
    from ..metadata.store import State


def judge(session: Session, raw: Proposal, state: State | None) -> Proposal:
    """``raw`` with its state, and with those signatures alone that count."""
    wrong: set[str] = set()
    before, after = _told(session, raw, state)
    raw = dataclasses.replace(raw, before=before, after=after, roles=copy.deepcopy(raw.roles))
    if raw.closed in ("denied", "withdrawn"):
        return dataclasses.replace(raw, state=raw.closed, reason=_ended(raw))
    if _in_force(session, raw, state):
        return dataclasses.replace(raw, state="applied", reason="it is in force")
    edit = edit_of(session, state, raw, Ring({}))
    reason = _stale(raw, state)
    try:
        for role, metadata in raw.roles.items():
            good, keyids = edit.verified(role, metadata)
            wrong |= {f"{role}.{keyid}" for keyid in set(metadata.signatures).intersection(keyids) - good}
            for keyid in set(metadata.signatures) - good:
                del metadata.signatures[keyid]
        needs = tuple(edit.needs())
    except ValueError as error:
        reason, needs = reason or f"no key is trusted for it ({error}); propose the change again", ()
    others = {need.role for need in needs} - set(raw.roles)
    if others and not reason:
        reason = f"{', '.join(sorted(others))} must be signed with it now; propose the change again"
    raw = dataclasses.replace(raw, needs=tuple(need for need in needs if need.role in raw.roles))
    if reason:
        return dataclasses.replace(raw, state="stale", reason=reason)
    ends = [moment(raw.expires), *(metadata.signed.expires for metadata in raw.roles.values())]
    if min(ends) <= session.now:
        reason = f"it expired at {stamp(min(ends))}; propose the change again"
        return dataclasses.replace(raw, state="expired", reason=reason)
    unexplained = beyond(session, raw, state)
    if unexplained:
        reason = f"it holds what a {raw.kind} may not hold, do not sign it: {'; '.join(unexplained)}"
        return dataclasses.replace(raw, state="refused", reason=reason)
    if wrong:
        names = ", ".join(f"signatures/{name}.json" for name in sorted(wrong))
        reason = f"{names}: not a signature over this metadata; delete the file and have it signed again"
    return dataclasses.replace(raw, state="open" if raw.missing() else "ready", reason=reason)


def _told(session: Session, raw: Proposal, state: State | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the metadata says now and would say, with the documents that it would list."""
    before = [line for name in raw.roles for line in changes.content_lines(name, _bytes(state, name))]
    after = [line for name, one in raw.roles.items() for line in changes.content_lines(name, one.signed_bytes)]
    if raw.expiry_days:
        periods = session.store.periods()
        before += [f"{name} expires after {days} days" for name, days in sorted(periods.items()) if state]
        after += [f"{name} expires after {days} days" for name, days in sorted({**periods, **raw.expiry_days}.items())]
    for role, path in new_targets(raw, state):
        content = content_of(raw, role, path)
        if content is not None:
            try:
                told = json.dumps(json.loads(strictly(content)), indent=1, sort_keys=True)  # ASCII: nothing hides in it
            except (ValueError, RecursionError):
                told = ascii(content)
            name = path if path.isascii() and path.isprintable() else ascii(path)
            after += [f"{name}: {line}" for line in told.splitlines()]
    return tuple(before), tuple(after)


def _in_force(session: Session, proposal: Proposal, state: State | None) -> bool:
    """Whether the repository's metadata is, or was, exactly what was proposed."""
    if state is None:
        return False
    if proposal.closed == "applied":
        return True
    for name, metadata in proposal.roles.items():
        current = _metadata(state, name)
        if current is None or current.signed.version < metadata.signed.version:
            return False
        if current.signed.version > metadata.signed.version:
            current = None
            path = session.store.directory / "metadata" / f"{metadata.signed.version}.{name}.json"
            with contextlib.suppress(OSError, DeserializationError):
                current = Metadata.from_bytes(path.read_bytes())
        if current is None or current.signed_bytes != metadata.signed_bytes:
            return False
    return True


def edit_of(session: Session, state: State | None, proposal: Proposal, ring: Ring) -> Edit:
    """The change that ``proposal`` makes of ``state``, to be finished with the keys in ``ring``."""
    edit = session.edit(state, ring, {**session.store.periods(), **(proposal.expiry_days or {})})
    edit.adopt(proposal.roles)
    return edit


def _metadata(state: State | None, name: str) -> Metadata[t.Any] | None:
    if state is None:
        return None
    every: dict[str, Metadata[t.Any]] = {store.ROOT: state.roots[-1], store.TARGETS: state.targets, **state.channels}
    return every.get(name)


def _bytes(state: State | None, name: str) -> bytes | None:
    metadata = _metadata(state, name)
    return metadata.signed_bytes if metadata else None


def _stale(proposal: Proposal, state: State | None) -> str:
    for name, metadata in proposal.roles.items():
        current = _metadata(state, name)
        version = current.signed.version if current else 0
        if metadata.signed.version != version + 1:
            return f"{name} is at version {version} since; propose the change again"
    return ""


def _ended(proposal: Proposal) -> str:
    for remark in proposal.remarks:
        if remark.action == proposal.closed:
            by = remark.by or "an unknown user"
            return f"{remark.action} by {by} at {remark.at}: {remark.text or 'without a remark'}"
    return ""
