# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What the actions that run on the controller alone have in common."""

from __future__ import annotations

import datetime
import getpass
import os
import pathlib
import typing as t

from ansible import constants as C
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from .._control.base.errors import ControlError, TrustError
from .._control.base.urls import hidden, host_of

if t.TYPE_CHECKING:
    from .._control.keys.ring import Ring
    from .._control.repository.proposals.proposal import Request

Arguments = dict[str, t.Any]
Result = dict[str, t.Any]

#: Where a passphrase is looked for when no file is named.
ENVIRONMENT_VARIABLE = "FLEET_OTA_KEY_PASSPHRASE"
#: And the PIN of a token.
PIN_VARIABLE = "FLEET_OTA_KEY_PIN"

#: Options with the secrets of keys.
UNLOCKING: Arguments = {
    "passphrase_file": {"type": "path", "no_log": False},
    "pin_file": {"type": "path", "no_log": False},
}
#: Options of whoever signs.
SIGNING: Arguments = {"keys": {"type": "list", "elements": "str", "no_log": False}, **UNLOCKING}
#: Options of whoever proposes a change to others.
PROPOSING: Arguments = {
    "propose": {"type": "bool", "default": False},
    "title": {"type": "str", "default": ""},
    "requested_by": {"type": "str"},
    "proposal_days": {"type": "int"},
}


class ControllerAction(ActionBase):
    """An action that never touches the device: no connection, no temporary files, no module.

    A subclass has ``argument_spec`` and further constraints of Ansible's validator in ``constraints``, and does its
    work in :meth:`perform`.
    """

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    argument_spec: t.ClassVar[Arguments] = {}
    constraints: t.ClassVar[Arguments] = {}

    def run(self, tmp: str | None = None, task_vars: Arguments | None = None) -> Result:
        """Validate, work, and tell a :class:`ControlError` as an ordinary failure with its code and detail."""
        result: Result = super().run(tmp, task_vars)
        given = self.__dict__.setdefault("_given", self._task.args)  # a retried task runs this again
        # null means "not given", also to what the validator requires
        self._task.args = {key: value for key, value in given.items() if value is not None}
        _validation, arguments = self.validate_argument_spec(argument_spec=self.argument_spec, **self.constraints)
        self._task.args = hidden(self._task.args)
        if arguments.get("notify"):
            self._task.args["notify"] = hidden(plain(arguments["notify"]), host_of)
        try:
            result.update(self.perform(plain(arguments), task_vars or {}))
        except ControlError as error:
            raise AnsibleActionFail(error.message, result={**error.detail, "code": error.code}) from error
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            raise AnsibleActionFail(f"{place}{error.strerror or error}; give another place or make room") from error
        return result

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """Do the work of the task whose validated ``arguments`` these are, and return its result."""
        raise NotImplementedError

    @property
    def check(self) -> bool:
        """Whether nothing may be changed."""
        return bool(self._task.check_mode)

    def diff(self, before: t.Iterable[str], after: t.Iterable[str], header: str) -> Result:
        """``diff`` of a result, from lines."""
        texts = {"before": "".join(f"{line}\n" for line in before), "after": "".join(f"{line}\n" for line in after)}
        return {"diff": {**texts, "before_header": header, "after_header": header}}


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
    """The keys that the options :data:`SIGNING` name."""
    from .._control.keys.ring import Ring

    places = [key_place(text) for text in arguments["keys"] or []]
    return Ring.load(places, passphrase(arguments), pin(arguments))


def pinned_root(arguments: Arguments, repository: pathlib.Path) -> bytes | None:
    """The root metadata in the file that the option C(trust_root) names, if it is given.

    A repository that is not made yet has none that could be read.
    """
    if not arguments["trust_root"] or not (repository / "metadata").is_dir():
        return None
    path = here(arguments["trust_root"])
    try:
        return path.read_bytes()
    except OSError as error:
        raise TrustError(f"the trust root {path} cannot be read ({error.strerror})", code="TRUST_ROOT") from error


def request(arguments: Arguments) -> Request | None:
    """How the options :data:`PROPOSING` want a change to be proposed; None if it is not to be."""
    from .._control.repository.proposals.proposal import Request

    if not arguments["propose"]:
        return None
    days = arguments["proposal_days"]
    if days is not None and days < 1:
        raise ControlError(f"proposal_days: {days} is no time to sign in; give 1 or more", code="PROPOSAL")
    ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days) if days else None
    return Request(arguments["requested_by"] or getpass.getuser(), arguments["title"], expires=ends)


def _secret(arguments: Arguments, option: str, variable: str) -> bytes | None:
    from .._control.keys import ring

    if arguments.get(option):
        return ring.passphrase_from(here(arguments[option]))
    return os.environb.get(variable.encode()) or None
