# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""How every change of a repository ends: in force at once, or waiting for signatures."""

from __future__ import annotations

import typing as t

from .proposals import Proposals

if t.TYPE_CHECKING:
    from ..metadata.edit import Edit
    from ..metadata.session import Session
    from .proposal import Proposal, Request


def commit_or_propose(
    session: Session,
    edit: Edit,
    content: t.Mapping[str, bytes],
    kind: str,
    propose: Request | None,
    *,
    check: bool,
    expiry_days: t.Mapping[str, int] | None = None,
) -> tuple[bool, Proposal | None]:
    """Put in force what ``edit`` changed, or propose it: whether anything changed, and the proposal if it waits."""
    proposals = Proposals(session)
    at_once = propose is None or not edit.prepare() or (propose.apply and edit.complete())
    if propose is None or (at_once and proposals.waiting(edit, expiry_days) is None):
        staged = edit.finish()
        if staged:
            staged = {**content, **staged}
            session.store.require_accepted(staged, session.trust_root, [path for path in edit.entered if content])
            if not check:
                session.commit(staged)
        return bool(staged), None
    proposal, new = proposals.make(edit, content, propose, kind=kind, expiry_days=expiry_days, check=check)
    if propose.apply and proposal.state == "ready" and edit.online():
        return check or proposals.apply_locked(proposal.id, edit.ring).changed, None
    return new, proposal
