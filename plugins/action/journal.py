# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keep the record of a rollout: start or resume it, add to it, conclude it, read it."""

from __future__ import annotations

import getpass
import os
import pathlib
import typing as t

from ansible.release import __version__ as ansible_version

from ..plugin_utils._actions.controller import Arguments, ControllerAction, Options, Result, forks, here, targets
from ..plugin_utils._control.base.errors import PlanError
from ..plugin_utils._control.client.bundle import Bundle
from ..plugin_utils._control.integrations import notify
from ..plugin_utils._control.journal import checkpoints, journal, outcomes, runs
from ..plugin_utils._control.journal.record import Record
from ..plugin_utils._control.planning import plan
from ..plugin_utils._control.planning.text import some
from ..plugin_utils._control.rollout import breaker, join, on_halt, penalties, rollout
from ..plugin_utils._control.rollout.wave import approve, approved

STATES = ["started", "joined", "left", "recorded", "concluded", "read", "approved", "settled", "reset"]


class ActionModule(ControllerAction):
    """C(fleet.ota.journal)."""

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
        "penalty": {"type": "dict"},
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
        ],
        "required_by": {"channel": ["journal_dir"], "open_wave": ["bundle"]},
    }

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """Bring the journal to the wanted state."""
        penalties.check(arguments["penalty"] or {})
        if arguments["state"] == "started":
            return self._start(arguments)
        if arguments["state"] == "reset":
            return self._reset(arguments)
        if arguments["state"] == "joined":
            return self._join(arguments, task_vars)
        book = journal.Journal(here(arguments["path"]))
        if arguments["state"] == "left":
            return {"changed": True, "open": [] if self.check else join.leave(book, arguments["slice"])}
        if arguments["state"] == "recorded":
            return self._record(book, arguments)
        if arguments["state"] == "concluded":
            return self._conclude(book, arguments)
        if arguments["state"] == "approved":
            return self._approve(book, arguments)
        if arguments["state"] == "settled":
            done = [] if self.check else on_halt.settle(here(arguments["journal_dir"]), book)
            return {"changed": bool(done), "rolled_back": done}
        return {"changed": False, **_told(book.verify())}

    def _start(self, arguments: Arguments) -> Result:
        directory, made = here(arguments["journal_dir"]), arguments["plan"]
        self._meant(made, arguments)
        breaker.insist(directory, made)
        notify.check(arguments["notify"])
        controller = _controller()
        if self.check:
            started = rollout.look(directory, made)
        else:
            started = rollout.start(directory, made, controller, take_over=arguments["take_over"])
            self._started(directory, started, made, arguments)
        return {
            "changed": True,
            "rollout": started.rollout,
            "generation": started.generation,
            "path": str(started.path),
            "resumed": started.resumed,
            "unresolved": started.unresolved,
            "done": started.done,
            "touched": started.touched,
            "checkpoint": None if self.check else journal.Journal(started.path).checkpoint(),
        }

    def _started(
        self, directory: pathlib.Path, started: rollout.Started, made: plan.Plan, arguments: Arguments
    ) -> None:
        """What else is on record when a run begins: who went back meanwhile, and which waves were approved."""
        book = journal.Journal(started.path)
        if started.resumed:
            on_halt.settle(directory, book)
        for name, paths in arguments["approved_waves"].items():
            approve(book, made, name, how="signed", by=", ".join(paths))
        if arguments["wave"]:
            # AWX starts this run only once its approval node has let the wave begin
            approve(book, made, arguments["wave"], how="awx", by=arguments["by"] or "AWX")
        release = made["release"]
        if arguments["open_wave"]:
            # those who join may be on other machines, which share no more than the journal's disk
            Bundle.load(here(arguments["bundle"])).save(started.path.with_name(join.BUNDLE))
        text = (
            f"{release['name']} {release['version']}: run {started.generation} begins, {len(plan.order(made))} devices"
        )
        data = {"release": release, "generation": started.generation, "targets": made["targets"]}
        self._tell(book, arguments["notify"], notify.Message(notify.STARTED, started.rollout, text, data))

    def _join(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """Take part in a wave that a run opened, with the devices of this play."""
        directory, hosts = here(arguments["journal_dir"]), targets(task_vars)
        place, controller = (directory, arguments["rollout"], arguments["wave"], hosts), _controller()
        if self.check:
            joined = join.look(*place, "check mode")
        else:
            joined = join.join(*place, controller, take_over=arguments["take_over"])
        return {
            "changed": bool(joined.hosts),
            "rollout": joined.rollout,
            "generation": joined.generation,
            "path": str(joined.path),
            "bundle": str(joined.bundle),
            "slice": joined.slice,
            "order": joined.hosts,
            "serial": [forks(task_vars)],
        }

    def _tell(self, book: journal.Journal, receivers: list[t.Any], message: notify.Message) -> None:
        for problem in notify.tell(book, receivers, message):
            self._display.warning(f"not notified: {problem}")

    def _approve(self, book: journal.Journal, arguments: Arguments) -> Result:
        made, name = rollout.current_plan(book.verify()), arguments["wave"]
        self._known(made, name)
        who = {"how": arguments["how"], "by": arguments["by"] or getpass.getuser(), "remark": arguments["remark"]}
        changed = name not in approved(book.read(), made)
        if changed and not self.check:
            approve(book, made, name, **who, data=arguments["data"] or None)
        return {"changed": changed, "wave": name, **who}

    def _meant(self, made: plan.Plan, arguments: Arguments) -> None:
        """Refuse a plan that is not the one that was exported or approved, before anything of it is on record."""
        wanted = arguments["plan_digest"]
        if wanted and wanted != made["digest"]:
            raise PlanError(
                f"the plan of {made['rollout']} is {made['digest'][:12]} now and was {wanted[:12]} when exported; "
                "export it again, and let it be approved again"
            )
        if not made["waves"]:
            raise PlanError(_nobody(made))
        for name in (arguments["wave"], arguments["until_wave"], arguments["open_wave"]):
            if name:
                # a run until a wave that is not there would go on to the end
                self._known(made, name)

    @staticmethod
    def _known(made: plan.Plan, wave: str) -> None:
        names = [entry["name"] for entry in made["waves"]]
        if wave not in names:
            raise PlanError(f"the plan {made['rollout']} has no wave {wave!r}; it has {', '.join(names)}")

    def _reset(self, arguments: Arguments) -> Result:
        """Close the breaker of a channel, or let a rollout that was taken back be tried again."""
        by, reason = arguments["by"] or getpass.getuser(), arguments["remark"]
        if (arguments["channel"] is None) == (arguments["path"] is None):
            raise PlanError("a reset is of a channel's breaker or of one rollout: give channel or path")
        if not reason.strip():
            raise PlanError("a reset needs a reason: say what was found, for whoever asks later")
        if arguments["path"]:
            book = journal.Journal(here(arguments["path"]))
            known = outcomes.standings(book.verify()).items()
            back = [name for name, standing in known if standing.taken_back]
            ahead = [name for name, standing in known if standing.ahead]
            data = {"by": by, "reason": reason, "devices": back, **({"ahead": ahead} if ahead else {})}
            if (back or ahead) and not self.check:
                book.append("rollout.reset", data=data)
            return {"changed": bool(back or ahead), "by": by, "rolled_back": back, "ahead": ahead}
        directory, channel = here(arguments["journal_dir"]), arguments["channel"]
        found = breaker.halted(directory, channel)
        if found and not self.check:
            breaker.reset(directory, channel, by, reason)
        return {"changed": bool(found), "by": by, "rollouts": found}

    def _record(self, book: journal.Journal, arguments: Arguments) -> Result:
        if self.check:
            return {"changed": True}
        fields = {key: arguments[key] for key in ("device", "outcome", "code", "message", "data")}
        record = book.append(arguments["event"], **fields)
        return {"changed": True, "record": record, "checkpoint": book.checkpoint()}

    def _conclude(self, book: journal.Journal, arguments: Arguments) -> Result:
        if self.check and not book.path.exists():
            return {
                "changed": True,
                "result": None,
                "convicted": [],
                "summary_lines": ["check mode: nothing is recorded"],
            }
        records = book.verify()
        runs.insist(runs.newest(records), arguments["generation"])
        end = rollout.conclude(records)
        data = {"result": end.result, "counts": end.counts, "not_as_planned": end.not_as_planned}
        if not self.check:
            records.append(book.append("rollout.ended", data=data))
        told = _told(records, arguments["until_wave"])
        stats = {key: told[key] for key in ("rollout", "release", "result", "reason", "counts", "not_as_planned")}
        if not self.check:
            text = f"{told['rollout']}: {told['result']}, {told['reason']}"
            self._tell(book, arguments["notify"], notify.Message(notify.ENDED, told["rollout"], text, stats))
        # Only aggregate statistics come through ansible-runner and AWX, and none from a failing result: so this
        # succeeds whatever the rollout's result, and whoever runs the play convicts after it.
        return {
            "changed": True,
            **told,
            "ansible_stats": {"aggregate": True, "per_host": False, "data": {"fleet_ota": stats}},
        }


def _controller() -> dict[str, t.Any]:
    # the parent: this is one of Ansible's workers, and its end says nothing about the run
    return {**runs.controller(os.getppid()), "user": getpass.getuser(), "ansible": ansible_version}


def _nobody(made: plan.Plan) -> str:
    """Why a plan without waves is not begun."""
    reasons: dict[str, list[str]] = {}
    for entry in made["skipped"]:
        reasons.setdefault(entry["reason"], []).append(entry["host"])
    shown = [f"{some(names, 3)} ({reason})" for reason, names in list(reasons.items())[:5]]
    more = "; ..." if len(reasons) > 5 else ""
    return (
        f"no device is left to update: {made['rollout']} skips {'; '.join(shown)}{more}; correct waves, hosts or "
        "--limit, or roll out what they can take (fleet.ota.plan explains each)"
    )


def _told(records: list[Record], until: str | None = None) -> Result:
    """What a journal says, for results. A run that was to go ``until`` a wave leaves those after it out of account."""
    made = rollout.current_plan(records)
    end = rollout.conclude(records)
    release, guilty = made["release"], _convicted(end, made, until)
    lines = [
        f"{release['name']} {release['version']}: {end.result}, {end.reason}",
        *(_line(row) for row in end.devices),
        *(f"{entry['host']}: skipped, {entry['reason']}" for entry in made["skipped"]),
    ]
    return {
        "rollout": records[0]["rollout"],
        "release": release,
        "plan": made,
        "order": plan.order(made),
        "generation": rollout.generation(records),
        "result": end.result,
        "reason": end.reason,
        "counts": end.counts,
        "devices": end.devices,
        "not_as_planned": end.not_as_planned,
        "as_planned": not end.not_as_planned,
        "convicted": guilty,
        "roll_back": on_halt.wanted(records),
        "sentences": {row["device"]: _line(row) for row in end.devices} | _blame(end, guilty),
        "checkpoint": checkpoints.of(records),
        "summary_lines": lines,
    }


def _convicted(end: rollout.Conclusion, made: plan.Plan, until: str | None) -> list[str]:
    """The devices that the last play fails, so that the run's exit code is not zero if anything is not as planned.

    Those that failed; where none did but something is still open, the first of these, so that a halted rollout of
    thousands does not pay a task for each device that was never touched. A rollout that its gate stopped after every
    device was updated needs somebody to say so too.
    """
    guilty = [row["device"] for row in end.devices if row["outcome"] in outcomes.FAILURE or row["healthy"] is False]
    if guilty:
        return guilty
    ends = {wave["name"]: wave["index"] for wave in made["waves"]}
    if end.opened >= 0:
        due = [name for wave in made["waves"][: end.opened] for name in wave["hosts"]]
        return [name for name in end.not_as_planned if name in due][:1]
    if until in ends and end.ended >= ends[until]:
        due = [name for wave in made["waves"][: ends[until] + 1] for name in wave["hosts"]]
        return [name for name in end.not_as_planned if name in due][:1]
    return end.not_as_planned[:1] or ([end.devices[0]["device"]] if end.result != rollout.COMPLETE else [])


def _blame(end: rollout.Conclusion, guilty: list[str]) -> dict[str, str]:
    """What to say of a device that stands for the whole rollout."""
    stands = [
        row["device"] for row in end.devices if row["device"] in guilty and row["device"] not in end.not_as_planned
    ]
    return dict.fromkeys(stands, f"the rollout is {end.result}: {end.reason}")


def _line(row: t.Mapping[str, t.Any]) -> str:
    if row["outcome"] is None:
        return f"{row['device']} ({row['wave']}): untouched"
    health = "" if row["healthy"] else ", unhealthy when last seen"
    runs = _release(row["after"])
    cause = ": ".join(part for part in (row["code"], row["message"]) if part)
    return (
        f"{row['device']} ({row['wave']}): {row['outcome']}{health}{', runs ' + runs if runs else ''}"
        f"{', ' + cause if cause else ''}"
    )


def _release(known: t.Any) -> str | None:
    """Name and version, from what a device told of a release."""
    if isinstance(known, dict) and {"name", "version"} <= set(known):
        return f"{known['name']} {known['version']}"
    return None
