# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rollouts in which the link, the session or the controller fails; asserted is what each device shows."""

from __future__ import annotations

from tests.lab import evidence, service

from .engine import when
from .site import Site, assert_same, confirmed, history, kill, look

VERSION_2 = {"status": "ok", "version": "2", "greeting": "edited by hand", "codec": "codec 1"}


def test_a_device_that_loses_its_network_restores_itself_and_is_lost_until_seen(site: Site) -> None:
    canary = site.devices[0]
    before = look(canary)
    watcher = when(site.engine(1), "installing", "checking", "unconfirmed", then=canary.unplug)
    short = {"fleet_ota_deadline": 20, "fleet_ota_timeout": 30, "fleet_ota_first_contact": 5}
    assert site.rollout("meter/2", **short) != 0
    watcher.join()
    assert site.outcomes() == {"dev1": ("lost", "UNREACHABLE")}, site.said()
    assert site.result() == "halted"
    assert site.engine(1).wait_for("restored", "broken", timeout=40)["state"] == "restored"
    assert_same(before, look(canary))
    canary.plug()
    assert site.rollout("meter/2", **short) != 0
    assert site.outcomes()["dev1"] == ("restored", "DEADLINE"), site.said()
    assert_same(before, look(canary))
    assert len(confirmed(canary)) == 1


def test_a_cut_session_in_mid_install_does_not_matter(site: Site) -> None:
    canary = site.devices[0]

    def cut() -> None:
        canary.run(["systemctl", "kill", "--signal=KILL", "session-*.scope"])
        site.fleet.forget_connections()

    watcher = when(site.engine(1), "installing", then=cut)
    assert site.rollout("meter/2") == 0, site.said()
    watcher.join()
    for device in site.devices:
        assert evidence.http_json(device, service.PORT) == VERSION_2
        assert len(confirmed(device)) == 2
    assert site.result() == "complete"


def test_a_killed_controller_is_resumed_by_the_same_command(site: Site) -> None:
    process = site.start("rollout", fleet_ota_release="meter/2")
    try:
        site.engine(3).wait_for("installing")
    finally:
        kill(process)
    site.fleet.forget_connections()
    done = {device.name: history(device) for device in site.devices if len(confirmed(device)) == 2}
    assert "dev1" in done  # the canary was confirmed before the second wave began
    assert site.rollout("meter/2") == 0, site.said()
    for device in site.devices:
        assert evidence.http_json(device, service.PORT) == VERSION_2
        assert evidence.read(device, "/var/lib/meter/installed") == "1\n2\n"  # installed once
        assert len(confirmed(device)) == 2
        assert history(device) == done.get(device.name, history(device))
    assert set(site.outcomes().values()) <= {("updated", None), ("current", None)}
    assert site.result() == "complete"
