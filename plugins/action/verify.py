# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of ``fleet.ota.verify``: would this device take the release?"""

from __future__ import annotations

import typing as t

from ..plugin_utils._actions import device, options
from ..plugin_utils._actions.base import Arguments, Result


class ActionModule(device.DeviceAction):
    """Signatures, freshness, compatibility and memory, decided by the device; changes nothing."""

    argument_spec: t.ClassVar[options.Options] = {**options.DEVICE, **options.DEVICE_RELEASE, **options.RETRY}
    constraints: t.ClassVar[Arguments] = options.DEVICE_RELEASE_RULES

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """One call."""
        reply = self.call("verify", bundle=self.bundle().wire(), retry_rejected=arguments["retry_rejected"])
        return {"changed": False, **reply}
