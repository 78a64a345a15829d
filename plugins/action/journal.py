# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keep the record of a rollout: start or resume it, add to it, conclude it, read it."""

from __future__ import annotations

import getpass
import os
import typing as t

from ansible.release import __version__ as ansible_version

from ..plugin_utils._control import journal, outcomes, plan, rollouts, runs
from ..plugin_utils._controller_action import Arguments, ControllerAction, Result, here


class ActionModule(ControllerAction):
    """C(fleet.ota.journal)."""

    argument_spec: t.ClassVar[Arguments] = {
        "state": {"type": "str", "choices": ["started", "recorded", "concluded", "read"], "required": True},
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
    }
    constraints: t.ClassVar[Arguments] = {
        "required_if": [
            ("state", "started", ("journal_dir", "plan")),
            ("state", "recorded", ("path", "device")),
            ("state", "concluded", ("path",)),
            ("state", "read", ("path",)),
        ]
    }

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """Bring the journal to the wanted state."""
        if arguments["state"] == "started":
            return self._start(arguments)
        book = journal.Journal(here(arguments["path"]))
        if arguments["state"] == "recorded":
            return self._record(book, arguments)
        if arguments["state"] == "concluded":
            return self._conclude(book, arguments["generation"])
        return {"changed": False, **_told(book.verify())}

    def _start(self, arguments: Arguments) -> Result:
        directory, made = here(arguments["journal_dir"]), arguments["plan"]
        # the parent: this is one of Ansible's workers, and its end says nothing about the run
        controller = {**runs.controller(os.getppid()), "user": getpass.getuser(), "ansible": ansible_version}
        if self.check:
            started = rollouts.look(directory, made)
        else:
            started = rollouts.start(directory, made, controller, take_over=arguments["take_over"])
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

    def _record(self, book: journal.Journal, arguments: Arguments) -> Result:
        if self.check:
            return {"changed": True}
        fields = {key: arguments[key] for key in ("device", "outcome", "code", "message", "data")}
        record = book.append(arguments["event"], **fields)
        return {"changed": True, "record": record, "checkpoint": book.checkpoint()}

    def _conclude(self, book: journal.Journal, generation: int | None) -> Result:
        if self.check and not book.path.exists():
            return {
                "changed": True,
                "result": None,
                "convicted": [],
                "summary_lines": ["check mode: nothing is recorded"],
            }
        records = book.verify()
        runs.insist(records, generation)
        end = rollouts.conclude(records)
        data = {"result": end.result, "counts": end.counts, "not_as_planned": end.not_as_planned}
        if not self.check:
            records.append(book.append("rollout.ended", data=data))
        told = _told(records)
        stats = {key: told[key] for key in ("rollout", "release", "result", "reason", "counts", "not_as_planned")}
        # Only aggregate statistics come through ansible-runner and AWX, and none from a failing result: so this
        # succeeds whatever the rollout's result, and whoever runs the play convicts after it.
        return {
            "changed": True,
            **told,
            "ansible_stats": {"aggregate": True, "per_host": False, "data": {"fleet_ota": stats}},
        }


def _told(records: list[journal.Record]) -> Result:
    """What a journal says, for results."""
    made = rollouts.current_plan(records)
    end = rollouts.conclude(records)
    release = made["release"]
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
        "generation": rollouts.generation(records),
        "result": end.result,
        "reason": end.reason,
        "counts": end.counts,
        "devices": end.devices,
        "not_as_planned": end.not_as_planned,
        "as_planned": not end.not_as_planned,
        "convicted": _convicted(end),
        "sentences": {row["device"]: _line(row) for row in end.devices},
        "checkpoint": {"rollout": records[0]["rollout"], "size": len(records), "head": records[-1]["hash"]},
        "summary_lines": lines,
    }


def _convicted(end: rollouts.Conclusion) -> list[str]:
    """The devices that the last play fails, so that the run's exit code is not zero if anything is not as planned.

    Those that failed; where none did but something is still open, the first of these, so that a halted rollout of
    thousands does not pay a task for each device that was never touched.
    """
    guilty = [row["device"] for row in end.devices if row["outcome"] in outcomes.FAILURE or row["healthy"] is False]
    return guilty or end.not_as_planned[:1]


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
