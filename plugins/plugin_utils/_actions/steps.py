# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""By which tasks the devices of a wave are updated: as few for each device as its team leaves room for."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleError

#: The files of the team's tasks.
HOOKS = ("fleet_ota_hook_before", "fleet_ota_hook_installed", "fleet_ota_hook_after")
#: One task applies and confirms: nothing of a team's comes in between.
DEVICES = "devices"
#: The role with its hooks and handlers; hooks may bring handlers for any host of the batch.
HOOKED = "hooks"
#: Other machines update the devices; here no task runs for each of them.
WORKERS = "workers"


def choose(
    hosts: t.Iterable[str],
    task_vars: t.Mapping[str, t.Any],
    inventory: t.Mapping[str, t.Mapping[str, t.Any]],
    *,
    workers: bool,
) -> str:
    """:data:`DEVICES`, :data:`HOOKED` or :data:`WORKERS`, the ending of a file ``playbooks/tasks/turn_*.yml``.

    ``task_vars`` may have hooks that a play set for all of its hosts.
    """
    if workers:
        return WORKERS
    hooked = any(task_vars.get(hook) for hook in HOOKS) or any(
        _is_set(inventory[name], hook) for name in hosts if name in inventory for hook in HOOKS
    )
    return HOOKED if hooked else DEVICES


def _is_set(variables: t.Mapping[str, t.Any], hook: str) -> bool:
    try:
        return bool(variables.get(hook))
    except AnsibleError:
        return True  # it may need what only the device's own tasks know
