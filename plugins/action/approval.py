# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ask for approvals of a rollout, show, sign and deny them."""

from __future__ import annotations

import typing as t

from ..plugin_utils._actions import options
from ..plugin_utils._actions.base import Arguments, Result, named
from ..plugin_utils._actions.controller import key_place, passphrase, signing_ring, user
from ..plugin_utils._actions.repository import REPOSITORY, REPOSITORY_VARIABLES, RepositoryAction
from ..plugin_utils._control.approvals import approval
from ..plugin_utils._control.approvals.approval import Requester
from ..plugin_utils._control.approvals.requests import ApprovalRequests
from ..plugin_utils._control.base.plan import Plan
from ..plugin_utils._control.keys.ring import public


class ActionModule(RepositoryAction):
    """C(fleet.ota.approval)."""

    argument_spec: t.ClassVar[options.Options] = {
        "state": {"type": "str", "choices": ["shown", "requested", "signed", "denied", "revoked"], "default": "shown"},
        **REPOSITORY,
        "plan": {"type": "dict"},
        "roles": {"type": "list", "elements": "str"},
        "wave": {"type": "str"},
        "requested_by": {"type": "str"},
        "requested_by_key": {"type": "str", "no_log": False},
        "hours": {"type": "float", "default": float(approval.HOURS)},
        "proposals": {"type": "list", "elements": "str"},
        "rollout": {"type": "str"},
        "remark": {"type": "str"},
        "by": {"type": "str"},
        **options.SIGNING,
    }
    constraints: t.ClassVar[Arguments] = {
        "required_if": [
            ("state", "requested", ("plan", "roles")),
            ("state", "signed", ("proposals", "keys")),
            ("state", "denied", ("proposals", "by", "remark")),
            ("state", "revoked", ("rollout", "keys", "remark")),
        ]
    }
    variables: t.ClassVar[t.Mapping[str, str]] = {
        **REPOSITORY_VARIABLES,
        **named("requested_by", "requested_by_key", "remark"),
        **options.SIGNING_VARIABLES,
        "hours": "fleet_ota_approval_hours",
    }

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """Bring the approvals to the wanted state."""
        desk = ApprovalRequests(self.opened())
        if arguments["state"] == "requested":
            cases = desk.request(
                Plan.of(arguments["plan"]),
                arguments["roles"],
                self._requester(arguments),
                hours=arguments["hours"],
                wave=arguments["wave"],
                check=self.check,
            )
            return _told(cases, changed=bool(cases))
        if arguments["state"] == "revoked":
            cases = desk.revoke(
                arguments["rollout"], self._requester(arguments), signing_ring(arguments), check=self.check
            )
            return _told(cases, changed=True)
        cases = desk.cases(arguments["proposals"] or (), arguments["rollout"])
        if arguments["state"] == "denied":
            by, remark = arguments["by"], arguments["remark"]
            return _told([desk.deny(case, by, remark, check=self.check) for case in cases], changed=bool(cases))
        if arguments["state"] == "signed":
            ring = signing_ring(arguments)
            mine = [case for case in cases if desk.is_for(case, ring)]
            # where none is theirs, signing says which keys may
            done = [desk.sign(case, ring, arguments["remark"] or "", check=self.check) for case in mine or cases]
            changed = any(changed for _case, changed in done)
            signed = [case for case, _changed in done]
            others = [f"left to others: {case.proposal}" for case in cases if case not in (mine or cases)]
            return _told(signed, changed=changed, more=others)
        return _told(cases, changed=False, more=[f"cannot be signed: {line}" for line in desk.unusable()])

    def _requester(self, arguments: Arguments) -> Requester:
        key = arguments["requested_by_key"]
        keyid = public(key_place(key), passphrase(arguments)).keyid if key else None
        return Requester(arguments["requested_by"] or user(), keyid, arguments["remark"])


def _told(cases: t.Sequence[t.Any], *, changed: bool, more: t.Sequence[str] = ()) -> Result:
    return {
        "changed": changed,
        "approvals": [case.as_dict() for case in cases],
        "ids": [case.proposal.id for case in cases],
        "summary_lines": [*(line for case in cases for line in (str(case.proposal), *case.lines)), *more],
    }
