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
import hashlib
import os
import pathlib
import platform
import typing as t

from ..base.errors import JournalError
from .record import BEGINS, Record

#: Seconds without a record after which a run on another machine counts as dead; a wave's soak is added.
SILENCE = 1800.0
#: Tells machines of one host name apart.
MACHINE_ID = "/etc/machine-id"


def controller(pid: int) -> dict[str, t.Any]:
    """What identifies the run whose main process is ``pid``: its machine, boot, pid namespace, pid and start time."""
    return {
        "host": platform.node(),
        "machine": _machine(),
        "boot": _text("/proc/sys/kernel/random/boot_id"),
        "namespace": _link("/proc/self/ns/pid"),
        "pid": pid,
        "begun": _begun(pid),
    }


def newest(records: t.Sequence[Record]) -> Record | None:
    """The record with which the newest run began, from all of them."""
    return next((record for record in reversed(records) if record["event"] in BEGINS), None)


def refuse_second(
    records: t.Sequence[Record], mine: t.Mapping[str, t.Any], soak: float, devices: t.Collection[str] | None = None
) -> None:
    """Raise :class:`JournalError` (``BUSY``) if a run that is not ``mine`` is at work on this rollout.

    So are those who joined a wave, of whom only those matter who have one of ``devices`` if these are given. ``soak``
    is the longest time in seconds for which the plan lets a wave alone, and a run may be silent.
    """
    begin = newest(records)
    if begin is None:
        return
    if not any(record["event"] == "rollout.ended" for record in records[begin["seq"] + 1 :]):
        _refuse(records, begin, mine, soak, "")
    for joined in slices(records):
        if devices is None or not set(devices).isdisjoint(joined["data"]["devices"]):
            _refuse(records, joined, mine, soak, f", who has {len(joined['data']['devices'])} devices of a wave")


def slices(records: t.Sequence[Record]) -> list[Record]:
    """The records with which those began that joined the newest run's wave and have not left it."""
    begin = newest(records)
    found: dict[str, Record] = {}
    for record in records[begin["seq"] + 1 :] if begin else ():
        if record["event"] == "slice.started" and "controller" in record["data"]:
            found[record["data"]["worker"]] = record
        elif record["event"] == "slice.ended":
            found.pop(record["data"]["worker"], None)
    return list(found.values())


def _refuse(records: t.Sequence[Record], begin: Record, mine: t.Mapping[str, t.Any], soak: float, what: str) -> None:
    """Raise :class:`JournalError` (``BUSY``) if who began with the record ``begin`` may still be at work."""
    other = begin["data"].get("controller", {})
    place = ("host", "boot", "namespace")
    who = f"{other.get('user', 'somebody')} on {other.get('host', 'another machine')}{what}"
    if all(other.get(key) == mine.get(key) for key in place):
        if other.get("pid") == mine.get("pid") or _begun(other.get("pid")) != other.get("begun"):
            return
        who += f", process {other['pid']}"
        after = "wait for its end, or stop it"
    elif _same_machine(other, mine) and other.get("boot") != mine.get("boot"):
        return  # this machine was booted since
    else:
        last = datetime.datetime.fromisoformat(records[-1]["time"])
        until = last + datetime.timedelta(seconds=SILENCE + soak)
        if until <= datetime.datetime.now(datetime.UTC):
            return
        after = (
            f"its last record is of {records[-1]['time']}; if that machine is gone, give fleet_ota_take_over=true or "
            f"wait until {until:%Y-%m-%dT%H:%M:%SZ}"
        )
    raise JournalError(f"the rollout {records[0]['rollout']} is run by {who} already: {after}", code="BUSY")


def _same_machine(other: t.Mapping[str, t.Any], mine: t.Mapping[str, t.Any]) -> bool:
    """Whether both ran on one machine. Several may have one host name; not every one tells its id."""
    ids = {one["machine"] for one in (other, mine) if one.get("machine")}
    return other.get("host") == mine.get("host") and len(ids) < 2


def insist(begin: Record | None, generation: int | None) -> None:
    """Raise :class:`JournalError` (``STALE``) if a newer run than ``generation`` follows the rollout.

    ``begin`` is the record with which the newest run began (``newest_run`` of a journal or of its records).
    """
    if generation is None or begin is None or begin["data"]["generation"] <= generation:
        return
    other = begin["data"].get("controller", {})
    raise JournalError(
        f"the rollout {begin['rollout']} was taken over by {other.get('user', 'somebody')} on "
        f"{other.get('host', 'another machine')} at {begin['time']}; this run ends here, follow that one",
        code="STALE",
    )


def _begun(pid: t.Any) -> str | None:
    """When a process began, in the kernel's ticks (proc(5), field 22 of stat); None if there is no such process."""
    if not isinstance(pid, int):
        return None
    text = _text(f"/proc/{pid}/stat")
    # the name in parentheses may hold blanks and parentheses itself
    fields = text.rpartition(")")[2].split() if text else []
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else None


def _machine() -> str | None:
    """A hash of the machine's id, which itself is nobody's business (machine-id(5)); None if there is none."""
    found = _text(MACHINE_ID)
    return hashlib.sha256(found.encode()).hexdigest()[:12] if found and found != "uninitialized" else None


def _text(path: str) -> str | None:
    try:
        return pathlib.Path(path).read_text("utf-8", "replace").strip()
    except OSError:
        return None


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None
