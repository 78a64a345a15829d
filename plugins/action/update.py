# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of ``fleet.ota.update``: the device transaction from the controller's side."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.fleet.ota.plugins.plugin_utils._actions import device
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.record import Record
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.updater import Options, Result, Updater

#: Outcomes after which there is nothing to send back.
SETTLED = ("current", "refused", "deferred", "restored", "broken")
DATA: dict[str, t.Any] = {
    "path": {"type": "str", "required": True},
    "on_restore": {"type": "str", "choices": ["keep", "restore"], "required": True},
    "backup": {"type": "bool"},
}


class ActionModule(device.EngineAction):
    """``state``: applied, extended, confirmed, restored, observed or rolled_back."""

    SPEC: t.ClassVar[dict[str, t.Any]] = {
        **device.RELEASE,
        **device.TRANSFER,
        "state": {
            "type": "str",
            "choices": ["applied", "extended", "confirmed", "restored", "observed", "rolled_back"],
            "default": "applied",
        },
        "journal": {"type": "path"},
        "rollout": {"type": "str"},
        "generation": {"type": "int", "default": 0},
        "take_over": {"type": "bool", "default": False},
        "deadline": {"type": "int", "default": 600},
        "timeout": {"type": "float", "default": 1800},
        "wait": {"type": "float", "default": 20},
        "guard": {"type": "str", "choices": ["auto", "systemd", "process", "none"], "default": "auto"},
        "snapshot": {"type": "str", "choices": ["auto", "files", "btrfs", "lvm"], "default": "auto"},
        "protect": {"type": "list", "elements": "str", "default": []},
        "keep_snapshots": {"type": "int", "default": 1},
        "data": {"type": "list", "elements": "dict", "default": [], "options": DATA},
        "interlocks": {"type": "list", "elements": "dict", "default": []},
        "retry_rejected": {"type": "bool", "default": False},
        "repair": {"type": "bool", "default": False},
        "name": {"type": "str"},
        "overwrite": {"type": "bool", "default": False},
        "outcome": {"type": "str"},
        "reason": {"type": "str"},
        "peers": {"type": "int", "default": 1},
        "first_contact": {"type": "float", "default": 25},
        "wanted": {"type": "dict"},
        "asking": {"type": "bool", "default": False},
    }
    RULES: t.ClassVar[dict[str, t.Any]] = device.RELEASE_RULES

    _record: Record | None = None

    def run(self, tmp: t.Any = None, task_vars: t.Any = None) -> device.Result:
        """The step, and with the journal of a slice what was written there, however the step went."""
        result = super().run(tmp, task_vars)
        if self._record and self._record.of_slice:
            reply = self._record.reply
            result["recorded"] = self._record.written
            result["remembered"] = {key: reply.get(key) for key in ("instance", "sequence")}
        return result

    def work(self) -> device.Result:
        """One step of the transaction; see the module's documentation."""
        args, state = self.arguments, self.arguments["state"]
        if self.check:
            return self._checked()
        record = self._record = Record(args["journal"], self.host, args["rollout"], args["generation"])
        keys = ("guard", "snapshot", "protect", "keep_snapshots", "interlocks", "retry_rejected", "repair", "take_over")
        settings = dict({key: args[key] for key in keys}, data=self._data())
        options = Options(
            args["deadline"], args["timeout"], args["wait"], settings, args["first_contact"], args["splay"]
        )
        if state == "restored" and args["outcome"] == "lost":
            # its whole deadline was waited for just now: one more try, not another wait
            options = dataclasses.replace(options, first_contact=0)
        updater = Updater(self.device, record, options)
        if state in ("applied", "rolled_back"):
            found = (
                updater.apply(self.offer()) if state == "applied" else updater.rollback(args["name"], args["overwrite"])
            )
            if found.outcome is None and args["peers"] > 1:
                updater.wait_for_peers()
            return dict(self._result(found), rebooted=updater.rebooted)
        if state == "extended":
            found = updater.extend(args["deadline"])
            return dict(self._result(found), changed=found.outcome is None and bool(found.reply.get("transaction")))
        if state == "confirmed":
            return self._result(updater.confirm())
        if state == "observed":
            return self._seen(updater.observe(args["wanted"], args["asking"]))
        if args["outcome"] in SETTLED:
            return {"changed": False, "outcome": args["outcome"], "msg": "nothing to restore"}
        found = updater.restore("TEAM_CHECK", args["reason"] or "the team's own tasks failed")
        # A way back that was asked for is no failure of this task: the outcome is recorded, and the gate reads it.
        return dict(self._result(found), failed=False)

    def _checked(self) -> device.Result:
        state, args = self.arguments["state"], self.arguments
        if state == "applied":
            wanted = {key: args[key] for key in ("interlocks", "retry_rejected", "repair")}
            wanted["data"] = self._data()
            reply = self.call("apply", **self.offer().request(), **wanted)
        elif state == "rolled_back":
            wanted = {key: args[key] for key in ("name", "overwrite", "interlocks")}
            reply = self.call("rollback", **wanted)
        else:
            return {"changed": False, "skipped": True, "msg": "state %s has nothing to do in check mode" % state}
        changed = reply.get("outcome") != "current"
        return {"changed": changed, "outcome": reply.get("outcome"), "diff": device.shown(reply.get("diff")),
                "release": reply.get("release"), "before": reply.get("before")}  # fmt: skip

    def _data(self) -> list[dict[str, t.Any]]:
        """The data paths, each with what was said about it and nothing else: the release decides the rest."""
        return [{key: value for key, value in one.items() if value is not None} for one in self.arguments["data"]]

    def _result(self, found: Result) -> device.Result:
        reply = found.reply
        keys = ("transaction", "state", "release", "before", "health", "seconds")
        result = {key: reply.get(key) for key in keys}
        result.update(outcome=found.outcome, code=found.code, diff=device.shown(reply.get("diff")))
        untouched = reply.get("again") or found.outcome in ("current", "refused", "deferred")
        result["changed"] = bool(reply.get("transaction")) and not untouched
        if found.failed:
            result["failed"] = True
            result["msg"] = "%s: %s (%s): %s" % (self.host, found.outcome, found.code, found.message)
        return result

    def _seen(self, found: Result) -> device.Result:
        reply = found.reply
        return {
            "changed": False,
            "outcome": found.outcome,
            "healthy": reply.get("healthy"),
            "checks": reply.get("checks", {}),
            "release": found.message,
        }
