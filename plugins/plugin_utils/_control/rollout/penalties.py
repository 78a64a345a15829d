# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Devices that failed in earlier runs of a rollout wait longer after every failure.

NervesHub calls it the penalty box; its pause is constant, this one grows.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ..base.errors import PlanError
from ..base.numbers import is_number
from ..journal import outcomes
from ..journal.record import BEGINS
from .deferrals import Deferral

if t.TYPE_CHECKING:
    from ..journal.record import Record

DEFAULTS: t.Mapping[str, t.Any] = {"first": 3600, "factor": 2, "most": 86400}


@dataclasses.dataclass
class _Failed:
    times: int
    last: datetime.datetime
    outcome: str


def find(
    records: t.Iterable[Record], hosts: t.Iterable[str], settings: t.Mapping[str, t.Any] | None, now: datetime.datetime
) -> dict[str, Deferral]:
    """Those of ``hosts`` whose pause is not over at ``now``, with the reason.

    ``settings`` are ``first`` (seconds after the first failure; 0 for no pauses), ``factor`` (by which each further
    one is longer) and ``most`` (seconds). A failure is an outcome of the gate's failures in an earlier run that no
    success followed; what fails in this run counts for the next. Raises like :func:`check`.
    """
    bounds = check(settings or {})
    failed = _failures(records)
    held = {}
    for name in hosts:
        if name not in failed:
            continue
        one = failed[name]
        try:
            pause = min(bounds["first"] * bounds["factor"] ** (one.times - 1), bounds["most"])
        except OverflowError:
            pause = bounds["most"]
        try:
            until = one.last + datetime.timedelta(seconds=pause)
        except OverflowError:
            until = datetime.datetime.max.replace(tzinfo=datetime.UTC)
        if until > now:
            times = "once" if one.times == 1 else f"{one.times} times"
            message = (
                f"failed {times}, last at {one.last:%Y-%m-%dT%H:%M:%SZ} ({one.outcome}); tried again from "
                f"{until:%Y-%m-%dT%H:%M:%SZ} on"
            )
            held[name] = Deferral("PENALTY", message)
    return held


def _failures(records: t.Iterable[Record]) -> dict[str, _Failed]:
    """The unbroken series of failures of each device, one per attempt, without those of the newest run."""
    series: dict[str, _Failed] = {}
    this_run: dict[str, Record] = {}
    begun: set[str] = set()
    for record in records:
        if record["event"] in BEGINS:
            for ended in this_run.values():
                _book(series, ended, begun)
            this_run = {}
        elif record["event"] == "device.pending":
            # what was on record in this run until now is how an earlier attempt ended
            if record["device"] in this_run:
                _book(series, this_run.pop(record["device"]), begun)
            begun.add(record["device"])
        elif record["event"] == "device.outcome":
            this_run[record["device"]] = record
    for name, record in this_run.items():
        if record["outcome"] in outcomes.SUCCESS | {"current"}:
            series.pop(name, None)
    return series


def _book(series: dict[str, _Failed], record: Record, begun: set[str]) -> None:
    """Count a failure, unless it is that of an attempt which is counted already: the device was asked once more since.

    ``begun`` are the devices whose latest attempt has no outcome yet.
    """
    name, outcome = record["device"], record["outcome"]
    if outcome not in outcomes.FAILURE:
        if outcome != "deferred":
            series.pop(name, None)
    elif name in series and name not in begun and _asked(record):
        series[name].outcome = outcome
    else:
        times = series[name].times + 1 if name in series else 1
        series[name] = _Failed(times, datetime.datetime.fromisoformat(record["time"]), outcome)
    begun.discard(name)


def _asked(record: Record) -> bool:
    """Whether an outcome may have come by asking: no contact, or how a transaction of the device ended."""
    return record["outcome"] in outcomes.UNRESOLVED or bool(record["data"].get("transaction"))


def check(settings: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The settings with defaults. Raises :class:`PlanError` for what cannot be."""
    if not isinstance(settings, dict) or set(settings) - set(DEFAULTS):
        raise PlanError(f"penalty: must be a mapping of {', '.join(DEFAULTS)}, not {settings!r}")
    bounds = {**DEFAULTS, **settings}
    wrong = [
        f"penalty.{key}: must be a number of at least {least}, not {bounds[key]!r}"
        for key, least in (("first", 0), ("factor", 1), ("most", 0))
        if not (is_number(bounds[key]) and bounds[key] >= least)
    ]
    if wrong:
        raise PlanError("; ".join(wrong), problems=wrong)
    return bounds
