# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keep the record of a rollout: start or resume it, add to it, conclude it, read it."""

from __future__ import annotations

import os
import typing as t

from ..plugin_utils._actions import steps
from ..plugin_utils._actions.base import Arguments, Options, Result, named
from ..plugin_utils._actions.controller import ControllerAction, forks, here, targets
from ..plugin_utils._actions.records import account, begin, entries
from ..plugin_utils._control.journal import journal, outcomes
from ..plugin_utils._control.reports import rollouts
from ..plugin_utils._control.rollout import back_off, join, on_halt

STATES = [
    "started",
    "joined",
    "left",
    "recorded",
    "concluded",
    "read",
    "approved",
    "settled",
    "reset",
    "convicted",
    "listed",
]
_RUN = named("journal_dir", "take_over")
#: Which variable stands for an option that is not given; a way back has no waves that a rollout's variables name.
VARIABLES: dict[str, dict[str, str]] = {
    "started": {
        **_RUN,
        **named("until_wave", "open_wave", "plan_digest", "penalty", "notify", "watch"),
        "wave": "fleet_ota_approved_wave",
    },
    "started back": _RUN,
    "joined": {**_RUN, **named("penalty", "wave"), "rollout": "fleet_ota_rollout_id"},
    "concluded": named("until_wave", "notify", "deferred_exit"),
    "settled": named("journal_dir"),
    "listed": named("journal_dir"),
    "reset": named("remark", "by"),
}


class ActionModule(ControllerAction):
    """C(fleet.ota.journal)."""

    within_rollout = True
    argument_spec: t.ClassVar[Options] = {
        "state": {"type": "str", "choices": STATES, "required": True},
        "journal_dir": {"type": "path"},
        "plan": {"type": "dict"},
        "take_over": {"type": "bool", "default": False},
        "generation": {"type": "int"},
        "path": {"type": "path"},
        "event": {
            "type": "str",
            "choices": ["device.pending", "device.outcome", "device.seen"],
            "default": "device.outcome",
        },
        "device": {"type": "str"},
        "outcome": {"type": "str", "choices": sorted(outcomes.ALL)},
        "code": {"type": "str"},
        "message": {"type": "str"},
        "data": {"type": "dict", "default": {}},
        "wave": {"type": "str"},
        "how": {"type": "str", "choices": ["signed", "terminal", "awx"]},
        "by": {"type": "str"},
        "remark": {"type": "str"},
        "approved_waves": {"type": "dict", "default": {}},
        "channel": {"type": "str"},
        "until_wave": {"type": "str"},
        "open_wave": {"type": "str"},
        "bundle": {"type": "path"},
        "rollout": {"type": "str"},
        "slice": {"type": "str"},
        "plan_digest": {"type": "str"},
        "watch": {"type": "float"},
        "penalty": {"type": "dict"},
        "deferred_exit": {"type": "int", "choices": [0, 4], "default": 4},
        "notify": {"type": "list", "elements": "dict", "default": []},
    }
    constraints: t.ClassVar[Arguments] = {
        "required_if": [
            ("state", "started", ("journal_dir", "plan")),
            ("state", "joined", ("journal_dir", "rollout", "wave")),
            ("state", "left", ("path", "slice")),
            ("state", "recorded", ("path", "device")),
            ("state", "concluded", ("path",)),
            ("state", "read", ("path",)),
            ("state", "approved", ("path", "wave", "how")),
            ("state", "settled", ("path", "journal_dir")),
            ("state", "reset", ("remark",)),
            ("state", "convicted", ("message",)),
            ("state", "listed", ("journal_dir",)),
        ],
        "required_by": {"channel": ["journal_dir"], "open_wave": ["bundle"]},
    }

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """Bring the journal to the wanted state."""
        back_off.parse(arguments["penalty"] or {})
        state, check, warn = arguments["state"], self.check, self._display.warning
        if state == "started":
            return begin.start(arguments, check=check, warn=warn)
        if state == "joined":
            return self._join(arguments)
        if state == "listed":
            rows, problems = rollouts.listed(here(arguments["journal_dir"]))
            return {"changed": False, "rollouts": rows, "summary_lines": [*rollouts.lines(rows), *problems]}
        if state == "convicted":
            return account.require_as_planned(arguments["outcome"], arguments["message"])
        if state == "reset":
            return entries.reset(arguments, check=check)
        book = journal.Journal(here(arguments["path"]))
        if state == "left":
            return {"changed": True, "open": [] if check else join.leave(book, arguments["slice"])}
        if state == "recorded":
            return entries.record(book, arguments, check=check)
        if state == "concluded":
            return account.conclude(book, arguments, check=check, warn=warn)
        if state == "approved":
            return entries.let_begin(book, arguments, check=check)
        if state == "settled":
            devices = [] if check else on_halt.record_rollbacks(here(arguments["journal_dir"]), book)
            return {"changed": bool(devices), "rolled_back": devices}
        return {"changed": False, **account.give(book.state())}

    def _join(self, arguments: Arguments) -> Result:
        """The part of the wave with the tasks that its devices need."""
        part = begin.take_part(arguments, targets(self.task_vars), forks(self.task_vars), check=self.check)
        return {**part, "steps": steps.choose(part["order"], self.task_vars, self.inventory, workers=False)}

    def defaults(self, given: Arguments) -> Arguments:
        """What the variables of a rollout say, for each state what belongs to it."""
        state = str(given.get("state"))
        if state == "started" and "back_from" in (given.get("plan") or {}):
            state = "started back"
        wanted = {option: name for option, name in VARIABLES.get(state, {}).items() if option not in given}
        values = {option: self.value(option, name) for option, name in wanted.items()}
        if state in ("started", "reset") and "by" not in given:
            values["by"] = values.get("by") or self.variable("awx_user_name") or self.variable("tower_user_name")
        if state == "concluded" and "until_wave" in values:
            values["until_wave"] = values["until_wave"] or self.variable("fleet_ota_open_wave")
        if state == "reset" and "path" not in given and "channel" not in given:
            values.update(self._place_of_reset())
        return {option: value for option, value in values.items() if value is not None}

    def _place_of_reset(self) -> Arguments:
        """The rollout of C(fleet_ota_rollout_id), or else the breaker of C(fleet_ota_channel)."""
        directory, rollout = self.variable("fleet_ota_journal_dir"), self.variable("fleet_ota_rollout_id")
        if rollout and directory:
            return {"path": os.path.join(str(directory), str(rollout), journal.NAME)}
        return {"journal_dir": directory, "channel": self.variable("fleet_ota_channel")}
