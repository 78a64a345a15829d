# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever happens to a device leaves the controller with one outcome, recorded once, and begun with ``pending``."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import (
    ControlError,
    JournalError,
    TrustError,
)
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.checkpoints import Checkpoint, of_journal
from ansible_collections.fleet.ota.plugins.plugin_utils._targets import offer
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.errors import DeviceLost, DeviceRefusal
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.offer import TooLate, Until, share
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.record import Record
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.updater import FIRST_CONTACT, GRACE

from .conftest import DEADLINE, ROLLOUT, TIMEOUT, Link, reply

LOST = DeviceLost("connection timed out")
MISSING = {"sha256": "aa", "length": 10, "offset": 4}


# -- apply: the way to a device that waits for its confirm ---------------------------------------------------------


def test_a_device_that_waits_for_its_confirm_has_no_outcome_yet(link: Link) -> None:
    found = link.script(reply("installing"), reply("checking"), reply("unconfirmed")).apply()
    assert (found.outcome, found.failed) == (None, False)
    assert link.device.asked == ["apply", "status", "status"]
    assert link.events == ["device.pending"]
    assert link.device.journal_at_first_call == ["rollout.started", "device.pending"]


def test_the_request_carries_rollout_generation_and_the_witnessed_checkpoint(link: Link) -> None:
    link.script(reply("unconfirmed")).apply()
    _verb, request = link.device.calls[0]
    assert (request["rollout"], request["generation"], request["deadline"]) == (ROLLOUT, 3, DEADLINE)
    assert request["guard"] == "auto"
    assert request["checkpoint"] == {**link.journal.checkpoint(), "device": "dev1"}
    assert request["checkpoint"]["size"] == 2


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (reply("idle", "current", transaction=None), "current"),
        (reply("restored", "restored", code="HEALTH", message="answers: 500"), "restored"),
        (reply("deferred", "deferred", code="NO_SPACE", message="10 bytes free"), "deferred"),
        (reply("broken", "broken", code="RESTORE", message="2 paths differ"), "broken"),
        (reply("refused", "refused", code="UNLISTED_FILE", message="x"), "refused"),
        (reply("confirmed", "updated"), "updated"),
    ],
)
def test_an_end_on_the_device_is_the_outcome(link: Link, answer: dict[str, t.Any], outcome: str) -> None:
    found = link.script(answer).apply()
    assert found.outcome == outcome
    assert found.failed is (outcome not in ("current", "updated"))
    assert link.events == ["device.pending", outcome]
    assert link.last["data"]["before"] == answer["before"]
    went = outcome in ("current", "updated")
    assert link.last["data"]["after"] == answer["release" if went else "before"]
    assert (link.last.get("code"), link.last.get("message", "")) == (answer["code"], answer["message"])


def test_missing_payloads_are_staged_and_the_release_offered_again(link: Link) -> None:
    found = link.script(reply("idle", missing=[MISSING]), reply("unconfirmed")).apply()
    assert found.outcome is None
    assert link.device.asked == ["apply", "apply"]
    assert link.device.calls[0] == link.device.calls[1]
    assert link.device.pushed == [("aa", 10, 4)]
    assert link.events == ["device.pending"]


def test_a_device_that_pulls_is_told_where(link: Link) -> None:
    link.script(reply("unconfirmed")).apply(pull=True)
    assert link.device.calls[0][1]["pull"] == {"aa": ["http://127.0.0.1/copy/targets/payloads/aa"]}


def test_a_device_is_told_where_to_pull_from_when_its_share_of_the_splay_has_passed(link: Link) -> None:
    began = link.clock.now
    link.script(reply("idle", missing=[MISSING]), reply("unconfirmed"))
    assert link.apply(pull=True, splay=300).outcome is None
    assert [request.get("pull") for _verb, request in link.device.calls] == [
        None,
        {"aa": ["http://127.0.0.1/copy/targets/payloads/aa"]},
    ]
    assert link.clock.now - began == pytest.approx(share("dev1", ["aa"], 300), abs=1)
    assert link.device.pushed == []


