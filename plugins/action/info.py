# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of ``fleet.ota.info``: the device's own truth."""

from __future__ import annotations

from ansible_collections.fleet.ota.plugins.plugin_utils._link import action


class ActionModule(action.EngineAction):
    """Asks, changes nothing."""

    def work(self) -> action.Result:
        """One call."""
        return {"changed": False, **self.call("info")}
