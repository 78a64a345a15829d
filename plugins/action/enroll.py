# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of ``fleet.ota.enroll``: identity and trust root of a device."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.fleet.ota.plugins.plugin_utils._link import action


class ActionModule(action.EngineAction):
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
    }

    def work(self) -> action.Result:
        """One call."""
        identity = dict(self.arguments["identity"])
        identity["name"] = identity.get("name") or self.host
        identity["labels"] = {key: str(value) for key, value in identity["labels"].items()}
        path = Path(self.arguments["trust_root"])
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            return self.failure(
                "TRUST_ROOT", "%s cannot be read: %s; name the root.json to pin" % (path, error.strerror)
            )
        reply = self.call("enroll", identity={"format": 1, **identity}, trust_root=text)
        diff = {"before": reply["before"] or {}, "after": reply["after"]}
        return {"changed": reply["changed"], "root_version": reply["root_version"], "diff": action.shown(diff)}
