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
from ..metadata.store import content_name
from .proposal import Proposal, moment, stamp

try:
    from tuf.api.exceptions import LengthOrHashMismatchError
    from tuf.api.metadata import Metadata, Targets
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
    if wrong:
        names = ", ".join(f"signatures/{name}.json" for name in sorted(wrong))
        reason = f"{names}: not a signature over this metadata; delete the file and have it signed again"
    return dataclasses.replace(raw, state="open" if raw.missing() else "ready", reason=reason)


def _told(session: Session, raw: Proposal, state: State | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the metadata says now and would say, with the documents that it would list."""
    before = [line for name in raw.roles for line in changes.content_lines(name, _signed(state, name))]
    after = [line for name, one in raw.roles.items() for line in changes.content_lines(name, one.signed)]
    if raw.expiry_days:
        periods = session.store.periods()
        before += [f"{name} expires after {days} days" for name, days in sorted(periods.items()) if state]
        after += [f"{name} expires after {days} days" for name, days in sorted({**periods, **raw.expiry_days}.items())]
    for role, path in new_targets(raw.roles, state):
        entry = raw.roles[role].signed.targets[path]
        content = raw.content.get(content_name(path, entry.hashes.get("sha256", "")))
        with contextlib.suppress(LengthOrHashMismatchError, ValueError):
            entry.verify_length_and_hashes(content or b"")
            text = json.dumps(json.loads(content or b""), indent=1, sort_keys=True)  # ASCII: nothing hides in it
            after += [f"{path}: {line}" for line in text.splitlines()]
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


def new_targets(roles: t.Mapping[str, Metadata[t.Any]], state: State | None) -> list[tuple[str, str]]:
    """Role and path of what is listed anew or with other content."""
    new = []
    for name, metadata in roles.items():
        if isinstance(metadata.signed, Targets):
            old = getattr(_signed(state, name), "targets", {})
            new += [(name, path) for path, entry in metadata.signed.targets.items() if old.get(path) != entry]
    return new


def _metadata(state: State | None, name: str) -> Metadata[t.Any] | None:
    if state is None:
        return None
    every: dict[str, Metadata[t.Any]] = {store.ROOT: state.roots[-1], store.TARGETS: state.targets, **state.channels}
    return every.get(name)


def _signed(state: State | None, name: str) -> t.Any:
    metadata = _metadata(state, name)
    return metadata.signed if metadata else None


def _stale(proposal: Proposal, state: State | None) -> str:
    for name, metadata in proposal.roles.items():
        current = _signed(state, name)
        version = current.version if current else 0
        if metadata.signed.version != version + 1:
            return f"{name} is at version {version} since; propose the change again"
    return ""


def _ended(proposal: Proposal) -> str:
    for remark in proposal.remarks:
        if remark.action == proposal.closed:
            by = remark.by or "an unknown user"
            return f"{remark.action} by {by} at {remark.at}: {remark.text or 'without a remark'}"
    return ""