def test_a_device_that_lost_contact_after_its_share_does_not_wait_again(link: Link) -> None:
    began = link.clock.now
    link.script(reply("idle", missing=[MISSING]), LOST, reply("unconfirmed"))
    assert link.apply(pull=True, splay=300).outcome is None
    assert link.clock.now - began < share("dev1", ["aa"], 300) + 10
    assert "pull" in link.device.calls[2][1]


def test_a_device_that_has_its_payloads_waits_for_nothing(link: Link) -> None:
    began = link.clock.now
    link.script(reply("unconfirmed")).apply(pull=True, splay=300)
    assert link.clock.now == began


def test_shares_of_a_splay_are_spread_and_stay_the_same() -> None:
    hosts = [f"dev{number}" for number in range(1000)]
    shares = [share(host, ["aa", "bb"], 99) for host in hosts]
    assert (min(shares), max(shares)) == (0, 99)
    assert max(shares.count(second) for second in range(100)) < 30  # of 10 on average
    assert shares == [share(host, ["bb", "aa"], 99) for host in hosts]
    assert shares != [share(host, ["cc"], 99) for host in hosts]
    assert {share(host, ["aa"], 0) for host in hosts} == {0}


def test_a_splay_below_nothing_is_refused_before_the_device_is_asked(link: Link) -> None:
    with pytest.raises(ControlError, match="splay is -1"):
        link.script(reply("unconfirmed")).apply(pull=True, splay=-1)
    assert link.device.calls == []


MOMENT = datetime.datetime(2026, 11, 29, 5, 0, tzinfo=datetime.UTC)


@pytest.mark.parametrize("text", ["", "soon", "2026-11-29T05:00:00", "05:00"])
def test_a_moment_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ControlError, match=r"window_end is .*; give a moment"):
        Until(text)


def test_nothing_is_begun_after_its_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([MOMENT - datetime.timedelta(seconds=1), MOMENT, MOMENT - datetime.timedelta(seconds=60)])
    monkeypatch.setattr(offer, "now", lambda: next(moments))
    until = Until("2026-11-29T06:00:00+01:00")
    until.insist()
    with pytest.raises(TooLate, match="ends at 2026-11-29T06:00:00"):
        until.insist()
    with pytest.raises(TooLate):
        until.insist(60)
    Until(None).insist()


@pytest.mark.parametrize(
    ("pull", "late", "slept"),
    [
        (False, 0, False),  # the device was asked for so long what it has
        (True, 0, False),
        (True, -share("dev1", ["aa"], 300), False),  # its share of the splay ends after the window
        (True, 200, True),  # and this one's clock jumped in its sleep
    ],
)
def test_payloads_that_would_begin_too_late_are_not_brought(
    link: Link, monkeypatch: pytest.MonkeyPatch, pull: bool, late: int, slept: bool
) -> None:
    moments = [MOMENT + datetime.timedelta(seconds=late)]
    if slept:
        moments = [MOMENT - datetime.timedelta(seconds=1000), MOMENT]
    naps: list[float] = []
    monkeypatch.setattr(offer, "now", lambda: moments.pop(0))
    monkeypatch.setattr(offer.time, "sleep", naps.append)
    with pytest.raises(TooLate):
        link.offered(pull=pull, splay=300).bring(link.device, [MISSING], Until(MOMENT.isoformat()))
    assert link.device.pushed == []
    assert bool(naps) == slept
    assert moments == []


def test_payloads_that_begin_in_time_are_brought(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offer, "now", lambda: MOMENT - datetime.timedelta(seconds=1))
    assert link.offered().bring(link.device, [MISSING], Until(MOMENT.isoformat())) == {}
    assert link.device.pushed == [("aa", 10, 4)]


