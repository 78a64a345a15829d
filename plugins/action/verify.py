# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of ``fleet.ota.verify``: would this device take the release?"""

from __future__ import annotations

import typing as t

from ansible_collections.fleet.ota.plugins.plugin_utils._actions import device


class ActionModule(device.EngineAction):
    """Signatures, freshness, compatibility and memory, decided by the device; changes nothing."""

    SPEC: t.ClassVar[dict[str, t.Any]] = {**device.RELEASE, "retry_rejected": {"type": "bool", "default": False}}
    RULES: t.ClassVar[dict[str, t.Any]] = device.RELEASE_RULES

    def work(self) -> device.Result:
        """One call."""
        reply = self.call("verify", bundle=self.bundle().wire(), retry_rejected=self.arguments["retry_rejected"])
        return {"changed": False, **reply}
