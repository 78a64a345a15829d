# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of ``fleet.ota.enroll``: identity and trust root of a device, its TLS files, and sealed mode."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.fleet.ota.plugins.plugin_utils._actions import device


class ActionModule(device.EngineAction):
    """A trust root that is pinned stays; only an identity is ever rewritten."""

    SPEC: t.ClassVar[dict[str, t.Any]] = {
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
        "tls": {
            "type": "dict",
            "options": {"ca": {"type": "path"}, "certificate": {"type": "path"}, "key": {"type": "path"}},
            "required_together": [["certificate", "key"]],
        },
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

    def work(self) -> device.Result:
        """One call."""
        identity = dict(self.arguments["identity"])
        identity["name"] = identity.get("name") or self.host
        identity["labels"] = {key: str(value) for key, value in identity["labels"].items()}
        request: dict[str, t.Any] = {"identity": {"format": 1, **identity}}
        try:
            request["trust_root"] = _text(self.arguments["trust_root"])
        except OSError as error:
            message = "%s cannot be read: %s; name the root.json to pin"
            return self.failure("TRUST_ROOT", message % (self.arguments["trust_root"], error.strerror))
        try:
            request["tls"] = _given(self.arguments["tls"], _text)
        except (OSError, ValueError) as error:
            message = "a TLS file cannot be read: %s; name PEM files of this controller"
            return self.failure("TLS", message % (error if isinstance(error, OSError) else "it is not text"))
        request["sealed"] = _given(self.arguments["sealed"], lambda value: value)
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