def test_a_link_cut_while_staging_goes_on_from_where_it_was(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device is asked again, since it knows best how far the bytes came."""
    offsets = []

    def push(sha256: str, length: int, offset: int, path: object) -> None:
        offsets.append(offset)
        if len(offsets) == 1:
            raise LOST

    monkeypatch.setattr(link.device, "push", push)
    steps = [reply("idle", missing=[MISSING]), reply("idle", missing=[dict(MISSING, offset=8)]), reply("unconfirmed")]
    assert link.script(*steps).apply().outcome is None
    assert offsets == [4, 8]
    assert link.device.asked == ["apply", "apply", "apply"]


def test_a_device_that_never_has_enough_is_no_success(link: Link) -> None:
    found = link.script(reply("idle", missing=[MISSING])).apply()
    assert (found.outcome, found.failed) == ("timed_out", True)
    assert link.device.asked == ["apply", "apply"]
    assert link.events == ["device.pending", "timed_out"]


def test_a_payload_that_is_not_what_was_signed_is_refused_before_it_is_sent(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    def push(*_given: object) -> None:
        raise TrustError("payload app is not what was signed", code="HASH_MISMATCH")

    monkeypatch.setattr(link.device, "push", push)
    found = link.script(reply("idle", missing=[MISSING])).apply()
    assert (found.outcome, found.code) == ("refused", "HASH_MISMATCH")
    assert link.events == ["device.pending", "refused"]


# -- lost links ----------------------------------------------------------------------------------------------------


def test_a_device_that_never_answered_is_lost_after_a_few_tries(link: Link) -> None:
    began = link.clock.now
    found = link.script(LOST).apply()
    assert (found.outcome, found.code) == ("lost", "UNREACHABLE")
    assert "connection timed out" in found.message
    assert link.clock.now - began <= FIRST_CONTACT
    assert 3 <= len(link.device.calls) <= 10
    # every further try begins with a new connection
    assert link.device.forgotten == len(link.device.calls) - 1
    assert link.events == ["device.pending", "lost"]


def test_a_device_whose_deadline_was_waited_for_is_tried_once_more_and_not_waited_for_again(link: Link) -> None:
    link.updater.options = dataclasses.replace(link.updater.options, first_contact=0)
    assert link.script(LOST).updater.restore("TEAM_CHECK", "it was lost").outcome == "lost"
    assert len(link.device.calls) == 1


def test_a_device_that_boots_just_now_is_not_lost(link: Link) -> None:
    assert link.script(LOST, LOST, LOST, reply("unconfirmed")).apply().outcome is None
    assert link.events == ["device.pending"]


def test_contact_lost_for_less_than_the_deadline_is_normal(link: Link) -> None:
    began = link.clock.now
    link.device.seconds = 10.0
    lost = [LOST] * 25
    found = link.script(reply("installing"), *lost, reply("checking"), *lost, reply("unconfirmed")).apply()
    # twice almost the deadline: each loss counts for itself
    assert link.clock.now - began > DEADLINE
    assert found.outcome is None
    assert link.events == ["device.pending"]


def test_contact_lost_for_more_than_the_deadline_is_an_outcome(link: Link) -> None:
    began = link.clock.now
    found = link.script(reply("installing"), LOST).apply()
    assert (found.outcome, found.code) == ("lost", "UNREACHABLE")
    assert DEADLINE - 15 <= link.clock.now - began <= DEADLINE + GRACE + 15
    assert link.events == ["device.pending", "lost"]


def test_a_device_that_does_not_come_to_an_end_timed_out(link: Link) -> None:
    began = link.clock.now
    link.device.seconds = 20.0
    found = link.script(reply("installing")).apply()
    assert (found.outcome, found.code) == ("timed_out", "NO_ANSWER")
    assert "still installing" in found.message
    assert TIMEOUT <= link.clock.now - began <= TIMEOUT + 60
    assert link.events == ["device.pending", "timed_out"]


# -- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "told", "outcome"),
    [
        ("THRESHOLD", "refused", "refused"),
        ("INCOMPATIBLE", "refused", "refused"),
        ("BUSY", "deferred", "deferred"),
        ("NO_SPACE", "deferred", "deferred"),
        ("STALE", "refused", "refused"),
        ("NO_PYTHON", None, "refused"),
        # nobody knows what an engine that failed had done: it is looked at again, and never taken for untouched
        ("ENGINE", None, "timed_out"),
        ("ENGINE", "timed_out", "timed_out"),
    ],
)
def test_an_error_of_the_device_is_the_outcome_of_its_code(
    link: Link, code: str, told: str | None, outcome: str
) -> None:
    found = link.script(DeviceRefusal(code, "because", told)).apply()
    assert (found.outcome, found.code, found.message, found.failed) == (outcome, code, "because", True)
    assert link.device.asked == ["apply"]
    assert link.events == ["device.pending", outcome]


def rejected(rollout: str | None) -> DeviceRefusal:
    last = reply("restored", "restored", code="HEALTH", message="answers: 500", rollout=rollout)
    return DeviceRefusal("REJECTED", "failed here before", "refused", {"last": last})


def test_a_release_that_failed_earlier_in_this_rollout_keeps_that_outcome(link: Link) -> None:
    found = link.script(rejected(ROLLOUT)).apply()
    assert (found.outcome, found.code, found.message) == ("restored", "HEALTH", "answers: 500")
    assert link.events == ["device.pending", "restored"]
    assert link.last["data"]["transaction"] == "t1"


@pytest.mark.parametrize("rollout", ["gateway-2.0-99999999", None])
def test_a_release_that_failed_in_another_rollout_is_refused(link: Link, rollout: str | None) -> None:
    found = link.script(rejected(rollout)).apply()
    assert (found.outcome, found.code) == ("refused", "REJECTED")


# -- rollback ------------------------------------------------------------------------------------------------------


def test_going_back_is_recorded_and_followed_like_an_update(link: Link) -> None:
    found = link.script(reply("restoring"), reply("unconfirmed")).updater.rollback("gateway", True)
    assert found.outcome is None
    verb, request = link.device.calls[0]
    assert (verb, request["name"], request["overwrite"], request["rollout"]) == ("rollback", "gateway", True, ROLLOUT)
    assert link.device.journal_at_first_call == ["rollout.started", "device.pending"]


# -- confirm and restore -------------------------------------------------------------------------------------------


def test_confirm_goes_over_a_new_connection(link: Link) -> None:
    found = link.script(reply("confirmed", "updated")).updater.confirm()
    assert (found.outcome, found.failed) == ("updated", False)
    assert link.device.calls == [("confirm", {**link.run, "fresh": True})]
    assert link.events == ["updated"]


def test_confirm_that_comes_after_the_guard_is_the_device_s_own_outcome(link: Link) -> None:
    found = link.script(reply("restored", "restored", code="DEADLINE", message="nobody confirmed")).updater.confirm()
    assert (found.outcome, found.code, found.failed) == ("restored", "DEADLINE", True)
    assert link.events == ["restored"]


def test_what_is_on_record_already_is_not_recorded_again(link: Link) -> None:
    """The role's rescue asks to go back also where the guard did so before the confirm came."""
    link.script(reply("restored", "restored", code="DEADLINE"))
    assert link.updater.confirm().outcome == "restored"
    assert link.updater.restore("TEAM_CHECK", "dev1: restored (DEADLINE)").code == "DEADLINE"
    assert link.events == ["restored"]
    # but what comes of it when it is touched again is
    link.apply()
    assert link.events == ["restored", "device.pending", "restored"]


def test_confirm_waits_for_a_device_that_goes_back_just_now(link: Link) -> None:
    steps = [reply("restoring"), reply("restored", "restored", code="DEADLINE")]
    assert link.script(*steps).updater.confirm().outcome == "restored"
    assert link.device.asked == ["confirm", "status"]
    assert link.events == ["restored"]


def test_confirm_without_contact_is_lost(link: Link) -> None:
    assert link.script(LOST).updater.confirm().outcome == "lost"
    assert link.events == ["lost"]


def test_confirm_of_nothing_says_so(link: Link) -> None:
    found = link.script({"transaction": None, "state": "idle", "outcome": None}).updater.confirm()
    assert found.outcome is None
    assert link.events == []


def test_restore_names_the_reason_and_follows_to_the_end(link: Link) -> None:
    steps = [reply("restoring"), reply("restored", "restored", code="TEAM_CHECK", message="line 4 stands still")]
    found = link.script(*steps).updater.restore("TEAM_CHECK", "line 4 stands still")
    assert (found.outcome, found.code) == ("restored", "TEAM_CHECK")
    verb, request = link.device.calls[0]
    assert (verb, request["code"], request["message"]) == ("restore", "TEAM_CHECK", "line 4 stands still")
    assert link.events == ["restored"]


def test_restore_of_what_was_never_touched_is_a_refusal_by_the_team(link: Link) -> None:
    steps = {"transaction": None, "state": "idle", "outcome": None}
    found = link.script(steps).updater.restore("TEAM_CHECK", "line 4 runs")
    assert (found.outcome, found.code, found.message) == ("refused", "TEAM_CHECK", "line 4 runs")
    assert link.events == ["refused"]


def test_restore_of_what_was_touched_is_never_told_as_untouched(link: Link) -> None:
    found = link.script(reply("unconfirmed")).updater.restore("TEAM_CHECK", "line 4 stands still")
    assert (found.outcome, found.code) == ("timed_out", "NO_ANSWER")
    assert link.events == ["timed_out"]


def test_restore_that_a_device_cannot_do_needs_another_look(link: Link) -> None:
    found = link.script(DeviceRefusal("BUSY", "somebody else", "deferred")).updater.restore("TEAM_CHECK", "no")
    assert (found.outcome, found.code) == ("timed_out", "BUSY")
    assert link.events == ["timed_out"]


# -- whose device it is --------------------------------------------------------------------------------------------


def test_every_step_says_which_run_it_is_of(link: Link) -> None:
    """Rollout, generation, and the journal by its first record, however far it has grown since."""
    link.script(reply("unconfirmed")).apply()
    link.updater.rollback("gateway", False)
    link.updater.extend(60)
    link.updater.wait_for_peers()
    link.updater.confirm()
    link.updater.restore("TEAM_CHECK", "no")
    assert link.device.asked == ["apply", "rollback", "extend", "extend", "confirm", "restore"]
    assert link.run["holder"] == link.journal.read()[0]["hash"] == link.journal.checkpoint()["journal"]
    for verb, request in link.device.calls:
        assert {key: request.get(key) for key in link.run} == link.run, verb


def test_what_waits_for_its_peers_is_given_the_time_of_their_splay(link: Link) -> None:
    link.script(reply("unconfirmed"))
    for splay in (0, 300):
        link.updater.options = dataclasses.replace(link.updater.options, splay=splay)
        link.updater.wait_for_peers()
    without, with_it = [request["deadline"] for _verb, request in link.device.calls]
    assert with_it == without + 300


def test_who_has_no_journal_and_no_number_says_neither(link: Link) -> None:
    link.updater.record = Record(None, "dev1", None, 0)
    link.script(reply("confirmed", "updated")).updater.confirm()
    assert link.device.calls == [("confirm", {"fresh": True})]


def stale() -> DeviceRefusal:
    return DeviceRefusal("STALE", "was replaced by a run with another journal", "refused")


@pytest.mark.parametrize("step", ["confirm", "extend", "restore"])
def test_a_run_that_was_replaced_writes_that_it_changed_nothing(link: Link, step: str) -> None:
    link.script(stale())
    steps = {
        "confirm": link.updater.confirm,
        "extend": lambda: link.updater.extend(60),
        "restore": lambda: link.updater.restore("TEAM_CHECK", "no"),
    }
    found = steps[step]()
    assert (found.outcome, found.code, found.failed) == ("refused", "STALE", True)
    assert link.events == ["refused"]


@pytest.mark.parametrize("step", ["apply", "confirm"])
def test_what_a_newer_run_of_the_same_journal_took_is_not_written_down_by_the_older(link: Link, step: str) -> None:
    """It was taken over while this one was asking: what came of the device is for the newer run to say."""

    def taken_over(*_arguments: t.Any, **_request: t.Any) -> t.NoReturn:
        link.journal.append("rollout.resumed", data={"generation": 4, "controller": {"user": "maria"}})
        raise stale()

    link.device.call = taken_over  # type: ignore[method-assign]
    with pytest.raises(JournalError, match="maria") as caught:
        link.apply() if step == "apply" else link.updater.confirm()
    assert caught.value.code == "STALE"
    assert link.events[-1] == "rollout.resumed"


@pytest.mark.parametrize("answer", [LOST, reply("restored", "restored")], ids=["lost", "went back"])
@pytest.mark.parametrize("step", ["apply", "confirm"])
def test_an_older_run_writes_down_no_outcome_beside_that_of_the_newer(link: Link, step: str, answer: t.Any) -> None:
    """ansible-core's workers have sessions of their own: they outlive a run whose process group was killed."""
    link.script(answer)
    call = link.device.call

    def taken_over(*arguments: t.Any, **request: t.Any) -> t.Any:
        if "updated" not in link.events:
            link.journal.append("rollout.resumed", data={"generation": 4, "controller": {"user": "maria"}})
            link.journal.outcome("dev1", "updated")
        return call(*arguments, **request)

    link.device.call = taken_over  # type: ignore[method-assign]
    with pytest.raises(JournalError, match="maria") as caught:
        link.apply() if step == "apply" else link.updater.confirm()
    assert caught.value.code == "STALE"
    assert link.events[-1] == "updated"


# -- observe -------------------------------------------------------------------------------------------------------


def look(healthy: bool = True, transaction: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
    releases = {"gateway": {"current": {"name": "gateway", "version": "2.0"}}, "meter": {"current": None}}
    return {"healthy": healthy, "checks": {}, "transaction": transaction, "releases": releases}


def test_observe_records_what_a_lost_device_came_to(link: Link) -> None:
    link.journal.outcome("dev1", "lost")
    found = link.script(look(transaction=reply("restored", "restored", code="DEADLINE"))).updater.observe()
    assert found.message == "gateway 2.0"
    assert link.events == ["lost", "restored", "device.seen"]
    assert link.last["data"] == {"healthy": True, "release": "gateway 2.0"}


@pytest.mark.parametrize(
    "transaction",
    [
        reply("confirmed", "updated"),  # on record already
        reply("restored", "restored", rollout="gateway-1.0-00000000"),  # of another rollout
        reply("restored", "restored", rollout=None),  # by hand
        reply("installing"),  # at work
        None,
    ],
)
@pytest.mark.parametrize("healthy", [True, False])
def test_observe_records_nothing_else(link: Link, healthy: bool, transaction: dict[str, t.Any] | None) -> None:
    link.journal.outcome("dev1", "updated")
    link.script(look(healthy, transaction)).updater.observe()
    assert link.events == ["updated", "device.seen"]
    assert link.last["data"]["healthy"] is healthy


def test_observe_of_a_device_out_of_reach_is_lost(link: Link) -> None:
    link.journal.outcome("dev1", "updated")
    found = link.script(LOST).updater.observe()
    assert (found.outcome, found.code) == ("lost", "UNREACHABLE")
    assert link.events == ["updated", "lost"]


@pytest.mark.parametrize("asking", [True, False])
def test_a_device_that_waits_for_its_turn_is_not_lost_when_it_is_off(link: Link, asking: bool) -> None:
    link.journal.outcome("dev1", "deferred", code="HOLD")
    found = link.script(LOST).updater.observe(asking=asking)
    assert (found.outcome, found.code) == ("deferred", "HOLD")
    assert link.events == ["deferred"]


@pytest.mark.parametrize(
    ("asking", "transaction", "events"),
    [
        (True, None, ["lost", "deferred"]),
        (True, reply("confirmed", "updated", rollout="gateway-1.0-00000000"), ["lost", "deferred"]),
        (True, reply("installing"), ["lost", "device.seen"]),  # it was begun after all
        (True, reply("confirmed", "updated"), ["lost", "updated", "device.seen"]),
        (False, None, ["lost", "device.seen"]),  # at the end of its wave it counts as lost
    ],
)
def test_a_device_that_was_off_in_its_turn_and_is_back_comes_again(
    link: Link, asking: bool, transaction: t.Any, events: list[str]
) -> None:
    link.journal.outcome("dev1", "lost")
    found = link.script(look(transaction=transaction)).updater.observe(asking=asking)
    assert link.events == events
    assert found.code == ("MISSED" if "deferred" in events else None)


@pytest.mark.parametrize("code", ["ENGINE", "LOGIN", "NO_PYTHON"])
def test_a_look_that_says_nothing_is_unknown_and_neither_healthy_nor_unhealthy(link: Link, code: str) -> None:
    link.journal.outcome("dev1", "updated")
    refusal = DeviceRefusal(code, "no answer")
    found = link.script(refusal, refusal).updater.observe()
    assert (found.outcome, found.code) == ("updated", code)
    assert link.events == ["updated", "device.seen"]
    assert link.last["data"] == {"healthy": None, "release": None, "reason": f"{code}: no answer"}
    standing = link.journal.state().standings["dev1"]
    assert (standing.as_planned, standing.unseen) == (True, f"{code}: no answer")
    link.updater.observe()
    assert link.events == ["updated", "device.seen"], "the same again is written once"
    link.script(look(True)).updater.observe()
    assert link.journal.state().standings["dev1"].unseen is None


def test_an_illness_after_the_watch_is_told_and_not_on_record(link: Link) -> None:
    link.journal.outcome("dev1", "updated")
    found = link.script(look(False), look(True)).updater.observe(asking=True, watching=False)
    assert found.reply["healthy"] is False
    assert link.events == ["updated"]
    link.updater.observe(asking=True, watching=False)
    assert link.events == ["updated", "device.seen"], "that it is well again is"


# -- a login that is wrong -----------------------------------------------------------------------------------------

LOGIN = DeviceRefusal("LOGIN", "Missing sudo password", "deferred")


def test_a_login_that_is_wrong_from_the_start_touched_nothing(link: Link) -> None:
    found = link.script(LOGIN).apply()
    assert (found.outcome, found.code) == ("deferred", "LOGIN")
    assert link.events == ["device.pending", "deferred"]


@pytest.mark.parametrize("before", ["pending", "lost", "timed_out"])
def test_who_was_touched_before_is_never_told_as_untouched(link: Link, before: str) -> None:
    """The run before may have begun something that is at work."""
    link.journal.pending("dev1", 2)
    if before != "pending":
        link.journal.outcome("dev1", before)
    found = link.script(LOGIN).apply()
    assert (found.outcome, found.code) == ("timed_out", "LOGIN")
    assert (link.last["outcome"], link.last["code"]) == ("timed_out", "LOGIN")


def test_a_login_that_does_not_confirm_leaves_it_to_the_guard(link: Link) -> None:
    link.script(reply("unconfirmed")).apply()
    found = link.script(LOGIN).updater.confirm()
    assert (found.outcome, found.code) == ("timed_out", "LOGIN")
    assert link.events == ["device.pending", "timed_out"]


def test_who_cannot_be_asked_for_want_of_a_password_stays_as_it_is(link: Link) -> None:
    link.journal.outcome("dev1", "updated")
    assert link.script(LOGIN).updater.observe(asking=True).outcome == "updated"
    assert link.events == ["updated"]


# -- a device that has witnessed what the journal lacks ------------------------------------------------------------


def ahead(kept: Checkpoint) -> DeviceRefusal:
    """What a device says that keeps a checkpoint of this journal."""
    return DeviceRefusal("AHEAD", "this device has witnessed it", "deferred", {"witness": kept})


def lost_tail(link: Link) -> Checkpoint:
    """The checkpoint of a journal that was put back from an older copy since, and went on by as many records."""
    copy = link.journal.path.read_bytes()
    link.journal.outcome("dev9", "updated")
    kept = link.journal.checkpoint()
    link.journal.path.write_bytes(copy)
    link.journal.pending("dev8", 1)
    return kept


def test_a_device_that_witnessed_the_journal_before_is_shown_what_it_asks_for(link: Link) -> None:
    link.journal.pending("dev2", 1)
    kept = link.journal.checkpoint()
    assert link.script(ahead(kept), reply("unconfirmed")).apply().outcome is None
    first, second = (request for _verb, request in link.device.calls)
    assert second == {**first, "witnessed": kept}
    assert link.events == ["device.pending", "device.pending"]


def test_what_was_shown_goes_with_what_was_staged(link: Link) -> None:
    kept = link.journal.checkpoint()
    link.script(ahead(kept), reply("idle", missing=[MISSING]), reply("unconfirmed")).apply()
    assert [request.get("witnessed") for _verb, request in link.device.calls] == [None, kept, kept]


@pytest.mark.parametrize("verb", ["apply", "rollback"])
def test_an_older_journal_defers_the_device_and_says_where_the_newer_one_is_missed(link: Link, verb: str) -> None:
    kept = lost_tail(link)
    link.script(ahead(kept))
    found = link.apply() if verb == "apply" else link.updater.rollback("gateway", False)
    assert (found.outcome, found.code) == ("deferred", "AHEAD")
    assert link.device.asked == [verb]
    assert (link.last["outcome"], link.last["code"]) == ("deferred", "AHEAD")
    for words in (f"witnessed {kept['size']} records", "others in their place", f"fleet_ota_rollout_id={ROLLOUT}"):
        assert words in link.last["message"]


def test_a_device_that_is_asked_shows_that_the_journal_is_older(link: Link) -> None:
    link.journal.outcome("dev1", "updated")
    kept = lost_tail(link)
    shown = {"healthy": True, "releases": {}, "transaction": None}
    other = {**kept, "journal": "0" * 64}
    found = link.script({**shown, "witness": [other, link.journal.checkpoint()]}).updater.observe(asking=True)
    assert found.outcome is None, "another journal, and what this one has"
    found = link.script({**shown, "witness": [other, kept]}).updater.observe(asking=True)
    assert (found.outcome, found.code) == ("deferred", "AHEAD")
    assert (link.last["outcome"], link.last["code"]) == ("deferred", "AHEAD")
    # looked at once more it says the same, which is on record, whatever its last transaction was
    count = len(link.journal.read())
    own = {"transaction": reply("confirmed", "updated"), "witness": [link.journal.checkpoint() | kept]}
    assert link.script({**shown, **own}).updater.observe().code == "AHEAD"
    assert len(link.journal.read()) == count


def test_what_is_no_checkpoint_is_none_of_ours(link: Link) -> None:
    link.journal.outcome("dev1", "updated")
    own = link.journal.checkpoint()
    for witness in ("x", ["x", None], [{**own, "size": "9"}], [{**own, "head": None}], {"size": 1}):
        shown = {"healthy": True, "releases": {}, "transaction": None, "witness": witness}
        assert link.script(shown).updater.observe(asking=True).code is None
    found = link.script(DeviceRefusal("AHEAD", "says the device", "deferred", {"witness": "x"})).apply()
    assert (found.outcome, found.code, found.message) == ("deferred", "AHEAD", "says the device")
    assert of_journal(own, [own, {**own, "size": 9}]) == [own, {**own, "size": 9}]


def test_after_a_reset_the_journal_is_another_one_to_devices(link: Link) -> None:
    kept = lost_tail(link)
    link.journal.append("rollout.reset", data={"by": "anna", "reason": "x", "devices": [], "ahead": ["dev1"]})
    link.script(reply("unconfirmed")).apply()
    offered = link.device.calls[0][1]["checkpoint"]
    assert offered["journal"] == kept["journal"]
    assert offered["since"] == link.journal.read()[-2]["hash"]
    shown = {"healthy": True, "releases": {}, "transaction": None, "witness": [kept]}
    assert link.script(shown).updater.observe(asking=True).code is None
