# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The variables of devices, validated for all of them at once, before the first device is touched."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleError, AnsibleValueOmittedError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from .._control.base.errors import PlanError
from .._control.planning.text import some
from . import options
from .hostvars import Inventory

_MOST = 10


def require(hosts: t.Iterable[str], inventory: t.Mapping[str, t.Mapping[str, t.Any]]) -> None:
    """Raise :class:`PlanError` naming variables of ``fleet.ota.update`` with values that it does not take.

    A variable that cannot be worked out is one of them, unless tasks of the team before the update may set what it
    needs.
    """
    validator = ArgumentSpecValidator({name: options.UPDATE[key] for key, name in options.UPDATE_VARIABLES.items()})
    verdicts: dict[str, list[str]] = {}
    problems: list[str] = []
    for host in hosts:
        wrong: list[str] = []
        values = _values(inventory.get(host) or {}, wrong)
        problems += [f"{host}: {message}" for message in wrong]
        key = repr(sorted(values.items()))  # most devices of a fleet have the same values
        if key not in verdicts:
            verdicts[key] = validator.validate(values).error_messages
        problems += [f"{host}: {message}" for message in verdicts[key]]
    if problems:
        more = f"; and {len(problems) - _MOST} more" if len(problems) > _MOST else ""
        text = "; ".join(problems[:_MOST])
        raise PlanError(f"variables of devices cannot be used: {text}{more}", problems=problems)


def require_same(hosts: t.Sequence[str], inventory: Inventory, names: t.Iterable[str]) -> None:
    """Raise :class:`PlanError` for variables of the whole rollout (``names``) that its hosts have different values of.

    One host is asked for them; what another host or its group says would be passed over in silence.
    """
    problems = []
    for name in names:
        groups = inventory.same(hosts, name)
        if len(groups) > 1:
            told = [f"{value or 'nothing'} ({some(named, 3)})" for value, named in list(groups.items())[:3]]
            problems.append(f"{name} is {'; '.join(told)}")
    if problems:
        raise PlanError(
            f"what holds for the whole rollout differs between its hosts: {'. '.join(problems)}. Give all of them one "
            "value, or roll out to each group by itself (fleet_ota_hosts)",
            problems=problems,
        )


def _values(variables: t.Mapping[str, t.Any], wrong: list[str]) -> dict[str, t.Any]:
    values = {}
    for name in options.UPDATE_VARIABLES.values():
        try:
            if name in variables:
                values[name] = variables[name]
        except AnsibleValueOmittedError:
            continue
        except AnsibleError as error:
            if not variables.get("fleet_ota_hook_before"):
                wrong.append(f"{name} cannot be worked out ({error.message})")
    return {name: value for name, value in values.items() if value not in (None, "")}
