# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of ``fleet.ota.snapshot``: snapshots of paths, made and put back by name."""

from __future__ import annotations

import typing as t

from ..plugin_utils._actions import device, options
from ..plugin_utils._actions.base import Arguments, Result


class ActionModule(device.DeviceAction):
    """``state``: present, absent, restored, proven or listed."""

    argument_spec: t.ClassVar[options.Options] = {
        **options.DEVICE,
        "state": {
            "type": "str",
            "choices": ["present", "absent", "restored", "proven", "listed"],
            "default": "present",
        },
        "name": {"type": "str"},
        "paths": {"type": "list", "elements": "str"},
        "kind": {"type": "str", "choices": ["auto", "files", "btrfs", "lvm"], "default": "auto"},
    }
    constraints: t.ClassVar[Arguments] = {
        "required_if": [
            ["state", "present", ["name", "paths"]],
            ["state", "absent", ["name"]],
            ["state", "restored", ["name"]],
            ["state", "proven", ["name"]],
        ]
    }
    ACTIONS: t.ClassVar[dict[str, t.Any]] = {
        "present": "create",
        "absent": "remove",
        "restored": "restore",
        "proven": "prove",
        "listed": "list",
    }

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """One call."""
        request = {key: arguments[key] for key in ("name", "paths", "kind")}
        return self.call("snapshot", action=self.ACTIONS[arguments["state"]], **request)
