# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What the action plugins of device modules share: arguments, the device, and errors that name it."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from .._control.base.errors import ControlError
from .._control.base.urls import hidden
from .._control.client.bundle import Bundle
from .._targets.engine.connection import Device, Reply
from .._targets.engine.zipapp import program
from .._targets.errors import DeviceLost, DeviceRefusal
from .._targets.offer import Offer

# Ansible's main process imports an action before it forks the workers that run it. Packed here, the engine is there for
# all of them; packed when it is needed, every task of every device does it again, a tenth of a rollout's CPU.
program()

Result = dict[str, t.Any]
Spec = dict[str, dict[str, t.Any]]

#: Where the device keeps things; the same for every module.
DEVICE: Spec = {
    "root": {"type": "str", "default": "/"},
    "state_dir": {"type": "str", "default": "/var/lib/fleet-ota"},
}
#: Which release; the same for every module that takes one.
RELEASE: Spec = {
    "bundle": {"type": "path"},
    "release": {"type": "str"},
    "channel": {"type": "str"},
    "repository": {"type": "str"},
    "trust_root": {"type": "path"},
    "cache": {"type": "path", "default": "~/.cache/fleet-ota"},
    "tls": {
        "type": "dict",
        "options": {name: {"type": "path", "no_log": False} for name in ("ca", "certificate", "key")},
        "required_together": [["certificate", "key"]],
    },
}
#: How payloads reach a device.
TRANSFER: Spec = {
    "transfer": {"type": "str", "choices": ["push", "pull"], "default": "push"},
    "mirrors": {"type": "list", "elements": "str", "default": []},
    "splay": {"type": "int", "default": 0},
}
RELEASE_RULES: dict[str, t.Any] = {
    "mutually_exclusive": [["bundle", "repository"]],
    "required_together": [["release", "channel", "repository", "trust_root"]],
}


class EngineAction(ActionBase):
    """Base of the actions that call the engine on a device.

    A subclass has ``SPEC`` (and ``RULES`` for :meth:`validate_argument_spec`) and :meth:`work`, which returns the
    task's result and may raise DeviceRefusal, DeviceLost or ControlError.
    """

    TRANSFERS_FILES = False
    _supports_check_mode = True
    SPEC: t.ClassVar[Spec] = {}
    RULES: t.ClassVar[dict[str, t.Any]] = {}

    arguments: dict[str, t.Any]
    device: Device
    task_vars: dict[str, t.Any]

    def run(self, tmp: t.Any = None, task_vars: t.Any = None) -> Result:
        """Validate, work, and turn each kind of failure into a result that names the device."""
        result: Result = super().run(tmp, task_vars)
        self.task_vars = task_vars or {}
        self.host = str(self.task_vars.get("inventory_hostname", "device"))
        self._task.args = self.__dict__.setdefault("_given", self._task.args)  # a retried task runs this again
        _checked, self.arguments = self.validate_argument_spec(argument_spec={**DEVICE, **self.SPEC}, **self.RULES)
        self._task.args = hidden(self._task.args)
        self.check = bool(self._task.check_mode)
        self.device = Device(
            self, root=self.arguments["root"], state_dir=self.arguments["state_dir"], python=self._python()
        )
        try:
            result.update(self.work())
        except DeviceRefusal as error:
            result.update(self.failure(error.code, error.message, outcome=error.outcome, detail=error.detail))
        except ControlError as error:
            code = getattr(error, "code", None) or "RELEASE"
            result.update(self.failure(code, str(error), outcome="refused"))
        except DeviceLost as error:
            raise AnsibleConnectionFailure("%s: no contact: %s" % (self.host, error)) from error
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        if not self._task.diff:
            result.pop("diff", None)
        return result

    def work(self) -> Result:
        """The task itself."""
        raise NotImplementedError

    def failure(self, code: str, message: str, **more: t.Any) -> Result:
        """A failed result: the device, the reason and the next step in one sentence, the code beside it."""
        return dict(failed=True, changed=False, code=code, msg="%s: %s: %s" % (self.host, code, message), **more)

    def bundle(self) -> Bundle:
        """The verified release of the arguments; AnsibleActionFail when none is named."""
        from pathlib import Path

        args = self.arguments
        if args.get("bundle"):
            return Bundle.load(Path(args["bundle"]))
        if not args.get("repository"):
            raise AnsibleActionFail("name the release: bundle, or release, channel, repository and trust_root")
        # This runs in a fork for each device; what verifies a repository takes long to import and few need it here.
        from .._control.client import updater

        return updater.prepare(
            repository=args["repository"],
            trust_root=Path(args["trust_root"]),
            channel=args["channel"],
            release=args["release"],
            cache=Path(args["cache"]),
            tls={name: path for name, path in (args["tls"] or {}).items() if path} or None,
        )

    def offer(self) -> Offer:
        """The release of the arguments with the way its payloads take."""
        args = self.arguments
        return Offer(self.bundle(), args["transfer"], args["mirrors"], host=self.host, splay=args["splay"])

    def call(self, verb: str, **request: t.Any) -> Reply:
        """:meth:`Device.call` with the task's check mode."""
        return self.device.call(verb, check=self.check, **request)

    def _python(self) -> str | None:
        found = self._templar.template(self.task_vars.get("ansible_python_interpreter"))
        return str(found) if found and not str(found).startswith("auto") else None


def shown(diff: t.Mapping[str, t.Any] | None) -> dict[str, t.Any]:
    """A before/after pair in the form that ``--diff`` prints."""
    return {key: _lines(value) for key, value in (diff or {}).items()} if diff else {}


def _lines(value: t.Any, indent: str = "") -> str:
    if not isinstance(value, dict):
        return "%s%s\n" % (indent, value)
    text = ""
    for key in sorted(value):
        entry = value[key]
        text += (
            "%s%s:\n%s" % (indent, key, _lines(entry, indent + "  "))
            if isinstance(entry, dict)
            else ("%s%s: %s\n" % (indent, key, "absent" if entry is None else entry))
        )
    return text
