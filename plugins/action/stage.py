# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of ``fleet.ota.stage``: bring payloads to the device ahead of time."""

from __future__ import annotations

import typing as t

from ..plugin_utils._actions import device, options
from ..plugin_utils._actions.base import Arguments, Result
from ..plugin_utils._targets import offer


class ActionModule(device.DeviceAction):
    """Nothing is installed; what is staged is checked again when it is used."""

    argument_spec: t.ClassVar[options.Options] = {
        **options.DEVICE,
        **options.DEVICE_RELEASE,
        **options.TRANSFER,
        "window_end": {"type": "str"},
    }
    variables: t.ClassVar[t.Mapping[str, str]] = {**options.DEVICE_VARIABLES, **options.TRANSFER_VARIABLES}
    constraints: t.ClassVar[Arguments] = options.DEVICE_RELEASE_RULES

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """Ask what is missing, then push it or let the device pull it, unless it is too late for that."""
        try:
            return self._staged(offer.Until(arguments["window_end"]))
        except offer.TooLate as error:
            return {"changed": False, "skipped": True, "staged": [], "bytes": 0, "msg": f"{self.host}: {error}"}

    def _staged(self, until: offer.Until) -> Result:
        until.insist()
        way = self.offer()
        files = way.bundle.payloads()
        missing = self.call("stage", files=files)["missing"]
        staged = {entry["sha256"] for entry in missing}
        if missing and not self.check:
            pull = way.bring(self.device, missing, until)
            if pull:
                self.call("stage", files=files, **pull)
        names = sorted(entry["name"] for entry in files if entry["sha256"] in staged)
        size = sum(entry["length"] - entry["offset"] for entry in missing)
        return {"changed": bool(missing), "staged": names, "bytes": size}
