# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What a worker needs of the inventory: its devices with their groups and values, and nothing of the others."""

from __future__ import annotations

import functools
import os
import pathlib
import typing as t

import yaml
from ansible import constants as C
from ansible.errors import AnsibleError

from .._actions.base import plain
from .._actions.steps import HOOKS
from .._control.base.errors import PlanError

#: Of the collection's own variables a worker gets those of the role, and what a team's tasks may ask for. The others
#: are the rollout's alone: addresses with passwords, keys, and plans of thousands of devices.
LABELS = frozenset({"fleet_ota_hardware", "fleet_ota_site", "fleet_ota_labels", "fleet_ota_timezone"})
#: Where a device's private key is named.
KEYS = ("ansible_ssh_private_key_file", "ansible_private_key_file")
_NOBODYS = frozenset({*C.INTERNAL_STATIC_VARS, "omit", "vars", "environment", "ansible_check_mode", "ansible_local"})
_ROLE = pathlib.Path(__file__).resolve().parents[3] / "roles" / "update" / "defaults" / "main.yml"

Variables = dict[str, t.Any]


class Template(str):
    """A text that the worker shall work out. Any other is a value, whatever it looks like."""

    __slots__ = ()


@functools.lru_cache(maxsize=1)
def role_variables() -> frozenset[str]:
    """The variables of the role ``update``."""
    return frozenset(yaml.safe_load(_ROLE.read_text(encoding="utf-8")))


class Source:
    """Reads the variables that Ansible has of each host, as the task ``task_vars`` sees them.

    ``files`` is the team's folder that becomes the playbook's on the worker, None if there is none.
    """

    def __init__(self, task_vars: t.Mapping[str, t.Any], files: pathlib.Path | None = None) -> None:
        self._hostvars = task_vars["hostvars"]
        self._groups = plain(task_vars.get("groups", {}))
        self._files = files
        self._of_play = self._found_in_play(task_vars)
        self._known: dict[str, Variables] = {}

    def host(self, name: str) -> Variables:
        """The variables of one host, templates worked out.

        What cannot be worked out here goes as it is: it may be meant for a task of the role alone.
        """
        if name not in self._known:
            rendered, raw = self._hostvars[name], self._hostvars.raw_get(name)
            values = {str(key): _value(rendered, raw, key) for key in raw if _wanted(key)}
            self._known[name] = {**values, **self._of_play, **self.hooks(name)}
        return self._known[name]

    def hooks(self, name: str) -> Variables:
        """Where the worker finds the files of the team's tasks. Raises :class:`PlanError` for one it would not have."""
        rendered, places = self._hostvars[name], {}
        for hook in HOOKS:
            path = self._of_play.get(hook) or (plain(rendered[hook]) if hook in rendered else None)
            if path:
                places[hook] = Template("{{ playbook_dir }}/" + self._place(f"{name}: {hook}", str(path)))
        return places

    def groups(self, names: t.Collection[str]) -> dict[str, list[str]]:
        """The groups of these hosts, with those of them that are in each."""
        chosen = set(names)
        groups = {group: [name for name in members if name in chosen] for group, members in self._groups.items()}
        return {group: members for group, members in groups.items() if members and group not in ("all", "ungrouped")}

    def _place(self, what: str, path: str) -> str:
        if self._files:
            place = os.path.relpath(self._files / os.path.expanduser(path), self._files)
            if not place.startswith("..") and (self._files / place).is_file():
                return place
        raise PlanError(
            f"{what} is {path}, which workers do not have; put it into a folder and name that in fleet_ota_worker_files"
        )

    def _found_in_play(self, task_vars: t.Mapping[str, t.Any]) -> Variables:
        """The role's variables that the play itself has, not the inventory; they come before those of hosts."""
        own = self._hostvars.raw_get(task_vars["inventory_hostname"])
        return {
            name: templates(plain(task_vars[name]))
            for name in role_variables()
            if name in task_vars and (name not in own or plain(own[name]) != plain(task_vars[name]))
        }


def make(source: Source, names: t.Sequence[str], keys: pathlib.Path, instead: Variables) -> bytes:
    """The inventory of the hosts ``names`` as YAML, with ``instead`` in place of what they have.

    Private keys that it names are copied to the folder ``keys``, beside that of the inventory and of the playbook.
    """
    hosts = {name: {**source.host(name), **templates(instead)} for name in names}
    copied: dict[str, str] = {}
    for variables in hosts.values():
        for key in KEYS:
            path = variables.get(key)
            if isinstance(path, str) and key not in instead and os.path.isfile(os.path.expanduser(path)):
                if path not in copied:
                    copied[path] = str(len(copied))
                    _copy(pathlib.Path(path).expanduser(), keys / copied[path])
                variables[key] = Template("{{ playbook_dir | dirname }}/" + f"{keys.name}/{copied[path]}")
    children = {group: {"hosts": dict.fromkeys(members)} for group, members in source.groups(names).items()}
    return yaml.dump({"all": {"hosts": hosts, "children": children}}, Dumper=_Dumper, sort_keys=False).encode()


def templates(value: t.Any) -> t.Any:
    """``value`` with every text in it as a :class:`Template`."""
    if isinstance(value, dict):
        return {key: templates(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [templates(entry) for entry in value]
    return Template(value) if isinstance(value, str) else value


def _value(rendered: t.Mapping[str, t.Any], raw: t.Mapping[str, t.Any], key: str) -> t.Any:
    try:
        return plain(rendered[key])
    except AnsibleError:
        return templates(plain(raw[key]))


def _wanted(name: str) -> bool:
    if name.startswith("fleet_ota_"):
        return name in role_variables() or name in LABELS
    return name not in _NOBODYS


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    target.parent.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as handle:
        handle.write(source.read_bytes())


class _Dumper(yaml.SafeDumper):
    """Texts that look like templates and are none are marked, or the worker would work them out once more."""

    def ignore_aliases(self, data: t.Any) -> bool:
        return True


def _text(dumper: _Dumper, value: str) -> yaml.Node:
    unsafe = any(mark in value for mark in ("{{", "{%", "{#"))
    return dumper.represent_scalar(
        "!unsafe" if unsafe else "tag:yaml.org,2002:str", value, style='"' if unsafe else None
    )


_Dumper.add_representer(str, _text)
_Dumper.add_representer(Template, lambda dumper, value: dumper.represent_str(str(value)))
_Dumper.add_multi_representer(object, lambda dumper, value: _text(dumper, str(value)))
