# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of ``fleet.ota.snapshot``: snapshots of paths, made and put back by name."""

from __future__ import annotations

import typing as t

from ansible_collections.fleet.ota.plugins.plugin_utils._actions import device


class ActionModule(device.EngineAction):
    """``state``: present, absent, restored, proven or listed."""

    SPEC: t.ClassVar[dict[str, t.Any]] = {
        "state": {
            "type": "str",
            "choices": ["present", "absent", "restored", "proven", "listed"],
            "default": "present",
        },
        "name": {"type": "str"},
        "paths": {"type": "list", "elements": "str"},
        "kind": {"type": "str", "choices": ["auto", "files", "btrfs", "lvm"], "default": "auto"},
    }
    RULES: t.ClassVar[dict[str, t.Any]] = {
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

    def work(self) -> device.Result:
        """One call."""
        args = self.arguments
        verb = self.ACTIONS[args["state"]]
        return self.call("snapshot", action=verb, name=args["name"], paths=args["paths"], kind=args["kind"])
