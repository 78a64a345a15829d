# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two controllers, and one that slept: each comes to a clear end."""

from __future__ import annotations

from .device import Directory
from .releases import Releases


def test_two_controllers_at_once(device: Directory, releases: Releases) -> None:
    """The second finds the device busy, and its turn comes when the first has ended."""
    assert device.apply(releases.get(2), rollout="a")["state"] == "unconfirmed"
    second = device.apply(releases.get(3), rollout="b")
    assert second["error"]["code"] == "BUSY", second
    assert device.call("confirm", rollout="b")["state"] == "idle", "nobody confirms what another one installed"
    assert device.call("confirm", rollout="a")["outcome"] == "updated"
    assert device.update(releases.get(3), rollout="b")["outcome"] == "updated"


def test_a_controller_that_slept_is_refused_until_it_is_run_again(device: Directory, releases: Releases) -> None:
    assert device.update(releases.get(2), rollout="a", generation=2)["outcome"] == "updated"
    assert device.update(releases.get(3), rollout="b", generation=1)["outcome"] == "updated"
    for generation in (1, 2):
        reply = device.apply(releases.get(3), rollout="a", generation=generation)
        assert reply["error"]["code"] == "STALE", reply
        reply = device.call("rollback", rollout="a", generation=generation, guard="process")
        assert reply["error"]["code"] == "STALE", reply
    assert device.apply(releases.get(3), rollout="a", generation=3)["outcome"] == "current"


def test_an_older_generation_is_refused_also_after_another_rollout(device: Directory, releases: Releases) -> None:
    device.update(releases.get(2), rollout="a", generation=5)
    device.update(releases.get(3), rollout="b", generation=1)
    assert device.apply(releases.get(3), rollout="a", generation=4)["error"]["code"] == "STALE"
    assert device.apply(releases.get(3), rollout="a", generation=6)["outcome"] == "current"
