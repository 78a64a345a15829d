# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables of the inventory's hosts, for the control engine."""

from __future__ import annotations

import typing as t

from .base import plain


class Inventory(t.Mapping[str, t.Mapping[str, t.Any]]):
    """Ansible's C(hostvars), read host by host and variable by variable: a plant has thousands of both.

    Each host's variables are put together once; what is read of them is plain.
    """

    def __init__(self, hostvars: t.Mapping[str, t.Any]) -> None:
        self._hostvars = hostvars
        self._known: dict[str, t.Mapping[str, t.Any]] = {}

    def __getitem__(self, name: str) -> t.Mapping[str, t.Any]:
        if name not in self._known:
            if name not in self._hostvars:
                raise KeyError(name)
            self._known[name] = _Variables(self._hostvars[name])
        return self._known[name]

    def same(self, hosts: t.Iterable[str], name: str) -> dict[str, list[str]]:
        """The ``hosts`` by the value that they have of the variable ``name``, as text; "" for none.

        Values without a template are compared as they are written: working out each would cost thousands of hosts a
        second for each variable.
        """
        groups: dict[str, list[str]] = {}
        for host in hosts:
            variables = self.get(host, {})
            written = getattr(getattr(variables, "_variables", variables), "_vars", {}).get(name)
            value = written if written is not None and "{{" not in str(written) else variables.get(name)
            groups.setdefault("" if value in (None, "") else str(plain(value)), []).append(host)
        return groups

    def __iter__(self) -> t.Iterator[str]:
        return iter(self._hostvars)

    def __len__(self) -> int:
        return len(self._hostvars)


class _Variables(t.Mapping[str, t.Any]):
    """The variables of one host; a template among them is worked out when it is asked for."""

    def __init__(self, variables: t.Mapping[str, t.Any]) -> None:
        self._variables = variables

    def __getitem__(self, name: str) -> t.Any:
        if name not in self._variables:
            raise KeyError(name)
        return plain(self._variables[name])

    def __iter__(self) -> t.Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)


def registered(
    name: str, hosts: t.Iterable[str], inventory: t.Mapping[str, t.Mapping[str, t.Any]]
) -> dict[str, dict[str, t.Any]]:
    """What a task registered as ``name``, by host, of the hosts that have it."""
    return {host: inventory[host][name] for host in hosts if host in inventory and name in inventory[host]}
