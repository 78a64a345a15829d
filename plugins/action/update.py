# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action of ``fleet.ota.update``: the device transaction from the controller's side."""

from __future__ import annotations

import typing as t

from ..plugin_utils._actions import device, options
from ..plugin_utils._actions.base import Arguments, Result
from ..plugin_utils._targets.record import Record
from ..plugin_utils._targets.updater import Options, Step, Updater

#: Outcomes after which there is nothing to send back.
SETTLED = ("current", "refused", "deferred", "restored", "broken")
#: What a transaction is told beside its release.
TRANSACTION = (
    "guard",
    "snapshot",
    "rehearsal",
    "protect",
    "keep_snapshots",
    "interlocks",
    "retry_rejected",
    "repair",
    "take_over",
)


class ActionModule(device.DeviceAction):
    """``state``: applied, extended, confirmed, restored, observed or rolled_back."""

    argument_spec: t.ClassVar[options.Options] = {
        **options.DEVICE_RELEASE,
        **options.UPDATE,
        "state": {
            "type": "str",
            "choices": ["applied", "extended", "confirmed", "restored", "observed", "rolled_back"],
            "default": "applied",
        },
        "confirm": {"type": "bool", "default": False},
        "journal": {"type": "path"},
        "rollout": {"type": "str"},
        "generation": {"type": "int", "default": 0},
        "wait": {"type": "float", "default": 20},
        "name": {"type": "str"},
        "overwrite": {"type": "bool", "default": False},
        "outcome": {"type": "str"},
        "reason": {"type": "str"},
        "peers": {"type": "int", "default": 1},
        "wanted": {"type": "dict"},
        "asking": {"type": "bool", "default": False},
        "watching": {"type": "bool", "default": True},
    }
    constraints: t.ClassVar[Arguments] = options.DEVICE_RELEASE_RULES
    variables: t.ClassVar[t.Mapping[str, str]] = options.UPDATE_VARIABLES

    _record: Record | None = None

    def run(self, tmp: str | None = None, task_vars: Arguments | None = None) -> Result:
        """The step, and with the journal of a slice what was written there, however the step went."""
        result = super().run(tmp, task_vars)
        if self._record and self._record.of_slice:
            reply = self._record.reply
            written = [entry.get("outcome") for entry in self._record.written if entry["event"] == "device.outcome"]
            result["recorded"] = self._record.written
            result["settled"] = any(outcome != "lost" for outcome in written)
            result["remembered"] = {key: reply.get(key) for key in ("instance", "sequence")}
        return result

    def begins(self) -> bool:
        """Not in a rollout, whose plan has looked at the variables of all devices, and not after an update."""
        return self.arguments["state"] == "applied" and not self.arguments["journal"]

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """One step of the transaction; see the module's documentation."""
        state = arguments["state"]
        if self.check:
            return self._dry_run()
        record = Record(arguments["journal"], self.host, arguments["rollout"], arguments["generation"])
        self._record = record
        updater = Updater(self.device, record, self._options())
        if state in ("applied", "rolled_back"):
            return self._begin(updater)
        if state == "extended":
            step = updater.extend(arguments["deadline"])
            return {**self._result(step), "changed": step.outcome is None and bool(step.reply.get("transaction"))}
        if state == "confirmed":
            return self._result(updater.confirm())
        if state == "observed":
            return self._observation(
                updater.observe(arguments["wanted"], asking=arguments["asking"], watching=arguments["watching"])
            )
        if arguments["outcome"] in SETTLED:
            return {"changed": False, "outcome": arguments["outcome"], "msg": "nothing to restore"}
        step = updater.restore("TEAM_CHECK", arguments["reason"] or "the team's own tasks failed")
        # A way back that was asked for is no failure of this task: the outcome is recorded, and the gate reads it.
        return {**self._result(step), "failed": False}

    def _begin(self, updater: Updater) -> Result:
        """Install or go back; with C(confirm), keep it too."""
        arguments = self.arguments
        if arguments["state"] == "applied":
            step = updater.apply(self.offer())
        else:
            step = updater.rollback(arguments["name"], arguments["overwrite"])
        result = {**self._result(step), "rebooted": updater.rebooted}
        if step.outcome is not None:
            return result
        if not arguments["confirm"]:
            if arguments["peers"] > 1:
                updater.wait_for_peers()
            return result
        return {**result, **self._result(updater.confirm()), "diff": result["diff"], "changed": result["changed"]}

    def _dry_run(self) -> Result:
        state, arguments = self.arguments["state"], self.arguments
        if state == "applied":
            settings = {key: arguments[key] for key in ("interlocks", "retry_rejected", "repair")}
            reply = self.call("apply", **self.offer().request(), **settings, data=self._data())
        elif state == "rolled_back":
            reply = self.call("rollback", **{key: arguments[key] for key in ("name", "overwrite", "interlocks")})
        else:
            return {"changed": False, "skipped": True, "msg": f"state {state} has nothing to do in check mode"}
        return {
            "changed": reply.get("outcome") != "current",
            "diff": device.shown(reply.get("diff")),
            **{key: reply.get(key) for key in ("outcome", "release", "before")},
        }

    def _options(self) -> Options:
        arguments = self.arguments
        # after "lost" the whole deadline was waited for just now: one more try, not another wait
        lost = arguments["state"] == "restored" and arguments["outcome"] == "lost"
        return Options(
            deadline=arguments["deadline"],
            timeout=arguments["timeout"],
            wait=arguments["wait"],
            transaction={**{key: arguments[key] for key in TRANSACTION}, "data": self._data()},
            first_contact=0 if lost else arguments["first_contact"],
            splay=arguments["splay"],
        )

    def _data(self) -> list[dict[str, t.Any]]:
        """The data paths, each with what was given for it and nothing else: the release decides the rest."""
        return [{key: value for key, value in one.items() if value is not None} for one in self.arguments["data"]]

    def _result(self, step: Step) -> Result:
        reply = step.reply
        untouched = reply.get("again") or step.outcome in ("current", "refused", "deferred")
        result: Result = {
            **{key: reply.get(key) for key in ("transaction", "state", "release", "before", "health", "seconds")},
            "outcome": step.outcome,
            "code": step.code,
            "diff": device.shown(reply.get("diff")),
            "changed": bool(reply.get("transaction")) and not untouched,
        }
        if step.failed:
            result["failed"] = True
            result["msg"] = f"{self.host}: {step.outcome} ({step.code}): {step.message}"
        return result

    def _observation(self, step: Step) -> Result:
        return {
            "changed": False,
            "outcome": step.outcome,
            "healthy": step.reply.get("healthy"),
            "checks": step.reply.get("checks", {}),
            "release": step.message,
        }
