# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""One run of a rollout at a time: who runs it, whether that run is still alive, and that no older one goes on.

The lock is the journal itself. A lock file would have to be held by a process that lives as long as the run, and
Ansible's tasks run in processes of their own.
"""

from __future__ import annotations

import datetime
import platform
import typing as t

from ..base.errors import JournalError
from . import host
from .state import Controller, Run, State

#: Seconds without a record after which a run on another machine counts as dead; a wave's soak is added.
SILENCE = 1800.0


def controller(pid: int) -> Controller:
    """What identifies the run whose main process is ``pid``: its machine, boot, pid namespace, pid and start time."""
    return {
        "host": platform.node(),
        "machine": host.machine(),
        "boot": host.boot(),
        "namespace": host.pid_namespace(),
        "pid": pid,
        "begun": host.begun(pid),
    }


def require_alone(state: State, mine: Controller, soak: float, devices: t.Collection[str] | None = None) -> None:
    """Raise :class:`JournalError` (``BUSY``) if a run that is not ``mine`` is at work on this rollout.

    So are those who joined a wave, of whom only those matter who have one of ``devices`` if these are given. ``soak``
    is the longest time in seconds for which the plan lets a wave alone, and a run may be silent.
    """
    if state.run is None:
        return
    if not state.run.ended:
        _require_dead(state, state.run.controller, mine, soak, "")
    for part in state.parts.values():
        if devices is None or not set(devices).isdisjoint(part.devices):
            _require_dead(state, part.controller, mine, soak, f", who has {len(part.devices)} devices of a wave")


def _require_dead(state: State, other: Controller, mine: Controller, soak: float, what: str) -> None:
    """Raise :class:`JournalError` (``BUSY``) if the process ``other`` may still be at work."""
    place = ("host", "boot", "namespace")
    who = f"{other.get('user', 'an unknown user')} on {other.get('host', 'another machine')}{what}"
    if all(other.get(key) == mine.get(key) for key in place):
        if other.get("pid") == mine.get("pid") or host.begun(other.get("pid")) != other.get("begun"):
            return
        who += f", process {other['pid']}"
        after = "wait for its end, or stop it"
    elif _same_machine(other, mine) and other.get("boot") != mine.get("boot"):
        return  # this machine was booted since
    else:
        last = datetime.datetime.fromisoformat(state.time)
        until = last + datetime.timedelta(seconds=SILENCE + soak)
        if until <= datetime.datetime.now(datetime.UTC):
            return
        after = (
            f"its last record is of {state.time}; if that machine is gone, give fleet_ota_take_over=true or "
            f"wait until {until:%Y-%m-%dT%H:%M:%SZ}"
        )
    raise JournalError(f"the rollout {state.rollout} is run by {who} already: {after}", code="BUSY")


def _same_machine(other: Controller, mine: Controller) -> bool:
    """Whether both ran on one machine. Several may have one host name; not every one tells its id."""
    ids = {one["machine"] for one in (other, mine) if one.get("machine")}
    return other.get("host") == mine.get("host") and len(ids) < 2


def require_newest(run: Run | None, generation: int | None) -> None:
    """Raise :class:`JournalError` (``STALE``) if ``run``, the newest one, is newer than ``generation``."""
    if generation is None or run is None or run.generation <= generation:
        return
    raise JournalError(
        f"the rollout {run.rollout} was taken over by {run.controller.get('user', 'an unknown user')} on "
        f"{run.controller.get('host', 'another machine')} at {run.time}; this run ends here, follow that one",
        code="STALE",
    )
