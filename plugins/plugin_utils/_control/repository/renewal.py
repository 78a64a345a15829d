# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Signing metadata again: what is close to its expiry, or all of it after a backup was restored."""

from __future__ import annotations

import typing as t

from .metadata import changes, store
from .proposals.commit import commit_or_propose
from .proposals.proposal import Change, Request

if t.TYPE_CHECKING:
    from ..keys.ring import Ring
    from .metadata.session import Session

_ONLINE = (store.SNAPSHOT, store.TIMESTAMP)


def renew(session: Session, ring: Ring, *, check: bool, propose: Request | None, step: int) -> Change:
    """Sign again what is close to its expiry; with ``step`` everything but root, with versions so much higher."""
    return _raised(session, ring, step, check=check) if step else _renewed(session, ring, check=check, propose=propose)


def _renewed(session: Session, ring: Ring, *, check: bool, propose: Request | None) -> Change:
    state = session.load()
    edit = session.edit(state, ring)
    warnings, lacking = [], []
    for name, metadata in changes.all_roles(edit):
        left = metadata.signed.expires - session.now
        online = name in _ONLINE
        if left * (2 if online else 4) >= edit.period(name):
            continue
        if (edit.can_sign(name) and edit.online()) or (online and not propose):
            edit.touched.add(name)
        elif propose and not online and any(keyid in ring.signers for keyid in edit.keyids(name)):
            lacking.append(name)
        else:
            warnings.append(f"{name} expires on {metadata.signed.expires:%Y-%m-%d} and its keys were not given")
    before = changes.expiry_lines(edit)
    changed, _none = commit_or_propose(session, edit, {}, "renewal", None, check=check)
    after, proposal = changes.expiry_lines(edit), None
    if lacking:
        rest = session.edit(state if check else session.load(), ring, edit.periods)
        rest.touched.update(lacking)
        new, proposal = commit_or_propose(session, rest, {}, "renewal", propose, check=check)
        changed = changed or new
    return Change(changed, before, after, warnings=warnings, proposal=proposal)


def _raised(session: Session, ring: Ring, step: int, *, check: bool) -> Change:
    edit = session.edit(session.load(), ring)
    edit.step = step
    names = [name for name, _metadata in changes.all_roles(edit) if name != store.ROOT]
    lacking = [name for name in names if name not in _ONLINE and not edit.can_sign(name)]
    edit.touched.update(name for name in names if name not in lacking)
    before = changes.expiry_lines(edit)
    changed, _none = commit_or_propose(session, edit, {}, "renewal", None, check=check)
    warnings = [
        f"{name} keeps its version, because its keys were not given: who has seen a later one refuses the repository "
        "until they are"
        for name in lacking
    ]
    return Change(changed, before, changes.expiry_lines(edit), warnings=warnings)
