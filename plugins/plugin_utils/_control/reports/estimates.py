# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.
"""What a rollout will probably take, from what earlier ones of the same release name took.

Never part of a plan: the next journal changes it.
"""

from __future__ import annotations

import contextlib
import math
import pathlib
import statistics
import typing as t

from ..base.errors import JournalError
from ..base.plan import Plan
from ..journal import journal
from ..journal.state import State

#: Seconds per device where nothing is known.
DEFAULT = 120.0
#: So many journals are read at most, the newest ones.
_JOURNALS = 20


class WaveEstimate(t.TypedDict):
    """Bytes, and seconds by the median and by the 95th percentile, of one wave."""

    name: str
    bytes: int
    seconds: int
    seconds_p95: int


class Total(t.TypedDict):
    """The same of all waves."""

    bytes: int
    seconds: int
    seconds_p95: int


class PerDevice(t.TypedDict):
    """Seconds that an update takes, from how many samples, and where they are from."""

    median: float
    p95: float
    samples: int
    source: str


class Estimate(t.TypedDict):
    """What a plan is expected to cost."""

    per_device: PerDevice
    waves: list[WaveEstimate]
    total: Total


def history(directory: pathlib.Path | None, name: str) -> list[float]:
    """Seconds of each update that succeeded in recorded rollouts of releases called ``name``, newest journals first."""
    seconds: list[float] = []
    paths = sorted(directory.glob(f"*/{journal.NAME}"), key=lambda path: path.stat().st_mtime) if directory else []
    taken = 0
    for path in reversed(paths):
        # a folder is called as its rollout: NAME-VERSION-DIGEST; a release called gateway-x is another one
        if taken >= _JOURNALS or not path.parent.name.startswith(f"{name}-"):
            continue
        with contextlib.suppress(JournalError):  # an estimate must not fail for a ruined journal
            state = State.of(journal.Journal(path).read())
            if state.release_name != name:
                continue
            taken += 1
            seconds += state.seconds
    return seconds


def make(plan: Plan, seconds: t.Sequence[float], forks: int) -> Estimate:
    """Bytes and seconds per wave and in all, from ``history``; at most ``forks`` devices are at work at once.

    ``per_device`` tells the figures and where they are from. ``seconds`` go by the median, ``seconds_p95`` by the 95th
    percentile. Time between runs (windows, approvals) is not in it.
    """
    ordered = sorted(seconds)
    median = statistics.median(ordered) if ordered else DEFAULT
    p95 = ordered[math.ceil(0.95 * len(ordered)) - 1] if ordered else DEFAULT
    source = f"{len(ordered)} earlier updates" if ordered else "a default, no earlier update is recorded"
    waves: list[WaveEstimate] = []
    for wave in plan.waves:
        soak = wave.get("soak", plan.conditions.get("soak", 0))
        rounds = sum(math.ceil(size / max(forks, 1)) for size in wave["turns"])
        waves.append(
            {
                "name": wave["name"],
                "bytes": plan.document["bytes_per_device"] * len(wave["hosts"]),
                "seconds": round(rounds * median + soak),
                "seconds_p95": round(rounds * p95 + soak),
            }
        )
    total: Total = {
        "bytes": sum(wave["bytes"] for wave in waves),
        "seconds": sum(wave["seconds"] for wave in waves),
        "seconds_p95": sum(wave["seconds_p95"] for wave in waves),
    }
    per_device: PerDevice = {
        "median": round(median, 1),
        "p95": round(p95, 1),
        "samples": len(ordered),
        "source": source,
    }
    return {"per_device": per_device, "waves": waves, "total": total}


def lines(estimate: Estimate, plan: Plan) -> list[str]:
    """For people, with a word on updates that take longer than the windows reckon with."""
    total, each = estimate["total"], estimate["per_device"]
    minutes = _span(f"{total['seconds'] / 60:.0f}", f"{total['seconds_p95'] / 60:.0f}")
    span = "less than a minute" if minutes == "0" else f"about {minutes} minute{'' if minutes == '1' else 's'}"
    seconds = _span(f"{each['median']:g}", f"{each['p95']:g}")
    text = [f"takes {span} ({seconds} s per device, from {each['source']})"]
    expected = [schedule["minutes"]["expected"] for schedule in plan.schedules]
    if each["samples"] and expected and each["p95"] > min(expected) * 60:
        text.append(
            f"updates took up to {each['p95'] / 60:.0f} minutes, the windows reckon with {min(expected):g}; raise "
            "fleet_ota_expected_minutes"
        )
    return text


def _span(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"
