# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What the action plugins of device modules share: arguments, the device, and errors that name it."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure

from .._control.base.errors import ControlError
from .._control.client.bundle import Bundle
from .._targets.base import Link, Reply
from .._targets.engine.connection import Device
from .._targets.engine.zipapp import program
from .._targets.errors import DeviceLost, DeviceRefusal
from .._targets.offer import Offer
from . import options
from .base import Action, Result
from .repository import fetched

# Ansible's main process imports an action before it forks the workers that run it. Packed here, the engine is there for
# all of them; packed when it is needed, every task of every device does it again, a tenth of a rollout's CPU.
program()


class DeviceAction(Action):
    """An action on a device, over a link to it.

    Beside what :class:`Action` says, :meth:`perform` may raise DeviceRefusal, DeviceLost or ControlError.
    """

    variables: t.ClassVar[t.Mapping[str, str]] = options.DEVICE_VARIABLES

    device: Link

    def attempt(self) -> Result:
        """The work; each kind of failure becomes a result that names the device."""
        self.host = str(self.task_vars.get("inventory_hostname", "device"))
        arguments = self.arguments
        places = {"root": arguments["root"], "state_dir": arguments["state_dir"]}
        self.device = Device(self, **places, python=self._python(), name=self.host)
        try:
            result = self.perform(arguments, self.task_vars)
        except DeviceRefusal as error:
            result = self.failure(error.code, error.message, outcome=error.outcome, detail=error.detail)
        except ControlError as error:
            result = self.failure(getattr(error, "code", None) or "RELEASE", str(error), outcome="refused")
        except DeviceLost as error:
            raise AnsibleConnectionFailure(f"{self.host}: no contact: {error}") from error
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        if not self._task.diff:
            result.pop("diff", None)
        return result

    def failure(self, code: str, message: str, **more: t.Any) -> Result:
        """A failed result: the device, the reason and the next step in one sentence, the code beside it."""
        return {"failed": True, "changed": False, "code": code, "msg": f"{self.host}: {code}: {message}", **more}

    def bundle(self) -> Bundle:
        """The verified release of the arguments; AnsibleActionFail when none is named."""
        from pathlib import Path

        args = self.arguments
        if args.get("bundle"):
            return Bundle.load(Path(args["bundle"]))
        if not args.get("repository"):
            raise AnsibleActionFail("name the release: bundle, or release, channel, repository and trust_root")
        return fetched(args)

    def offer(self) -> Offer:
        """The release of the arguments with the way its payloads take."""
        args = self.arguments
        return Offer(self.bundle(), args["transfer"], args["mirrors"], host=self.host, splay=args["splay"])

    def call(self, verb: str, **request: t.Any) -> Reply:
        """:meth:`Link.call` with the task's check mode."""
        return self.device.call(verb, check=self.check, **request)

    def _python(self) -> str | None:
        interpreter = self._templar.template(self.task_vars.get("ansible_python_interpreter"))
        return str(interpreter) if interpreter and not str(interpreter).startswith("auto") else None


def shown(diff: t.Mapping[str, t.Any] | None) -> dict[str, t.Any]:
    """A before/after pair in the form that ``--diff`` prints."""
    return {key: _lines(value) for key, value in (diff or {}).items()} if diff else {}


def _lines(value: t.Any, indent: str = "") -> str:
    if not isinstance(value, dict):
        return f"{indent}{value}\n"
    text = ""
    for key in sorted(value):
        entry = value[key]
        if isinstance(entry, dict):
            text += f"{indent}{key}:\n" + _lines(entry, indent + "  ")
        else:
            text += f"{indent}{key}: {'absent' if entry is None else entry}\n"
    return text
