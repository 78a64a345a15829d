# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write a plan as a workflow of AWX."""

from __future__ import annotations

import typing as t

from ansible.parsing.vault import EncryptedString
from ansible.utils.vars import load_extra_vars

from ..plugin_utils._actions.base import Arguments, Options, Result, plain
from ..plugin_utils._actions.controller import ControllerAction, forks, here
from ..plugin_utils._control.base import files
from ..plugin_utils._control.base.errors import PlanError
from ..plugin_utils._control.base.plan import Plan
from ..plugin_utils._control.integrations.awx import variables, workflow


class ActionModule(ControllerAction):
    """C(fleet.ota.awx)."""

    argument_spec: t.ClassVar[Options] = {
        "plan": {"type": "dict", "required": True},
        "dest": {"type": "path"},
        "organization": {"type": "str", "required": True},
        "project": {"type": "str", "required": True},
        "inventory": {"type": "str", "required": True},
        "variables": {"type": "dict", "required": True},
        "extra_variables": {"type": "bool", "default": False},
        "execution_environment": {"type": "str"},
        "credentials": {"type": "list", "elements": "str", "default": []},
        "schedule": {"type": "str"},
        "prefix": {"type": "str", "default": "fleet.ota"},
        "approval_timeout": {"type": "int", "default": 0},
        "plan_playbook": {"type": "str", "default": "fleet.ota.plan"},
        "rollout_playbook": {"type": "str", "default": "fleet.ota.rollout"},
        "slices": {"type": "int", "default": 1},
        "join_playbook": {"type": "str", "default": "fleet.ota.join"},
        "become": {"type": "bool"},
        "forks": {"type": "int"},
    }

    variables: t.ClassVar[t.Mapping[str, str]] = {
        option: f"fleet_ota_awx_{option}"
        for option in argument_spec
        if option not in ("plan", "variables", "extra_variables")
    }

    def defaults(self, given: Arguments) -> Arguments:
        """What variables say; the jobs become root and work on as many devices as the run that exports them."""
        values = {"become": self._task.become or None, "forks": forks(self.task_vars), **super().defaults(given)}
        return {option: value for option, value in values.items() if value is not None and option not in given}

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """Make the tasks, and bring the file to them."""
        plan, place = Plan.of(arguments.pop("plan")), arguments.pop("dest")
        if arguments.pop("extra_variables"):
            arguments["variables"] = {**self._extra(), **arguments["variables"]}
        limit = plain(task_vars.get("ansible_limit"))
        tasks = workflow.tasks(plan, workflow.Settings(**arguments, limit=limit))
        content = workflow.render(plan, tasks)
        result: Result = {"changed": False, "tasks": tasks, "content": content, "dest": None}
        if place is None:
            return result
        path = here(place)
        before = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        changed = before != content
        if changed and not self.check:
            files.make_directory(path.parent)
            files.write(path, content.encode())
        diff = self.diff(before.splitlines(), content.splitlines(), str(path))
        return {**result, "changed": changed, "dest": str(path), **diff}

    def _extra(self) -> dict[str, t.Any]:
        """The extra variables of this run that a rollout needs, as they were given: a template stays one."""
        given = variables.handed(load_extra_vars(self._loader))
        secret = sorted(name for name, value in given.items() if _encrypted(value))
        if secret:
            raise PlanError(
                f"{', '.join(secret)}: encrypted, and AWX would show it; keep it in the inventory or in a credential",
                problems=secret,
            )
        return t.cast("dict[str, t.Any]", plain(given))


def _encrypted(value: t.Any) -> bool:
    if isinstance(value, t.Mapping):
        return any(map(_encrypted, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_encrypted, value))
    return isinstance(value, EncryptedString)
