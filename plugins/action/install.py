# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of ``fleet.ota.install``: verify and install under one lock, without a transaction."""

from __future__ import annotations

import typing as t

from ..plugin_utils._actions import device, options
from ..plugin_utils._actions.base import Arguments, Result


class ActionModule(device.DeviceAction):
    """For teams that bring their own way back; everybody else takes ``fleet.ota.update``."""

    argument_spec: t.ClassVar[options.Options] = {
        **options.DEVICE,
        **options.DEVICE_RELEASE,
        **options.TRANSFER,
        **options.RETRY,
        **options.REPAIR,
    }
    variables: t.ClassVar[t.Mapping[str, str]] = {**options.DEVICE_VARIABLES, **options.TRANSFER_VARIABLES}
    constraints: t.ClassVar[Arguments] = options.DEVICE_RELEASE_RULES

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """Stage what is missing, then install."""
        offer = self.offer()
        request = {**offer.request(), **{key: arguments[key] for key in ("retry_rejected", "repair")}}
        reply = self.call("install", **request)
        if reply["missing"] and not self.check:
            request.update(offer.bring(self.device, reply["missing"]))
            reply = self.call("install", **request)
        return {"changed": reply["changed"], "release": reply["release"], "diff": device.shown(reply["diff"])}
