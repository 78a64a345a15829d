# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of ``fleet.ota.info``: the device's own truth."""

from __future__ import annotations

from ansible_collections.fleet.ota.plugins.plugin_utils._actions import device


class ActionModule(device.EngineAction):
    """Asks, changes nothing."""

    def work(self) -> device.Result:
        """One call."""
        reply = self.call("info")
        return {"changed": False, **reply, "summary": _summary(reply)}


def _summary(reply: device.Result) -> str:
    """The device in one line."""
    if not reply["enrolled"]:
        return "not enrolled"
    current = [entry["current"] for entry in reply["releases"].values() if entry["current"]]
    parts = ["%s %s" % (entry["name"], entry["version"]) for entry in current] or ["no release"]
    last = reply["transaction"]
    if last:
        cause = " (%s)" % last["code"] if last["code"] else ""
        parts.append("last transaction %s%s" % (last["outcome"] or last["state"], cause))
    if reply["rejected"]:
        parts.append("%d rejected" % len(reply["rejected"]))
    return ", ".join(parts)
