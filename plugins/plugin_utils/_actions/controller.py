# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What the actions that run on the controller alone have in common."""

from __future__ import annotations

import datetime
import functools
import getpass
import os
import pathlib
import typing as t

from ansible import constants as C
from ansible.errors import AnsibleActionFail

from .._control.base.errors import ControlError
from .base import Action, Arguments, Result, plain
from .hostvars import Inventory

if t.TYPE_CHECKING:
    from .._control.keys.ring import Ring
    from .._control.repository.proposals.proposal import Request

#: Where a passphrase is looked for when no file is named.
ENVIRONMENT_VARIABLE = "FLEET_OTA_KEY_PASSPHRASE"
#: And the PIN of a token.
PIN_VARIABLE = "FLEET_OTA_KEY_PIN"


class ControllerAction(Action):
    """An action that never touches the device: no connection, no temporary files, no module."""

    _requires_connection = False
    _supports_async = False

    def attempt(self) -> Result:
        """The work; a :class:`ControlError` becomes an ordinary failure with its code and detail."""
        try:
            return self.perform(self.arguments, self.task_vars)
        # from None: Ansible appends the texts of all causes, and these messages have said it
        except ControlError as error:
            raise AnsibleActionFail(error.message, result={**error.detail, "code": error.code}) from None
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            raise AnsibleActionFail(f"{place}{error.strerror or error}; {_advice(error)}") from None

    def defaults(self, given: Arguments) -> Arguments:
        """What variables say; a signer's keys are those of the folder C(fleet_ota_keys_dir) unless others are named."""
        values = super().defaults(given)
        if "keys" in self.variables and "keys" not in {**given, **values} and "keys_dir" not in self.argument_spec:
            folder = self.variable("fleet_ota_keys_dir")
            values.update({"keys": [folder]} if folder else {})
        return values

    @functools.cached_property
    def inventory(self) -> Inventory:
        """The variables of all hosts."""
        return Inventory(self.task_vars.get("hostvars", {}))

    def diff(self, before: t.Iterable[str], after: t.Iterable[str], header: str) -> Result:
        """``diff`` of a result, from lines."""
        texts = {"before": "".join(f"{line}\n" for line in before), "after": "".join(f"{line}\n" for line in after)}
        return {"diff": {**texts, "before_header": header, "after_header": header}}


def _advice(error: OSError) -> str:
    """What to do about an error of the file system."""
    if isinstance(error, PermissionError):
        return (
            f"{user()} may not use it: who keeps it can share it with a group (chgrp -R GROUP, chmod -R g+rwX, and "
            "chmod g+s on its directories)"
        )
    return "give another place or make room"


def forks(task_vars: Arguments) -> int:
    """How many hosts Ansible works on at a time."""
    return int(task_vars.get("ansible_forks") or C.DEFAULT_FORKS)


def targets(task_vars: Arguments) -> list[str]:
    """All hosts of the play, also those that Ansible dropped."""
    return t.cast("list[str]", plain(task_vars.get("ansible_play_hosts_all", [])))


def here(path: str) -> pathlib.Path:
    """``path``, where a relative one begins in the directory in which Ansible was started.

    Not beside the playbook: for ``fleet.ota.rollout`` that would be inside the installed collection.
    """
    return pathlib.Path(path).absolute()


def passphrase(arguments: Arguments) -> bytes | None:
    """The passphrase for encrypted keys: from ``passphrase_file``, else from the environment, else None."""
    return _secret(arguments, "passphrase_file", ENVIRONMENT_VARIABLE)


def pin(arguments: Arguments) -> bytes | None:
    """The PIN of a token: from ``pin_file``, else from the environment, else None."""
    return _secret(arguments, "pin_file", PIN_VARIABLE)


def key_place(text: str) -> pathlib.Path | str:
    """Where a key is: a URI as it is, anything else as a path."""
    from .._control.keys import uris

    return text if uris.scheme_of(text) else here(os.path.expanduser(os.path.expandvars(text)))


def signing_ring(arguments: Arguments) -> Ring:
    """The keys that the options :data:`options.SIGNING` name."""
    from .._control.keys.ring import Ring

    places = [key_place(text) for text in arguments["keys"] or []]
    return Ring.load(places, passphrase(arguments), pin(arguments))


def user() -> str:
    """Who runs this, as a person would say it; a container may run under a number that has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        return f"uid {os.getuid()}"


def request(arguments: Arguments) -> Request | None:
    """How the options :data:`options.PROPOSING` want a change to be proposed; None if it is not to be."""
    from .._control.repository.proposals.proposal import Request

    if not arguments["propose"]:
        return None
    days = arguments["proposal_days"]
    if days is not None and days < 1:
        raise ControlError(f"proposal_days: {days} is no time to sign in; give 1 or more", code="PROPOSAL")
    ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days) if days else None
    return Request(arguments["requested_by"] or user(), arguments["title"], expires=ends)


def _secret(arguments: Arguments, option: str, variable: str) -> bytes | None:
    from .._control.keys import ring

    if arguments.get(option):
        return ring.passphrase_from(here(arguments[option]))
    return os.environb.get(variable.encode()) or None
