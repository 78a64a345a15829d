# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The account of a rollout: what came of it, in results and in sentences, and which devices the run fails for."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail

from ..._control.base.plan import Plan
from ..._control.integrations import notify
from ..._control.journal import journal, outcomes, runs
from ..._control.journal.record import HALTED
from ..._control.journal.state import State
from ..._control.rollout import on_halt, rollout
from ..base import Arguments, Result
from .begin import Warn, tell

_DEFERRED = "deferred"


def conclude(book: journal.Journal, arguments: Arguments, *, check: bool, warn: Warn) -> Result:
    """Seal the run and give its account; it succeeds whatever the rollout's result."""
    if check and not book.path.exists():
        lines = ["check mode: nothing is recorded"]
        return {"changed": True, "result": None, "convicted": [], "deferred": False, "summary_lines": lines}
    state = book.state()
    runs.require_newest(state.run, arguments["generation"])
    end = rollout.result_of(state)
    data = {"result": end.result, "counts": end.counts, "not_as_planned": end.not_as_planned}
    if not check:
        state.feed(book.append("rollout.ended", data=data))
    account = give(state, arguments["until_wave"])
    if account["deferred"] and arguments["deferred_exit"] == 0:
        account["convicted"] = []
    stats = {key: account[key] for key in ("rollout", "release", "result", "reason", "counts", "not_as_planned")}
    if not check:
        text = f"{account['rollout']}: {account['result']}, {account['reason']}"
        message = notify.Message(notify.ENDED, account["rollout"], text, stats)
        tell(book, arguments["notify"], message, warn)
    # Only aggregate statistics come through ansible-runner and AWX, and none from a failing result: so this succeeds
    # whatever the rollout's result, and the play that follows fails.
    aggregate = {"aggregate": True, "per_host": False, "data": {"fleet_ota": stats}}
    return {"changed": True, **account, "ansible_stats": aggregate}


def give(state: State, until: str | None = None) -> Result:
    """What a journal says, for results. A run that was to go ``until`` a wave leaves those after it out of account."""
    plan, end = state.plan, rollout.result_of(state)
    deferred = _is_deferred(end)
    release, convicted = plan.release, _convicted(end, plan, until)
    lines = [
        f"{release['name']} {release['version']}: {end.result}, {end.reason}",
        *(_line(row, plan) for row in end.devices),
        *(f"{entry['host']}: skipped, {entry['reason']}" for entry in plan.document["skipped"]),
    ]
    return {
        "rollout": state.rollout,
        "release": release,
        "plan": plan.document,
        "order": plan.order(),
        "generation": state.generation,
        "result": end.result,
        "reason": end.reason,
        "counts": end.counts,
        "devices": end.devices,
        "not_as_planned": end.not_as_planned,
        "as_planned": not end.not_as_planned,
        "convicted": convicted,
        "deferred": deferred,
        "roll_back": on_halt.wanted_back(state),
        "sentences": {row["device"]: _line(row, plan) for row in end.devices} | _blame(end, convicted),
        "checkpoint": state.checkpoint(),
        "summary_lines": lines,
    }


def require_as_planned(outcome: str | None, message: str) -> Result:
    """The result of a task for a device that is not as planned. Raises AnsibleActionFail unless it is only deferred.

    That one counts as unreachable: then C(ansible-playbook) ends with 4 where failures alone make it end with 2, and
    there is no third way to tell a scheduler.
    """
    if outcome == _DEFERRED:
        return {"changed": False, "unreachable": True, "msg": message}
    raise AnsibleActionFail(message)


def _is_deferred(end: rollout.Conclusion) -> bool:
    """Whether devices that are deferred, and those that wait for them, are all that is not as planned."""
    open_ones = [row["outcome"] for row in end.devices if row["device"] in set(end.not_as_planned)]
    waits = all(outcome in (_DEFERRED, None) for outcome in open_ones)
    return end.result != HALTED and waits and _DEFERRED in open_ones


def _convicted(end: rollout.Conclusion, plan: Plan, until: str | None) -> list[str]:
    """The devices that the last play fails, so that the run's exit code is not zero if anything is not as planned.

    Those that failed; where none did but something is still open, the first of these, so that a halted rollout of
    thousands does not pay a task for each device that was never touched. A rollout that its gate stopped after every
    device was updated needs somebody to say so too.
    """
    if _is_deferred(end) and until is None and end.opened < 0:
        return [row["device"] for row in end.devices if row["outcome"] == _DEFERRED][:1]
    convicted = [row["device"] for row in end.devices if row["outcome"] in outcomes.FAILURE or row["healthy"] is False]
    if convicted:
        return convicted
    ends = {wave["name"]: wave["index"] for wave in plan.waves}
    if end.opened >= 0:
        due = [name for wave in plan.waves[: end.opened] for name in wave["hosts"]]
        return [name for name in end.not_as_planned if name in due][:1]
    if until in ends and end.ended >= ends[until]:
        if ends[until] < len(plan.waves) - 1:
            return []  # the gate promoted it: devices that wait keep no workflow from its next wave
        due = [name for wave in plan.waves[: ends[until] + 1] for name in wave["hosts"]]
        return [name for name in end.not_as_planned if name in due][:1]
    return end.not_as_planned[:1] or ([end.devices[0]["device"]] if end.result != rollout.COMPLETE else [])


def _blame(end: rollout.Conclusion, convicted: list[str]) -> dict[str, str]:
    """What to say of a device that stands for the whole rollout."""
    stand_ins = [
        row["device"] for row in end.devices if row["device"] in convicted and row["device"] not in end.not_as_planned
    ]
    return dict.fromkeys(stand_ins, f"the rollout is {end.result}: {end.reason}")


def _line(row: t.Mapping[str, t.Any], plan: Plan) -> str:
    if row["outcome"] is None:
        return f"{row['device']} ({row['wave']}): untouched"
    health = "" if row["healthy"] else ", unhealthy when last seen"
    health += f", could not be asked since ({row['unseen']})" if row["unseen"] else ""
    runs = _release(row["after"])
    # a way back is a rollout of its own, in which the release before is what a device is brought to
    outcome = "rolled back" if plan.back_from and row["outcome"] == "updated" else row["outcome"]
    cause = ": ".join(part for part in (row["code"], row["message"]) if part)
    return (
        f"{row['device']} ({row['wave']}): {outcome}{health}{', runs ' + runs if runs else ''}"
        f"{', ' + cause if cause else ''}"
    )


def _release(release: t.Any) -> str | None:
    """Name and version, from what a device told of a release."""
    if isinstance(release, dict) and {"name", "version"} <= set(release):
        return f"{release['name']} {release['version']}"
    return None
