# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rollouts of a Debian package with a real service over six real devices; asserted is what each device shows."""

from __future__ import annotations

import pytest

from tests.lab import debs, evidence, service

from .site import Site, assert_same, confirmed, history, look, look_at_all


def test_a_new_version_goes_everywhere_and_edited_configuration_survives(site: Site) -> None:
    assert site.rollout("meter/2") == 0, site.said()
    for device in site.devices:
        packages = evidence.packages(device)
        assert packages["meter:all"] == ("2", "install ok installed")
        assert packages["meter-codec:all"] == ("1", "install ok installed")
        answer = {"status": "ok", "version": "2", "greeting": "edited by hand", "codec": "codec 1"}
        assert evidence.http_json(device, service.PORT) == answer
        assert "GREETING=edited by hand" in (evidence.read(device, debs.SETTINGS) or "")
        assert evidence.read(device, f"{debs.STATE}/installed") == "1\n2\n"
        assert device.run(["systemctl", "--failed", "--no-legend"]).stdout == ""
        assert not device.run(["systemctl", "list-timers", "--no-legend", "fleet-ota-*"]).stdout
    assert set(site.outcomes().values()) == {("updated", None)}
    assert site.result() == "complete"


def test_the_same_command_again_touches_nothing(site: Site) -> None:
    assert site.rollout("meter/2") == 0, site.said()
    before = {device.name: (history(device), look(device)) for device in site.devices}
    assert site.rollout("meter/2") == 0, site.said()
    for device in site.devices:
        assert history(device) == before[device.name][0]
        assert_same(before[device.name][1], look(device))


@pytest.mark.parametrize(
    ("version", "outcome", "code"),
    [("3", "restored", "HEALTH"), ("4", "refused", "REHEARSAL"), ("5", "restored", "HEALTH")],
    ids=["silent", "postinst", "user"],
)
def test_a_bad_version_stops_after_the_canary_and_leaves_no_trace(
    site: Site, version: str, outcome: str, code: str
) -> None:
    before = look_at_all(site.devices)
    histories = {device.name: history(device) for device in site.devices}
    assert site.rollout(f"meter/{version}") != 0, site.said()
    for device in site.devices:
        assert_same(before[device.name], look(device))
    canary, *others = site.devices
    assert before[canary.name][2] == {"status": "ok", "version": "1", "greeting": "edited by hand"}
    assert len(confirmed(canary)) == 1
    assert canary.run(["systemctl", "--failed", "--no-legend"]).stdout == ""
    for device in others:
        assert history(device) == histories[device.name]
    assert site.outcomes() == {canary.name: (outcome, code)}
    assert site.result() == "halted"
