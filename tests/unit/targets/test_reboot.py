# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A device that reboots is waited for without a connection, and told from a lost link by its boot id."""

from __future__ import annotations

from ansible_collections.fleet.ota.plugins.plugin_utils._targets.errors import DeviceLost
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.updater import BOOTING

from .conftest import DEADLINE, Link, Step, reply

LOST = DeviceLost("connection refused")
GOING = reply("rebooting", rebooting=True, boot_id="a")


def test_it_is_asked_over_new_connections_until_it_shows_another_boot(link: Link) -> None:
    steps: list[Step] = [GOING, GOING, LOST, LOST, reply("checking", boot_id="b"), reply("unconfirmed", boot_id="b")]
    found = link.script(*steps).apply()
    assert found.outcome is None
    assert link.updater.rebooted
    assert link.device.asked == ["apply", *["status"] * 5]
    asked = [request for _verb, request in link.device.calls[1:5]]
    assert all(request["fresh"] and "wait" not in request for request in asked), "nobody holds a connection"
    assert link.device.forgotten >= 4


def test_an_answer_from_the_same_boot_is_a_lost_link(link: Link) -> None:
    steps: list[Step] = [reply("installing", boot_id="a"), LOST, LOST, reply("unconfirmed", boot_id="a")]
    assert link.script(*steps).apply().outcome is None
    assert not link.updater.rebooted


def test_a_device_that_does_not_come_back_is_lost_and_said_why(link: Link) -> None:
    began = link.clock.now
    found = link.script(GOING, LOST).apply()
    assert (found.outcome, found.code) == ("lost", "UNREACHABLE")
    assert "went down to reboot" in found.message
    assert DEADLINE < link.clock.now - began <= DEADLINE + BOOTING + 30


def test_a_device_that_never_goes_down_timed_out(link: Link) -> None:
    link.device.seconds = 20.0
    found = link.script(GOING).apply()
    assert (found.outcome, found.code) == ("timed_out", "NO_ANSWER")


def test_a_way_back_may_reboot_too(link: Link) -> None:
    back = reply("restoring", rebooting=True, boot_id="b")
    steps: list[Step] = [
        GOING,
        LOST,
        back,
        LOST,
        reply("restored", "restored", code="HEALTH", message="x", boot_id="c"),
    ]
    found = link.script(*steps).apply()
    assert (found.outcome, found.code) == ("restored", "HEALTH")
    assert link.updater.boots == ["a", "b", "c"]
