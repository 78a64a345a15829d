# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Devices that failed in earlier runs of a rollout wait longer after every failure.

NervesHub calls it the penalty box; its pause is constant, this one grows.
"""

from __future__ import annotations

import datetime
import typing as t

from ..base.errors import PlanError
from ..base.numbers import is_number
from ..journal.state import State
from .deferrals import Deferral


class Settings(t.TypedDict):
    """``first`` and ``most`` in seconds; each further pause is ``factor`` times the one before."""

    first: float
    factor: float
    most: float


DEFAULTS: Settings = {"first": 3600, "factor": 2, "most": 86400}


def waiting(
    state: State, hosts: t.Iterable[str], settings: t.Mapping[str, object] | None, now: datetime.datetime
) -> dict[str, Deferral]:
    """Those of ``hosts`` whose pause is not over at ``now``, with the reason.

    ``settings`` are ``first`` (seconds after the first failure; 0 for no pauses), ``factor`` (by which each further
    one is longer) and ``most`` (seconds). A failure is an outcome of the gate's failures in an earlier run that no
    success followed; what fails in this run counts for the next. Raises like :func:`parse`.
    """
    bounds = parse(settings or {})
    deferrals = {}
    for name in hosts:
        series = state.failures(name)
        if series is None:
            continue
        try:
            pause = min(bounds["first"] * bounds["factor"] ** (series.times - 1), bounds["most"])
        except OverflowError:
            pause = bounds["most"]
        try:
            until = series.last + datetime.timedelta(seconds=pause)
        except OverflowError:
            until = datetime.datetime.max.replace(tzinfo=datetime.UTC)
        if until > now:
            times = "once" if series.times == 1 else f"{series.times} times"
            message = (
                f"failed {times}, last at {series.last:%Y-%m-%dT%H:%M:%SZ} ({series.outcome}); tried again from "
                f"{until:%Y-%m-%dT%H:%M:%SZ} on"
            )
            deferrals[name] = Deferral("PENALTY", message)
    return deferrals


def parse(settings: t.Mapping[str, object]) -> Settings:
    """The settings with defaults. Raises :class:`PlanError` for what cannot be."""
    if not isinstance(settings, dict) or set(settings) - set(DEFAULTS):
        raise PlanError(f"penalty: must be a mapping of {', '.join(DEFAULTS)}, not {settings!r}")
    bounds: dict[str, object] = {**DEFAULTS, **settings}
    problems = []
    for key, least in (("first", 0), ("factor", 1), ("most", 0)):
        value = bounds[key]
        if not (is_number(value) and value >= least):
            problems.append(f"penalty.{key}: must be a number of at least {least}, not {value!r}")
    if problems:
        raise PlanError("; ".join(problems), problems=problems)
    return t.cast(Settings, bounds)
