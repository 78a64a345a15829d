# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The base of all action plugins: arguments, the variables that stand for them, and what Ansible shows of them."""

from __future__ import annotations

import contextlib
import json
import re
import typing as t

from ansible.errors import AnsibleActionFail, AnsibleError, AnsibleValueOmittedError
from ansible.plugins.action import ActionBase

from .._control.base.urls import hidden, host_of
from . import chosen, known

Arguments = dict[str, t.Any]
Result = dict[str, t.Any]
#: Options by name, as Ansible's validator takes them.
Options = dict[str, dict[str, t.Any]]

#: Variables of which C(false) says "none", as an empty text does: playbooks read them so.
_NONE = frozenset(
    f"fleet_ota_{name}"
    for name in ("workers", "worker_files", "approved_wave", "until_wave", "open_wave", "plan_digest")
)


class Action(ActionBase):
    """An action with validated arguments.

    A subclass has ``argument_spec``, further ``constraints`` of Ansible's validator, and ``variables``: which variable
    of the host is read for an option that the task does not give. It does its work in :meth:`perform`.
    """

    TRANSFERS_FILES = False
    _supports_check_mode = True

    argument_spec: t.ClassVar[Options] = {}
    constraints: t.ClassVar[Arguments] = {}
    variables: t.ClassVar[t.Mapping[str, str]] = {}
    #: The task follows a plan, which has looked at the variables of all devices. Tasks of a team may have set facts
    #: since.
    within_rollout: t.ClassVar[bool] = False

    arguments: Arguments
    #: what the task says itself, before variables are asked
    given: Arguments
    task_vars: Arguments

    def run(self, tmp: str | None = None, task_vars: Arguments | None = None) -> Result:
        """Validate the arguments and do the work; the task's result."""
        result: Result = super().run(tmp, task_vars)
        self.task_vars = task_vars or {}
        if not hasattr(self, "given"):  # a retried task runs this again
            # null means "not given", also to what the validator requires
            self.given = {key: value for key, value in self._task.args.items() if value is not None}
        given = self.given
        self._task.args = {**self.defaults(given), **given}
        self.arguments = plain(self._validated())
        if not chosen.is_chosen(self._task.tags, self.task_vars):
            return {**result, "skipped": True, "skip_reason": "tags choose other tasks"}
        if self.begins():
            known.require({str(self.task_vars.get("inventory_hostname", "the play")): self.task_vars})
        self._task.args = hidden(self._task.args)
        if self.arguments.get("notify"):
            self._task.args["notify"] = hidden(self.arguments["notify"], host_of)
        result.update(self.attempt())
        return result

    def _validated(self) -> Arguments:
        """The arguments as Ansible's validator returns them; its complaint about absent ones names their variables."""
        try:
            return t.cast(
                Arguments, self.validate_argument_spec(argument_spec=self.argument_spec, **self.constraints)[1]
            )
        except AnsibleError as error:
            told = set(re.findall(r"\w+", str(error).partition(": ")[2]))
            absent = [
                name for option, name in self.variables.items() if option in told and option not in self._task.args
            ]
            if not absent:
                raise
            raise AnsibleActionFail(f"{error}; set {', '.join(absent)}") from None

    def begins(self) -> bool:
        """Whether nothing has begun before this task: then a variable that nothing reads is refused."""
        return not self.within_rollout

    def attempt(self) -> Result:
        """:meth:`perform`, with its errors as Ansible shows them."""
        raise NotImplementedError

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """Do the work of the task whose validated ``arguments`` these are, and return its result."""
        raise NotImplementedError

    def defaults(self, given: Arguments) -> Arguments:
        """What the host's variables say of options that are not ``given``."""
        wanted = {option: name for option, name in self.variables.items() if option not in given}
        values = {option: self.value(option, name) for option, name in wanted.items() if name in self.task_vars}
        return {option: value for option, value in values.items() if value is not None}

    def value(self, option: str, name: str) -> t.Any:
        """:meth:`variable` for an option: a list or mapping may come as a text in JSON, as surveys send it."""
        value = self.variable(name)
        if self.argument_spec[option]["type"] in ("list", "dict") and isinstance(value, str):
            if value.lstrip()[:1] in ("[", "{"):
                with contextlib.suppress(ValueError):  # what cannot be read is left to the validator
                    return json.loads(value)
        return value

    def variable(self, name: str) -> t.Any:
        """The value of a variable of the task; None for one that is not set, empty or C(omit)."""
        value = self.task_vars.get(name)
        if isinstance(value, (str, list, dict)):
            try:
                value = plain(self._templar.template(value))
            except AnsibleValueOmittedError:
                return None
        return None if value == "" or (name in _NONE and not value) else value

    @property
    def check(self) -> bool:
        """Whether nothing may be changed."""
        return bool(self._task.check_mode)


def named(*options: str) -> dict[str, str]:
    """For :attr:`Action.variables`: each option with the variable C(fleet_ota_OPTION)."""
    return {option: f"fleet_ota_{option}" for option in options}


def plain(value: t.Any) -> t.Any:
    """``value`` from built-in types only: without Ansible's tags and lazy containers, ready for JSON and hashing."""
    if isinstance(value, t.Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    for kind in (bool, int, float, str):  # bool before int: it is one
        if isinstance(value, kind):
            return value if kind is bool else kind(value)
    return value
