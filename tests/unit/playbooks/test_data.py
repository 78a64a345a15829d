# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an inventory says about data reaches the device, and what it leaves out does not."""

from __future__ import annotations

import typing as t

import pytest

if t.TYPE_CHECKING:
    from .conftest import MakeFleet

pytestmark = pytest.mark.one_core


def test_data_paths_of_the_inventory(make_fleet: MakeFleet) -> None:
    """One keeps its data, and one wants a backup first but nobody said where: it is refused before it is touched."""
    fleet = make_fleet("d1", "d2")
    entry = {"path": "/srv/rows", "on_restore": "keep"}
    fleet.variables["d1"]["fleet_ota_data"] = [entry]
    fleet.variables["d2"]["fleet_ota_data"] = [{**entry, "backup": True}]
    ran = fleet.play("rollout")
    assert ran.rc != 0, ran.text
    assert fleet.outcomes() == {"d1": ("updated", None), "d2": ("refused", "REQUIREMENT")}, ran.text
    assert fleet.devices["d1"].transaction["data"] == [entry]
    assert fleet.devices["d2"].transactions() == 1
