# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollout in waves of a release that reboots every device; asserted is what each device shows."""

from __future__ import annotations

from tests.lab import evidence, service

from .site import Site, confirmed


def test_every_device_reboots_once_and_is_confirmed_over_a_new_connection(site: Site) -> None:
    # Another name: what others publish of `meter` later must not be older than this.
    site.project.publish(site.project.meter("2", name="meter-reboot", reboot="always"))
    boots = {device.name: device.boots for device in site.devices}
    assert site.rollout("meter-reboot/2") == 0, site.said()
    assert set(site.outcomes().values()) == {("updated", None)}, site.said()
    for device in site.devices:
        assert device.boots == boots[device.name] + 1
        assert (evidence.http_json(device, service.PORT, wait=5) or {})["version"] == "2"
        assert len(confirmed(device)) == 2
    assert site.result() == "complete"
