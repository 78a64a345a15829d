# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What state a repository is in: who may sign what, who did, what is missing, what expires when."""

from __future__ import annotations

import typing as t

from ..keys.ring import NAME_FIELD, Ring
from .metadata import changes, store
from .metadata.edit import Edit
from .metadata.session import Session
from .proposals.proposals import Proposals

#: Days before an expiry from which on it is warned of, as a share of the role's period.
_SHARE = 4


def show(session: Session) -> dict[str, t.Any]:
    """Everything about it, verified from its trust root, JSON-able; ``lines`` tell it to people.

    Raises :class:`RepositoryError` when it cannot be trusted.
    """
    proposals = Proposals(session).list()
    shown: dict[str, t.Any] = {
        "exists": session.exists,
        "roles": [],
        "releases": [],
        "documents": [],
        "warnings": [],
        "proposals": [proposal.as_dict() for proposal in proposals],
    }
    if session.exists:
        state = session.load()
        edit = session.edit(state, Ring({}))
        shown["roles"] = [_role(edit, name, metadata, session) for name, metadata in changes.all_roles(edit)]
        shown["releases"] = [entry.as_dict() for entry in changes.releases(state)]
        shown["documents"] = [
            path
            for name, metadata in changes.all_roles(edit)
            if name == store.TARGETS or store.is_approvals(name)
            for path in sorted(metadata.signed.targets)
        ]
        shown["warnings"] = [*_expiring(shown["roles"], edit), *changes.single(edit)]
    else:
        shown["warnings"] = [f"{session.store.directory} holds no repository yet"]
    waiting = [proposal for proposal in proposals if proposal.state in ("open", "ready", "refused", "damaged")]
    shown["lines"] = [
        *map(_line, shown["roles"]),
        *(f"proposal {proposal}" for proposal in waiting),
        *(f"warning: {warning}" for warning in shown["warnings"]),
    ]
    return shown


def expiring(session: Session) -> list[str]:
    """For people: which roles end soon, or have ended."""
    edit = session.edit(session.load(), Ring({}))
    return _expiring([_role(edit, name, metadata, session) for name, metadata in changes.all_roles(edit)], edit)


def _role(edit: Edit, name: str, metadata: t.Any, session: Session) -> dict[str, t.Any]:
    signed = metadata.signed
    holder: t.Any = edit.root.signed if name in store.TOP else edit.targets.signed.delegations
    role = edit.role(name)
    keys = []
    for keyid in role.keyids:
        key = holder.keys[keyid]
        holder_name = key.unrecognized_fields.get(NAME_FIELD)
        keys.append({"name": holder_name, "id": keyid, "scheme": key.scheme, "signed": keyid in metadata.signatures})
    return {
        "name": name,
        "kind": "role" if name in store.TOP else "approvals" if store.is_approvals(name) else "channel",
        "version": signed.version,
        "expires": f"{signed.expires:%Y-%m-%dT%H:%M:%SZ}",
        "days_left": (signed.expires - session.now).days,
        "expired": signed.expires <= session.now,
        "threshold": role.threshold,
        "keys": keys,
        "single_key": role.threshold == 1,
    }


def _expiring(roles: list[dict[str, t.Any]], edit: Edit) -> list[str]:
    lines = []
    for role in roles:
        if role["expired"]:
            lines.append(f"{role['name']} expired at {role['expires']}: clients refuse it until it is signed again")
        elif role["days_left"] * _SHARE < edit.period(role["name"]).days:
            lines.append(f"{role['name']} expires in {role['days_left']} days: sign it again (state: refreshed)")
    return lines


def _line(role: dict[str, t.Any]) -> str:
    people = ", ".join(f"{key['name'] or key['id'][:8]}{'*' if key['signed'] else ''}" for key in role["keys"])
    return (
        f"{role['kind']:9} {role['name']:16} v{role['version']:<5} {role['threshold']} of {len(role['keys'])} "
        f"({people})  {'EXPIRED' if role['expired'] else 'expires'} {role['expires'][:10]}"
    )
