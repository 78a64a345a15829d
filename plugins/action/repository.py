# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make a repository and its channels, or change who signs for them."""

from __future__ import annotations

import typing as t

from ..plugin_utils._control import keys, libraries
from ..plugin_utils._control.editing import Holders
from ..plugin_utils._control.errors import KeyFileError
from ..plugin_utils._control.keys import Ring
from ..plugin_utils._control.repository import Config, Repository
from ..plugin_utils._control.store import PERIODS, TOP
from ..plugin_utils._controller_action import Arguments, ControllerAction, Result, here, passphrase

if t.TYPE_CHECKING:
    import pathlib

_HOLDERS: Arguments = {
    "keys": {"type": "list", "elements": "str", "no_log": False},
    "threshold": {"type": "int", "default": 1},
}


class ActionModule(ControllerAction):
    """C(fleet.ota.repository)."""

    argument_spec: t.ClassVar[Arguments] = {
        "path": {"type": "path", "required": True},
        "keys_dir": {"type": "path", "required": True, "no_log": False},
        "roles": {"type": "dict", "options": {name: {"type": "dict", "options": _HOLDERS} for name in TOP}},
        "channels": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {"name": {"type": "str", "required": True}, **_HOLDERS},
        },
        "generate_keys": {"type": "bool", "default": False, "no_log": False},
        "key_type": {"type": "str", "choices": list(keys.KINDS), "default": "ecdsa", "no_log": False},
        "passphrase_file": {"type": "path", "no_log": False},
        "expiry_days": {"type": "dict", "options": {name: {"type": "int"} for name in sorted(PERIODS)}},
        "state": {"type": "str", "choices": ["present"], "default": "present"},
    }

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """Generate missing keys if asked to, then make or change the repository."""
        libraries.require()
        repository = Repository(here(arguments["path"]))
        folder = here(arguments["keys_dir"])
        secret = passphrase(arguments)
        roles = {name: entry for name, entry in (arguments["roles"] or {}).items() if entry}
        if not repository.store.exists:
            roles = {name: roles.get(name) or {"keys": None, "threshold": 1} for name in TOP}
        channels = {entry["name"]: entry for entry in arguments["channels"]}
        wanted = {name: _paths(folder, name, entry) for name, entry in {**roles, **channels}.items()}
        missing = sorted({path for paths in wanted.values() for path in paths if not _is_there(path)})
        if missing and not arguments["generate_keys"]:
            raise KeyFileError(
                f"{', '.join(map(str, missing))}: no such key; set generate_keys, or put the private or public key "
                "there"
            )
        names = [str(path) for path in missing]
        if missing and self.check:
            return {"changed": True, "generated": names, **self.diff([], [f"new key {name}" for name in names], "keys")}
        for path in missing:
            keys.generate(path, arguments["key_type"], secret)
        holders = {
            name: Holders(tuple(keys.public(path, secret) for path in wanted[name]), entry["threshold"])
            for name, entry in {**roles, **channels}.items()
        }
        config = Config(
            roles={name: holders[name] for name in roles},
            channels={name: holders[name] for name in channels},
            periods={name: days for name, days in (arguments["expiry_days"] or {}).items() if days is not None},
        )
        paths = {path for several in wanted.values() for path in several}
        ring = Ring.load([*(path for path in sorted(paths) if path.is_file()), folder], secret)
        change = repository.ensure(config, ring, check=self.check)
        return {
            "changed": change.changed or bool(missing),
            "generated": names,
            "trust_root": str(repository.store.first_root()),
            "roles": change.after,
            "single_key": change.warnings,
            **self.diff(change.before, change.after, "roles"),
        }


def _paths(folder: pathlib.Path, name: str, entry: Arguments) -> list[pathlib.Path]:
    """The key files of a role; a bare name stands for ``keys_dir/NAME.pem``."""
    given = entry["keys"] or [name]
    return [here(key) if "/" in key else folder / f"{key}.pem" for key in given]


def _is_there(path: pathlib.Path) -> bool:
    return path.is_file() or path.with_suffix(".pub").is_file()
