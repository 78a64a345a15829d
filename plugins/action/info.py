# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of ``fleet.ota.info``: the device's own truth."""

from __future__ import annotations

import typing as t

from ..plugin_utils._actions import device, options
from ..plugin_utils._actions.base import Arguments, Result


class ActionModule(device.DeviceAction):
    """Asks, changes nothing."""

    argument_spec: t.ClassVar[options.Options] = {
        **options.DEVICE,
        "logs": {"type": "bool", "default": False},
        "transaction": {"type": "str"},
    }

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """One call."""
        wanted: dict[str, t.Any] = {}
        if arguments["logs"]:
            wanted = {"logs": True, **({"transaction": arguments["transaction"]} if arguments["transaction"] else {})}
        reply = self.call("info", **wanted)
        return {"changed": False, **reply, "summary": _summary(reply)}


def _summary(reply: Result) -> str:
    """The device in one line."""
    if not reply["enrolled"]:
        return "not enrolled"
    current = [entry["current"] for entry in reply["releases"].values() if entry["current"]]
    parts = [f"{entry['name']} {entry['version']}" for entry in current] or ["no release"]
    last = reply["transaction"]
    if last:
        cause = f" ({last['code']})" if last["code"] else ""
        parts.append(f"last transaction {last['outcome'] or last['state']}{cause}")
    if reply["rejected"]:
        parts.append(f"{len(reply['rejected'])} rejected")
    return ", ".join(parts)
