# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sign, apply, deny, withdraw and show changes of a repository that wait for signatures."""

from __future__ import annotations

import typing as t

from ..plugin_utils._actions import options
from ..plugin_utils._actions.base import Arguments, Result, named
from ..plugin_utils._actions.controller import signing_ring, user
from ..plugin_utils._actions.repository import REPOSITORY, REPOSITORY_VARIABLES, RepositoryAction
from ..plugin_utils._control.base import libraries
from ..plugin_utils._control.base.errors import RepositoryError
from ..plugin_utils._control.repository.proposals.proposals import Proposals

if t.TYPE_CHECKING:
    from ..plugin_utils._control.repository.proposals.proposal import Proposal

#: What people look at: also what is not to be signed, and why.
_LOOKED_AT = ("open", "ready", "refused")


class ActionModule(RepositoryAction):
    """C(fleet.ota.proposal)."""

    argument_spec: t.ClassVar[options.Options] = {
        "state": {
            "type": "str",
            "choices": ["signed", "applied", "denied", "withdrawn", "shown"],
            "default": "signed",
        },
        **REPOSITORY,
        "id": {"type": "str"},
        "apply": {"type": "bool", "default": True},
        "remark": {"type": "str", "default": ""},
        "by": {"type": "str"},
        **options.SIGNING,
    }
    constraints: t.ClassVar[Arguments] = {
        "required_if": [
            ("state", "signed", ("id", "keys")),
            ("state", "applied", ("id", "keys")),
            ("state", "denied", ("id",)),
            ("state", "withdrawn", ("id",)),
        ]
    }
    variables: t.ClassVar[t.Mapping[str, str]] = {
        **REPOSITORY_VARIABLES,
        **named("remark"),
        **options.SIGNING_VARIABLES,
    }

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """Bring the proposal to the wanted state."""
        libraries.require()
        proposals = Proposals(self.opened())
        if arguments["state"] == "shown":
            return self._show(proposals, arguments["id"])
        before = proposals.get(arguments["id"])
        changed, after = getattr(self, f"_{arguments['state']}")(proposals, before, arguments)
        return {
            "changed": changed,
            "proposal": after.as_dict(),
            "content": list(before.after),
            # what the signature covers, from the metadata itself
            **self.diff(before.before, before.after, before.id),
        }

    def _show(self, proposals: Proposals, wanted: str | None) -> Result:
        listed = [proposals.get(wanted)] if wanted else proposals.list()
        waiting = [one for one in listed if wanted or one.state in _LOOKED_AT]
        before = [line for one in waiting for line in one.before]
        after = [line for one in waiting for line in one.after]
        return {
            "changed": False,
            "proposals": [one.as_dict() for one in listed],
            "content": {one.id: [line for line in one.after if line not in one.before] for one in waiting},
            "removed": {one.id: [line for line in one.before if line not in one.after] for one in waiting},
            "lines": [str(one) for one in listed],
            **self.diff(before, after, wanted or "proposals"),
        }

    def _signed(self, proposals: Proposals, before: Proposal, arguments: Arguments) -> tuple[bool, Proposal]:
        if before.state == "applied":
            return False, before
        ring = signing_ring(arguments)
        after = proposals.sign(before.id, ring, arguments["remark"], check=self.check)
        changed = after.signatures() != before.signatures()
        if arguments["apply"] and after.state == "ready" and proposals.online(after, ring):
            if not self.check:
                proposals.apply(after.id, ring)
                after = proposals.get(after.id)
            changed = True
        return changed, after

    def _applied(self, proposals: Proposals, before: Proposal, arguments: Arguments) -> tuple[bool, Proposal]:
        change = proposals.apply(before.id, signing_ring(arguments), check=self.check)
        return change.changed, before if self.check else proposals.get(before.id)

    def _denied(self, proposals: Proposals, before: Proposal, arguments: Arguments) -> tuple[bool, Proposal]:
        if not arguments["remark"]:
            raise RepositoryError(f"say in remark why {before.id} is denied: the others read it", code="PROPOSAL")
        after = proposals.deny(before.id, _by(arguments), arguments["remark"], check=self.check)
        return after.state != before.state, after

    def _withdrawn(self, proposals: Proposals, before: Proposal, arguments: Arguments) -> tuple[bool, Proposal]:
        after = proposals.withdraw(before.id, _by(arguments), arguments["remark"], check=self.check)
        return after.state != before.state, after


def _by(arguments: Arguments) -> str:
    return str(arguments["by"] or user())
