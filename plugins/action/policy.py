# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Publish the fleet's policy."""

from __future__ import annotations

import typing as t

from ..plugin_utils._actions import options
from ..plugin_utils._actions.base import Arguments, Result
from ..plugin_utils._actions.controller import here, request, signing_ring
from ..plugin_utils._actions.repository import REPOSITORY, REPOSITORY_VARIABLES, RepositoryAction
from ..plugin_utils._control.approvals.requests import ApprovalRequests
from ..plugin_utils._control.policy import policy


class ActionModule(RepositoryAction):
    """C(fleet.ota.policy)."""

    argument_spec: t.ClassVar[options.Options] = {
        **REPOSITORY,
        "source": {"type": "path", "required": True},
        **options.SIGNING,
        **options.PROPOSING,
    }
    constraints: t.ClassVar[Arguments] = {"required_one_of": [("keys", "propose")]}
    variables: t.ClassVar[t.Mapping[str, str]] = {
        **REPOSITORY_VARIABLES,
        **options.SIGNING_VARIABLES,
        **options.PROPOSING_VARIABLES,
        "source": "fleet_ota_policy",
    }

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """List the policy in the repository's top-level targets."""
        desk = ApprovalRequests(self.opened())
        content = policy.read(here(arguments["source"]))
        before = policy.lines(desk.policy())
        change = desk.publish(content, signing_ring(arguments), propose=request(arguments), check=self.check)
        after = policy.lines(policy.parse(content))
        return {
            "changed": change.changed,
            "proposal": change.proposal.id if change.proposal else None,
            "summary_lines": after,
            **self.diff(before, after, policy.TARGET),
        }
