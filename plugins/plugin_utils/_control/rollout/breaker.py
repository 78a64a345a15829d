# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The circuit breaker across rollouts: after so many halted ones of a channel nothing starts (docs/gates.md).

The states are those of the pattern (Nygard, *Release It!*) without a half-open one: whether to try again is for a
person to say, who is on record then.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import typing as t

from ..base import files
from ..base.errors import JournalError, PlanError
from ..base.plan import Plan
from ..journal import journal
from ..journal.journal import Journal
from ..journal.record import HALTED, stamp
from ..journal.state import State

NAME = "resets.jsonl"


class Reset(t.TypedDict):
    """Somebody closed the breaker of a channel: when, who, why, and the halted rollouts that no longer count."""

    time: str
    channel: str
    by: str
    reason: str
    rollouts: list[str]


def halted(directory: pathlib.Path, channel: str) -> list[str]:
    """The rollouts of ``channel`` that were halted since one was completed, or since the last reset, oldest first.

    A rollout counts once however often it was run, and a way back never.
    """
    ends: list[tuple[str, str, str]] = []
    for path in directory.glob(f"*/{journal.NAME}"):
        with contextlib.suppress(JournalError):  # a ruined neighbour must not stop this channel
            ends += _end(State.of(Journal(path).read()), channel)
    ends += [(entry["time"], "reset", "") for entry in resets(directory) if entry["channel"] == channel]
    rollouts: list[str] = []
    for _time, what, rollout in sorted(ends):
        if what == HALTED:
            rollouts.append(rollout)
        else:
            rollouts = []
    return rollouts


def require_closed(directory: pathlib.Path, plan: Plan) -> None:
    """Raise :class:`PlanError` with ``BREAKER`` if the plan's breaker is open. A way back always may begin."""
    setting = plan.conditions["breaker"]
    if not setting or plan.back_from:
        return
    channel = plan.release["channel"]
    rollouts = halted(directory, channel)
    if len(rollouts) >= setting["halts"]:
        raise PlanError(
            f"{len(rollouts)} rollouts of channel {channel} were halted in a row ({', '.join(rollouts[-5:])}), and "
            f"from {setting['halts']} on nothing starts; find out why, then say so with fleet.ota.reset",
            code="BREAKER",
            rollouts=rollouts,
        )


def reset(directory: pathlib.Path, channel: str, by: str, reason: str) -> Reset:
    """Record that ``by`` closes the breaker of ``channel``, and why; returns the entry. Raises :class:`PlanError`."""
    if not reason.strip():
        raise PlanError("a reset needs a reason: say what was found, for whoever asks later")
    kept = halted(directory, channel)
    entry: Reset = {"time": stamp(), "channel": channel, "by": by, "reason": reason, "rollouts": kept}
    files.make_directory(directory, 0o700)
    with files.lock(directory / ".lock"):
        fd = files.open_private(directory / NAME, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(fd, files.canonical(entry) + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
    return entry


def resets(directory: pathlib.Path) -> list[Reset]:
    """Every reset on record, oldest first. Raises :class:`JournalError` for a file that is none."""
    path = directory / NAME
    if not path.exists():
        return []
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except ValueError:
        raise JournalError(f"{path} holds a line that is not JSON; restore it from a backup") from None


def _end(state: State, channel: str) -> list[tuple[str, str, str]]:
    """When and how a rollout of ``channel`` ended: as its newest run that halted or was completed did."""
    plan = state.plan
    if state.end is None or plan.release["channel"] != channel or plan.back_from:
        return []
    moment, result = state.end
    return [(moment, result, plan.rollout)]
