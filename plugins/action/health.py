# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of ``fleet.ota.health``: checks on the device, until they pass or their time is over."""

from __future__ import annotations

import typing as t

from ..plugin_utils._actions import device, options
from ..plugin_utils._actions.base import Arguments, Result


class ActionModule(device.DeviceAction):
    """Without ``checks``, those of every release that is confirmed on the device."""

    argument_spec: t.ClassVar[options.Options] = {
        **options.DEVICE,
        "checks": {"type": "list", "elements": "dict"},
        "passes": {"type": "int", "default": 2},
        "interval": {"type": "float", "default": 1.0},
        "timeout": {"type": "float", "default": 60.0},
        "settle": {"type": "float", "default": 0.0},
    }

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """One call; not healthy is a failure that says which check and why."""
        keys = ("passes", "interval", "timeout", "settle")
        given = {key: arguments[key] for key in keys} if arguments["checks"] is not None else {}
        reply = self.call("health", checks=arguments["checks"], **given)
        result = {"changed": False, "healthy": reply["healthy"], "checks": reply["checks"]}
        if not reply["healthy"]:
            failures = [f"{name}: {check['reason']}" for name, check in reply["checks"].items() if not check["ok"]]
            result.update(self.failure("HEALTH", "; ".join(failures)))
        return result
