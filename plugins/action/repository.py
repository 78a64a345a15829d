# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make a repository and its channels, or change who signs for them."""

from __future__ import annotations

import pathlib
import typing as t

from ..plugin_utils._actions import options
from ..plugin_utils._actions.base import Arguments, Result, named
from ..plugin_utils._actions.controller import here, key_place, passphrase, pin, request
from ..plugin_utils._actions.repository import REPOSITORY, REPOSITORY_VARIABLES, RepositoryAction
from ..plugin_utils._control.base import libraries
from ..plugin_utils._control.base.errors import KeyFileError
from ..plugin_utils._control.keys.ring import KINDS, URI_SUFFIX, Ring, generate, public
from ..plugin_utils._control.repository import overview
from ..plugin_utils._control.repository.metadata.edit import Holders
from ..plugin_utils._control.repository.metadata.store import PERIODS, TOP
from ..plugin_utils._control.repository.repository import Config

Place = pathlib.Path | str

_HOLDERS: Arguments = {
    "keys": {"type": "list", "elements": "str", "no_log": False},
    "threshold": {"type": "int", "default": 1},
}
_NAMED: Arguments = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {"name": {"type": "str", "required": True}, **_HOLDERS},
}


class ActionModule(RepositoryAction):
    """C(fleet.ota.repository)."""

    place: t.ClassVar[str] = "path"
    argument_spec: t.ClassVar[options.Options] = {
        "path": REPOSITORY["repository"],
        "trust_root": REPOSITORY["trust_root"],
        "keys_dir": {"type": "path", "no_log": False},
        "roles": {"type": "dict", "options": {name: {"type": "dict", "options": _HOLDERS} for name in TOP}},
        "channels": _NAMED,
        "approvals": _NAMED,
        "generate_keys": {"type": "bool", "default": False, "no_log": False},
        "key_type": {"type": "str", "choices": list(KINDS), "default": "ecdsa", "no_log": False},
        "expiry_days": {"type": "dict", "options": {name: {"type": "int"} for name in sorted(PERIODS)}},
        "state": {"type": "str", "choices": ["present", "shown"], "default": "present"},
        **options.SIGNING,
        **options.PROPOSING,
    }
    constraints: t.ClassVar[Arguments] = {"required_if": [("state", "present", ("keys_dir",))]}
    variables: t.ClassVar[t.Mapping[str, str]] = {
        **named("keys_dir", "generate_keys", "roles", "channels", "approvals", "expiry_days"),
        **options.SIGNING_VARIABLES,
        **options.PROPOSING_VARIABLES,
        "path": REPOSITORY_VARIABLES["repository"],
        "trust_root": REPOSITORY_VARIABLES["trust_root"],
    }

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """Generate missing keys if asked to, then make or change the repository; or show it."""
        libraries.require()
        repository = self.opened()
        if arguments["state"] == "shown":
            shown = overview.show(repository)
            return {"changed": False, "lines": shown.pop("lines"), "repository": shown}
        folder = here(arguments["keys_dir"])
        secret, number = passphrase(arguments), pin(arguments)
        roles = {name: entry for name, entry in (arguments["roles"] or {}).items() if entry}
        if not repository.store.exists:
            roles = {name: roles.get(name) or {"keys": None, "threshold": 1} for name in TOP}
        channels = {entry["name"]: entry for entry in arguments["channels"]}
        approvals = {entry["name"]: entry for entry in arguments["approvals"]}
        entries = {**roles, **channels, **approvals}
        wanted = {name: _places(folder, name, entry) for name, entry in entries.items()}
        every = sorted({place for places in wanted.values() for place in places}, key=str)
        missing = [place for place in every if isinstance(place, pathlib.Path) and not _is_there(place)]
        if missing and not arguments["generate_keys"]:
            raise KeyFileError(
                f"{', '.join(map(str, missing))}: no such key; set generate_keys, or put the private or public key "
                "there"
            )
        names = [str(path) for path in missing]
        if missing and self.check:
            return {"changed": True, "generated": names, **self.diff([], [f"new key {name}" for name in names], "keys")}
        for path in missing:
            generate(path, arguments["key_type"], secret)
        holders = {
            name: Holders(tuple(public(place, secret, number) for place in wanted[name]), entry["threshold"])
            for name, entry in entries.items()
        }
        config = Config(
            roles={name: holders[name] for name in roles},
            channels={name: holders[name] for name in channels},
            approvals={name: holders[name] for name in approvals},
            periods={name: days for name, days in (arguments["expiry_days"] or {}).items() if days is not None},
        )
        mine = [key_place(text) for text in arguments["keys"] or []]
        ring = Ring.load([folder, *mine], secret, number, maybe=[place for place in every if _may_sign(place)])
        change = repository.ensure(config, ring, check=self.check, propose=request(arguments))
        return {
            "changed": change.changed or bool(missing),
            "generated": names,
            "trust_root": str(repository.pin),
            "roles": change.after,
            "single_key": change.warnings,
            "proposal": change.proposal.as_dict() if change.proposal else None,
            **self.diff(change.before, change.after, "roles"),
        }


def _places(folder: pathlib.Path, name: str, entry: Arguments) -> list[Place]:
    """Where the keys of a role are; a bare name stands for ``keys_dir/NAME.pem``, ``NAME.uri`` or ``NAME.pub``."""
    places: list[Place] = []
    for text in entry["keys"] or [name]:
        place = key_place(text)
        if isinstance(place, pathlib.Path) and "/" not in text:
            place = folder / f"{text}.pem"
            beside = place.with_suffix(URI_SUFFIX)
            if beside.is_file() and not place.is_file():
                place = beside
        places.append(place)
    return places


def _is_there(path: pathlib.Path) -> bool:
    return path.is_file() or path.with_suffix(".pub").is_file()


def _may_sign(place: Place) -> bool:
    """Whether there is more than a public half."""
    return isinstance(place, str) or (place.is_file() and place.suffix != ".pub")
