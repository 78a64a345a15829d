# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of ``fleet.ota.enroll``: identity and trust root of a device, its TLS files, and sealed mode."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ..plugin_utils._actions import device, options
from ..plugin_utils._actions.base import Arguments, Result


class ActionModule(device.DeviceAction):
    """A trust root that is pinned stays; only an identity is ever rewritten."""

    argument_spec: t.ClassVar[options.Options] = {
        **options.DEVICE,
        "identity": {
            "type": "dict",
            "required": True,
            "options": {
                "name": {"type": "str"},
                "hardware": {"type": "str", "required": True},
                "site": {"type": "str", "default": ""},
                "labels": {"type": "dict", "default": {}},
            },
        },
        "trust_root": {"type": "path", "required": True},
        **options.TLS,
        "sealed": {
            "type": "dict",
            "options": {
                "login": {"type": "str", "required": True},
                "require_approval": {"type": "bool"},
                "rollback": {"type": "bool"},
                "retry_rejected": {"type": "bool"},
                "protect": {"type": "list", "elements": "str"},
                "mirrors": {"type": "list", "elements": "str"},
                "longest_deadline": {"type": "int"},
                "inbox_bytes": {"type": "int"},
            },
        },
    }

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """One call."""
        identity = dict(arguments["identity"])
        identity["name"] = identity.get("name") or self.host
        identity["labels"] = {key: str(value) for key, value in identity["labels"].items()}
        request: dict[str, t.Any] = {"identity": {"format": 1, **identity}}
        try:
            request["trust_root"] = _text(arguments["trust_root"])
        except OSError as error:
            message = f"{arguments['trust_root']} cannot be read: {error.strerror}; name the root.json to pin"
            return self.failure("TRUST_ROOT", message)
        try:
            request["tls"] = _given(arguments["tls"], _text)
        except (OSError, ValueError) as error:
            reason = error if isinstance(error, OSError) else "it is not text"
            return self.failure("TLS", f"a TLS file cannot be read: {reason}; name PEM files of this controller")
        request["sealed"] = _given(arguments["sealed"], lambda value: value)
        reply = self.call("enroll", **request)
        diff = {"before": reply["before"] or {}, "after": reply["after"]}
        return {"changed": reply["changed"], "root_version": reply["root_version"], "diff": device.shown(diff)}


def _text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def _given(options: dict[str, t.Any] | None, change: t.Callable[[t.Any], t.Any]) -> dict[str, t.Any] | None:
    """What was given of a group of options; None if nothing was said about it."""
    if options is None:
        return None
    return {key: change(value) for key, value in options.items() if value is not None}
