# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""People in a whole rollout: who lets a wave begin in a terminal and in AWX, and who is told what becomes of it."""

from __future__ import annotations

import contextlib
import json
import socket
import typing as t

import pytest

from tests.unit.control.receiver import Receiver

from . import terminal

if t.TYPE_CHECKING:
    from .conftest import Fleet, MakeFleet

pytestmark = pytest.mark.one_core

WAVES = [
    {"name": "one", "hosts": ["d1"]},
    {"name": "two", "hosts": ["d2"], "approval": True},
    {"name": "three", "hosts": ["d3"], "approval": True},
]
PROMPT, READ = "Its name lets it begin", "Ask the gate again"
NO = {"ansible.builtin.fail": {"msg": "the team says no"}}


def approved(fleet: Fleet) -> list[tuple[str, str, str]]:
    data = [one["data"] for one in fleet.records() if one["event"] == "wave.approved"]
    return [(one["name"], one["how"], one["by"]) for one in data]


def told(receiver: Receiver) -> list[tuple[str, str]]:
    """Event and text of everything that came, in order, each attempt."""
    events = [json.loads(request.body) for request in receiver.requests]
    return [(event["type"].removeprefix("fleet.ota.rollout."), event["data"]["text"]) for event in events]


def notified(fleet: Fleet) -> list[tuple[str, str, str]]:
    found = [one for one in fleet.records() if one["event"].startswith("notify.")]
    return [(one["event"], one["data"]["about"], one["data"]["to"]) for one in found]


@pytest.fixture
def down() -> t.Iterator[str]:
    """The address of a receiver that is down: nobody listens, and nobody else gets the port."""
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/hook"


def test_waves_wait_for_people_and_people_are_told(make_fleet: MakeFleet, down: str) -> None:
    fleet = make_fleet("d1", "d2", "d3")
    fleet.common["fleet_ota_waves"] = WAVES
    fleet.variables["d3"] = {"fleet_ota_hook_installed": fleet.file("no.yml", [NO])}
    with contextlib.closing(Receiver()) as server:
        hook: dict[str, t.Any] = {"type": "cloudevents", "url": f"{server.url}/hook"}
        fleet.common["fleet_ota_notify"] = [hook, {**hook, "url": down, "events": ["started", "approval_wanted"]}]

        # nobody is at a terminal; one receiver is down, the other gets over a bad minute
        server.answers = [{"status": 500}, {"status": 500}, {}]
        ran = fleet.play("rollout", fleet_ota_confirm="terminal")
        assert ran.rc != 0, ran.text
        assert fleet.running() == {"d1": "2", "d2": "1", "d3": "1"}
        assert approved(fleet) == []
        assert [event for event, _text in told(server)] == ["started"] * 3 + ["approval_wanted"] + ["ended"]
        assert "wave two: hold, approval: wave two begins when it is approved" in told(server)[3][1]
        assert "held" in told(server)[4][1]
        assert sorted(notified(fleet)[:2]) == [
            ("notify.failed", "started", "cloudevents 127.0.0.1"),
            ("notify.sent", "started", "cloudevents 127.0.0.1"),
        ]
        assert "not notified" in ran.text
        assert down.rpartition(":")[2] not in ran.text
        fleet.common["fleet_ota_notify"] = [hook]
        server.requests.clear()
        server.answers = [{}]

        # somebody is, and takes another name for the next wave
        typed = [(PROMPT, "two", READ), (PROMPT, "two", READ)]
        code, shown = terminal.play(fleet, typed, "rollout", fleet_ota_confirm="terminal")
        assert code != 0, shown
        assert fleet.running() == {"d1": "2", "d2": "2", "d3": "1"}, shown
        ((wave, how, who),) = approved(fleet)
        assert (wave, how) == ("two", "terminal")
        assert who
        wanted = [text.partition(":")[0] for event, text in told(server) if event == "approval_wanted"]
        assert [text.rpartition(" ")[2] for text in wanted] == ["two", "three"], "nobody is told twice of one question"

        # AWX launches the job after its approval node; the device fails, and the rollout halts
        server.requests.clear()
        digest = next(one["data"]["plan"]["digest"] for one in fleet.records() if "plan" in one["data"])
        exported = {"fleet_ota_until_wave": "three", "fleet_ota_plan_digest": digest}
        ran = fleet.play("rollout", **exported, fleet_ota_approved_wave="three", awx_user_name="carol")
        assert ran.rc != 0, ran.text
        assert approved(fleet)[1:] == [("three", "awx", "carol")]
        assert fleet.running() == {"d1": "2", "d2": "2", "d3": "1"}
        assert [event for event, _text in told(server)] == ["started", "halted", "ended"]
        assert "1 failed" in told(server)[1][1]


def test_a_hold_that_waits_for_nobody_is_told_and_a_receiver_that_refuses_stops_nothing(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2")
    fleet.variables["d1"] = {"fleet_ota_hold": "the press is running"}
    fleet.common["fleet_ota_waves"] = [WAVES[0], {"name": "rest", "percent": 100}]
    with contextlib.closing(Receiver()) as server:
        fleet.common["fleet_ota_notify"] = [{"type": "cloudevents", "url": server.url}]
        server.answers = [{"status": 403}]
        assert fleet.play("rollout").rc != 0
        assert [event for event, _text in told(server)] == ["started", "held", "ended"]
        assert "brought no evidence" in told(server)[1][1]
        assert {one[0] for one in notified(fleet)} == {"notify.failed"}
