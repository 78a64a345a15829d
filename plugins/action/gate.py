# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decide before and after a wave: promote, hold or halt."""

from __future__ import annotations

import datetime
import typing as t

from ..plugin_utils._actions import steps
from ..plugin_utils._actions.base import Arguments, Options, Result, named, plain
from ..plugin_utils._actions.controller import ControllerAction, forks, here
from ..plugin_utils._control.base.errors import ControlError, PlanError
from ..plugin_utils._control.base.plan import Plan, Wave
from ..plugin_utils._control.client import renewal
from ..plugin_utils._control.gate import analysis
from ..plugin_utils._control.gate.decision import HALT, HOLD, PROMOTE, Decision, Finding, decide, weigh
from ..plugin_utils._control.integrations import notify
from ..plugin_utils._control.journal import journal, runs
from ..plugin_utils._control.journal.state import State
from ..plugin_utils._control.rollout import back_off, deferrals, evidence, on_halt
from ..plugin_utils._control.rollout import wave as waves
from ..plugin_utils._workers import worker


class ActionModule(ControllerAction):
    """C(fleet.ota.gate)."""

    within_rollout = True
    argument_spec: t.ClassVar[Options] = {
        "journal": {"type": "path", "required": True},
        "point": {"type": "str", "choices": ["before", "turn", "after"], "required": True},
        "wave": {"type": "int"},
        "turn": {"type": "int"},
        "notify": {"type": "list", "elements": "dict", "default": []},
        "generation": {"type": "int"},
        "penalty": {"type": "dict"},
        "hosts": {"type": "list", "elements": "str"},
        "open_wave": {"type": "str"},
        "watching": {"type": "bool", "default": True},
        "bundle": {"type": "path"},
        "trust_root": {"type": "path"},
        "workers": {"type": "list", "elements": "dict", "options": worker.OPTIONS, "default": []},
    }
    variables: t.ClassVar[t.Mapping[str, str]] = named("notify", "penalty", "open_wave", "workers", "trust_root")
    constraints: t.ClassVar[Arguments] = {"required_if": [("point", "turn", ("turn",))]}

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """Read the journal, decide, and record the decision there."""
        path, point = here(arguments["journal"]), arguments["point"]
        book = journal.Journal(path)
        batch = plain(task_vars.get("ansible_play_batch", []))
        most = worker.together(arguments["workers"], forks(task_vars))
        if self.check and not path.exists():
            # a dry run has no journal: nothing was touched, so nothing can have failed
            decision = Decision(PROMOTE, "check mode: nothing is recorded yet", {}, [])
            turns = _turns([batch], most)
            rest = {"soak": 0, "idle": False, "watching": True, "go": batch, "deferred": [], "approval_wanted": False}
            rest["steps"] = self._steps(batch)
            return {**_result(decision, None), "turns": turns, "turn_of": _turn_of(turns), **rest}
        state = book.state()
        runs.require_newest(state.run, arguments["generation"])
        plan = state.plan
        index = plan.wave_of(batch) if arguments["wave"] is None else arguments["wave"]
        if not 0 <= index < len(plan.waves):
            raise PlanError(f"wave {index} is not in the plan, which has {len(plan.waves)}; count from 0")
        wave = plan.waves[index]
        if point == "turn":
            return self._turn(book, state, wave, arguments, task_vars)
        idle = waves.idle(state, wave)
        wanted = point == "before" and not self.check and waves.unapproved(state, plan, wave)
        results: list[analysis.Result] = []
        if self.check:
            # a dry run leaves no outcomes: only what real runs recorded can speak
            decision = decide(plan, state.standings, wave=0, before=True)
        else:
            untouched = state.gates.held
            decision = decide(plan, state.standings, wave=index, before=point == "before", untouched=untouched)
            if wanted:
                why = f"wave {wave['name']} begins when it is approved (docs/gates.md)"
                decision = weigh(decision, [Finding(HOLD, why, "approval")])
            if point == "after":
                decision, results = self._evidence(book, state, wave, decision, task_vars)
        back = [] if self.check else on_halt.due(state, decision, wave=index, before=point == "before")
        opened = point == "before" and arguments["open_wave"] == wave["name"] and not (decision.stop or idle)
        if not self.check:
            event = "wave.started" if point == "before" else "wave.ended"
            if decision.stop or not idle:
                data = {**_recorded(wave, decision), "roll_back": back, **({"open": True} if opened else {})}
                book.append(event, data=data)
            self._tell(book, arguments["notify"], wave, decision, wanted)
        turns = [] if idle else _turns(Plan.turns(wave), most)
        return {
            **_result(decision, wave),
            "turns": turns,
            "turn_of": _turn_of(turns) if point == "before" else {},
            "idle": idle,
            # what is updated in this run is watched, however long ago the rollout was complete
            "watching": arguments["watching"] or not state.as_planned(wave["hosts"]),
            "opened": opened,
            "steps": self._steps(wave["hosts"]) if point == "before" and not (decision.stop or idle) else None,
            "soak": 0 if self.check else waves.soak(state, wave),
            "approval_wanted": wanted and decision.decision == HOLD,
            "roll_back": back,
            "analysis": [result.as_dict() for result in results],
        }

    def _steps(self, hosts: t.Sequence[str]) -> str:
        # a dry run asks the devices themselves, which workers cannot be asked for
        workers = bool(self.arguments["workers"]) and not self.check
        return steps.choose(hosts, self.task_vars, self.inventory, workers=workers)

    def _evidence(
        self,
        book: journal.Journal,
        state: State,
        wave: Wave,
        decision: Decision,
        task_vars: Arguments,
    ) -> tuple[Decision, list[analysis.Result]]:
        """The decision once analysis and rules have spoken, and what the analysis measured."""
        results: list[analysis.Result] = []
        passed, plan = waves.settled(state, wave), state.plan
        # where the records stop the rollout already, there is nothing to find out and no time to lose
        if not decision.stop and not passed:
            results = evidence.measure(plan, wave, state.standings)
            for result in results:
                book.append("wave.analysis", data={"wave": wave["index"], "name": wave["name"], **result.as_dict()})
        inventory = self.inventory if plan.conditions["rules"] else {}
        sites = {name: str(inventory[name].get("fleet_ota_site", "")) for name in wave["hosts"] if name in inventory}
        newest = evidence.newest(state, wave) if passed else results
        return weigh(decision, evidence.findings(plan, wave, decision, state.standings, newest, sites)), results

    def _tell(
        self,
        book: journal.Journal,
        receivers: list[t.Any],
        wave: Wave,
        decision: Decision,
        wanted: bool,
    ) -> None:
        """Tell people when they are needed; whoever cannot be reached stops nothing."""
        if not (receivers and decision.stop):
            return
        event = notify.HALTED if decision.decision == HALT else notify.WANTED if wanted else notify.HELD
        rollout = book.last()["rollout"]
        text = f"{rollout}, wave {wave['name']}: {decision.decision}, {decision.reason}"
        for problem in notify.tell(book, receivers, notify.Message(event, rollout, text, _recorded(wave, decision))):
            self._display.warning(f"not notified: {problem}")

    def _turn(
        self,
        book: journal.Journal,
        state: State,
        wave: Wave,
        arguments: Arguments,
        task_vars: Arguments,
    ) -> Result:
        """The devices of a turn that may be touched now; others are recorded as deferred unless known better."""
        turn, penalty = arguments["turn"], arguments["penalty"]
        lapsed = self._renew(arguments)
        plan, standings, turns = state.plan, state.standings, Plan.turns(wave)
        if not 0 <= turn < len(turns):
            raise PlanError(f"turn {turn} is not in wave {wave['name']}, which has {len(turns)}; count from 0")
        hosts = turns[turn] if arguments["hosts"] is None else [n for n in turns[turn] if n in arguments["hosts"]]
        open_ = [name for name in hosts if not state.as_planned([name])]
        decision = weigh(decide(plan, standings, wave=wave["index"], before=True), lapsed)
        now = datetime.datetime.now(datetime.UTC)
        held = back_off.waiting(state, open_, penalty, now)
        # who waits anyway takes no room from the others
        held.update(deferrals.find(plan, standings, [name for name in open_ if name not in held], self.inventory, now))
        held = {name: held[name] for name in open_ if name in held}
        if not self.check:
            back = on_halt.due(state, decision, wave=wave["index"], before=False)
            book.append(
                "wave.turn", data={**_recorded(wave, decision), "turn": turn, "hosts": hosts, "roll_back": back}
            )
            for name, why in () if decision.stop else held.items():
                if name not in standings or standings[name].outcome == "deferred":
                    book.outcome(name, "deferred", code=why.code, message=why.message)
        return {
            **_result(decision, wave),
            "go": [] if decision.stop else [name for name in open_ if name not in held],
            "deferred": [{"device": name, "code": why.code, "message": why.message} for name, why in held.items()],
        }

    def _renew(self, arguments: Arguments) -> list[Finding]:
        """Have the devices of the batch given metadata that hold; what cannot be renewed they judge as it is.

        An approval that was taken back or has ended holds the wave: its devices would refuse, and are not to blame.
        """
        if arguments["bundle"] and arguments["trust_root"] and not self.check:
            now = datetime.datetime.now(datetime.UTC)
            try:
                renewal.renew(here(arguments["bundle"]), here(arguments["trust_root"]), now)
            except ControlError as error:
                if error.code == "APPROVAL":
                    return [Finding(HOLD, error.message, "approvals")]
                self._display.warning(f"the release's metadata and approvals cannot be renewed: {error.message}")
        return []


def _turns(turns: t.Sequence[t.Sequence[str]], most: int) -> list[dict[str, t.Any]]:
    """The turns in pieces of at most ``most`` devices, as many as Ansible, or all workers, work on at a time.

    Ansible takes more than that one after the other and confirms the first when it is done with the last: the deadlines
    of the first would pass meanwhile.
    """
    return [
        {"index": index, "hosts": list(hosts[begin : begin + most])}
        for index, hosts in enumerate(turns)
        for begin in range(0, len(hosts), most)
    ]


def _turn_of(turns: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, list[int]]:
    """Where each device's own is in ``turns``, so that no device looks through all of them."""
    return {name: [position] for position, turn in enumerate(turns) for name in turn["hosts"]}


def _recorded(wave: Wave, decision: Decision) -> dict[str, t.Any]:
    return {
        "wave": wave["index"],
        "name": wave["name"],
        "decision": decision.decision,
        "reason": decision.reason,
        "counts": decision.counts,
    }


def _result(decision: Decision, wave: Wave | None) -> Result:
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
