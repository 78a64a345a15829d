# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way back on request: a fleet, a wave or one device returns to exactly what it showed before."""

from __future__ import annotations

from .site import Site, assert_same, look_at_all


def test_one_device_then_the_rest_go_back(site: Site) -> None:
    before = look_at_all(site.devices)
    assert site.rollout("meter/2") == 0, site.said()
    after = look_at_all(site.devices)
    rollout = site.journal()[0]["rollout"]
    assert site.play("rollback", fleet_ota_rollout_id=rollout, fleet_ota_hosts="dev4") == 0, site.said()
    now = look_at_all(site.devices)
    for name in now:
        assert_same(before[name] if name == "dev4" else after[name], now[name])
    assert site.play("rollback", fleet_ota_rollout_id=rollout, fleet_ota_hosts="!dev4") == 0, site.said()
    for name, shown in look_at_all(site.devices).items():
        assert_same(before[name], shown)
        assert shown[2] == {"status": "ok", "version": "1", "greeting": "edited by hand"}
