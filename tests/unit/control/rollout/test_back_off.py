# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a device that failed is left alone."""

from __future__ import annotations

import datetime
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import PlanError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal import outcomes
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.record import Record
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.state import State
from ansible_collections.fleet.ota.plugins.plugin_utils._control.rollout import back_off
from ansible_collections.fleet.ota.plugins.plugin_utils._control.rollout.deferrals import Deferral

T0 = datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.UTC)


def record(event: str, time: str, data: dict[str, t.Any]) -> dict[str, t.Any]:
    return {"event": event, "time": time, "rollout": "gateway-2.0-1a2b3c4d", "data": data, "hash": ""}


def waiting(
    records: list[dict[str, t.Any]], settings: dict[str, t.Any] | None, now: datetime.datetime
) -> dict[str, Deferral]:
    """Whether d1 waits after these records."""
    return back_off.waiting(State.of(t.cast(list[Record], records)), ["d1"], settings, now)


def records(*runs: str | None) -> list[dict[str, t.Any]]:
    """One run per hour from T0 on, and what became of d1 in it; the last run is the one that asks."""
    found: list[dict[str, t.Any]] = []
    for number, outcome in enumerate(runs):
        time = (T0 + datetime.timedelta(hours=number)).isoformat()
        event = "rollout.resumed" if number else "rollout.started"
        found.append(record(event, time, {"generation": number + 1}))
        if outcome and outcome != "deferred":
            found.append({**record("device.pending", time, {}), "device": "d1"})
        if outcome:
            found.append(ended(outcome, number))
    return found


def ended(outcome: str, hours: float, **data: t.Any) -> dict[str, t.Any]:
    """What became of d1, without that it was touched."""
    time = (T0 + datetime.timedelta(hours=hours)).isoformat()
    return {**record("device.outcome", time, data), "device": "d1", "outcome": outcome}


def begin(hours: float) -> dict[str, t.Any]:
    time = (T0 + datetime.timedelta(hours=hours)).isoformat()
    return record("rollout.resumed", time, {"generation": 2})


def message(found: list[dict[str, t.Any]]) -> str:
    """Why d1 waits in the run that begins after all of this, an hour after the latest."""
    now = datetime.datetime.fromisoformat(found[-1]["time"]) + datetime.timedelta(hours=1)
    held = waiting([*found, begin(1000)], {"first": 1e6, "most": 1e9}, now)
    return held["d1"].message.partition(";")[0]


def waits(runs: list[dict[str, t.Any]], settings: dict[str, t.Any] | None = None) -> float | None:
    """Until how many hours after T0 the device waits; None if it does not."""
    for hour in range(1000):
        now = T0 + datetime.timedelta(hours=hour)
        if now >= datetime.datetime.fromisoformat(runs[-1]["time"]) and not waiting(runs, settings, now):
            started = datetime.datetime.fromisoformat(runs[-1]["time"])
            return None if now == started else hour
    return 1000


@pytest.mark.parametrize("outcome", ["lost", "timed_out", "restored", "refused", "broken"])
def test_after_each_failure_the_pause_is_longer(outcome: str) -> None:
    settings = {"first": 7200, "factor": 2, "most": 5 * 3600}
    assert waits(records(outcome, None), settings) == 2
    assert waits(records(outcome, outcome, None), settings) == 1 + 4
    assert waits(records(outcome, outcome, outcome, None), settings) == 2 + 5, "no longer than the longest"


def test_success_and_a_device_that_never_failed_wait_for_nothing() -> None:
    for runs in (records(None, None), records("updated", None), records("lost", "updated", None)):
        assert waits(runs) is None
    # also for what succeeded in this very run
    now = T0 + datetime.timedelta(hours=1)
    assert waiting(records("lost", "updated"), {"first": 7200}, now) == {}
    assert "failed once, last" in waiting(records("lost", "deferred"), {"first": 7200}, now)["d1"].message
    # and the series begins anew
    assert waits(records("lost", "lost", "current", "lost", None), {"first": 7200}) == 3 + 2


def test_one_failure_counts_once_however_often_the_device_is_asked_about_it() -> None:
    lost = records("lost")
    once = "failed once, last at 2026-11-24T12:00:00Z"
    assert message(lost) == f"{once} (lost)"
    # its guard took it back, as the next run hears
    heard = [*lost, begin(1), ended("restored", 1, transaction="t1")]
    assert message(heard) == f"{once} (restored)"
    # then it was switched off when a run looked at it, and was there again
    away = [*heard, begin(2), ended("lost", 2)]
    assert message(away) == f"{once} (lost)"
    back = [*away, begin(3), ended("restored", 3, transaction="t1")]
    assert message(back) == f"{once} (restored)"
    # this one is another attempt
    another = [*back, *records(None, None, None, None, "lost")[1:]]
    assert message(another) == "failed 2 times, last at 2026-11-24T16:00:00Z (lost)"


def test_every_attempt_counts_also_one_that_a_later_run_hears_of() -> None:
    killed = records("lost")[:-1]  # touched, and the controller died
    assert message([*killed, begin(1), ended("lost", 1)]) == "failed once, last at 2026-11-24T13:00:00Z (lost)"
    again = [*records("lost", "lost")[:-1], begin(2), ended("restored", 2, transaction="t2")]
    assert message(again) == "failed 2 times, last at 2026-11-24T14:00:00Z (restored)"
    # asked about the first, then touched once more in the same run
    both = [*killed, begin(1), ended("restored", 1, transaction="t1"), killed[-1], ended("lost", 1.5)]
    assert message(both) == "failed 2 times, last at 2026-11-24T13:30:00Z (lost)"
    # the team's own tasks stopped it before it was touched
    for before in ("lost", "restored"):
        stopped = [*records(before), begin(1), ended("refused", 1)]
        assert message(stopped) == "failed 2 times, last at 2026-11-24T13:00:00Z (refused)"
    # was as planned, and is not there now
    for success in outcomes.AS_PLANNED:
        gone = [*records("lost", success), begin(2), ended("lost", 2)]
        assert message(gone) == "failed once, last at 2026-11-24T14:00:00Z (lost)"


def test_being_deferred_neither_ends_the_series_nor_lengthens_it() -> None:
    assert waits(records("lost", "deferred", None), {"first": 3 * 3600}) == 3
    assert waits(records("deferred", None)) is None


def test_what_fails_in_this_run_counts_for_the_next() -> None:
    assert waiting(records("lost"), None, T0) == {}


def test_the_sentence_says_how_often_and_until_when() -> None:
    held = waiting(records("lost", "restored", None), None, T0)["d1"]
    assert held.code == "PENALTY"
    assert held.message == (
        "failed 2 times, last at 2026-11-24T13:00:00Z (restored); tried again from 2026-11-24T15:00:00Z on"
    )


def test_no_pauses_and_endless_growth() -> None:
    assert waiting(records("lost", None), {"first": 0}, T0) == {}
    many = records(*["lost"] * 2000, None)
    now = T0 + datetime.timedelta(hours=2001)
    assert waiting(many, {"factor": 10.0}, now)
    for settings in ({"first": 1e300, "most": 1e300}, {"factor": 1e9, "most": 1e12}):
        assert "from 9999-12-31" in waiting(many, settings, now)["d1"].message


@pytest.mark.parametrize(
    "settings",
    [
        {"first": -1},
        {"factor": 0.5},
        {"most": float("nan")},
        {"first": float("inf")},
        {"most": "1h"},
        {"last": 1},
        [3600],
    ],
)
def test_settings_that_cannot_be_are_refused(settings: t.Any) -> None:
    with pytest.raises(PlanError):
        waiting([], settings, T0)
