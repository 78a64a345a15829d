# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decide before and after a wave: promote, hold or halt."""

from __future__ import annotations

import typing as t

from ..plugin_utils._control import gate, journal, plan, rollouts
from ..plugin_utils._control.errors import PlanError
from ..plugin_utils._controller_action import Arguments, ControllerAction, Result, here, plain


class ActionModule(ControllerAction):
    """C(fleet.ota.gate)."""

    argument_spec: t.ClassVar[Arguments] = {
        "journal": {"type": "path", "required": True},
        "point": {"type": "str", "choices": ["before", "after"], "required": True},
        "wave": {"type": "int"},
    }

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """Read the journal, decide, and record the decision there."""
        path = here(arguments["journal"])
        before = arguments["point"] == "before"
        book = journal.Journal(path)
        if self.check and not path.exists():
            # a dry run has no journal: nothing was touched, so nothing can have failed
            return _result(gate.Decision(gate.PROMOTE, "check mode: nothing is recorded yet", {}, []), None)
        records = book.verify()
        made = rollouts.current_plan(records)
        batch = plain(task_vars.get("ansible_play_batch", []))
        index = plan.wave_of(made, batch) if arguments["wave"] is None else arguments["wave"]
        if not 0 <= index < len(made["waves"]):
            raise PlanError(f"wave {index} is not in the plan, which has {len(made['waves'])}; count from 0")
        known = journal.standings(records)
        if self.check:
            # a dry run leaves no outcomes: only what real runs recorded can speak
            return _result(gate.decide(made, known, wave=0, before=True), made["waves"][index])
        decision = gate.decide(made, known, wave=index, before=before)
        data = {
            "wave": index,
            "name": made["waves"][index]["name"],
            "decision": decision.decision,
            "reason": decision.reason,
            "counts": decision.counts,
        }
        book.append("wave.started" if before else "wave.ended", data=data)
        return _result(decision, made["waves"][index])


def _result(decision: gate.Decision, wave: t.Mapping[str, t.Any] | None) -> Result:
    keys = ("device", "outcome", "code", "message", "healthy")
    return {
        # recording what is true already is no change of anything that a person cares for
        "changed": False,
        "decision": decision.decision,
        "reason": decision.reason,
        "stop": decision.stop,
        "counts": decision.counts,
        "failures": [{key: getattr(standing, key) for key in keys} for standing in decision.failures],
        "wave": wave["index"] if wave else None,
        "wave_name": wave["name"] if wave else None,
        "hosts": wave["hosts"] if wave else [],
    }
