# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of ``fleet.ota.install``: verify and install under one lock, without a transaction."""

from __future__ import annotations

import typing as t

from ansible_collections.fleet.ota.plugins.plugin_utils._actions import device


class ActionModule(device.EngineAction):
    """For teams that bring their own way back; everybody else takes ``fleet.ota.update``."""

    SPEC: t.ClassVar[dict[str, t.Any]] = {
        **device.RELEASE,
        **device.TRANSFER,
        "retry_rejected": {"type": "bool", "default": False},
        "repair": {"type": "bool", "default": False},
    }
    RULES: t.ClassVar[dict[str, t.Any]] = device.RELEASE_RULES

    def work(self) -> device.Result:
        """Stage what is missing, then install."""
        offer = self.offer()
        request = {**offer.request(), **{key: self.arguments[key] for key in ("retry_rejected", "repair")}}
        reply = self.call("install", **request)
        if reply["missing"] and not self.check:
            request.update(offer.bring(self.device, reply["missing"]))
            reply = self.call("install", **request)
        return {"changed": reply["changed"], "release": reply["release"], "diff": device.shown(reply["diff"])}
