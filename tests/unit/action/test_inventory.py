# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An inventory that is not the fleet: hosts that are no devices, devices that stand twice, devices that are missing."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible_collections.fleet.ota.plugins.plugin_utils._actions import inventory, settings
from ansible_collections.fleet.ota.plugins.plugin_utils._actions.hostvars import Inventory
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import PlanError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan

RELEASE = {"name": "gateway", "version": "2.0", "counter": 2, "digest": "ab" * 32, "channel": "stable"}


def left(hosts: dict[str, dict[str, t.Any]], infos: dict[str, t.Any] | None = None) -> list[str]:
    return sorted(inventory.no_devices(list(hosts), Inventory(hosts), infos or {}))


def test_hosts_without_hardware_are_no_targets_unless_nothing_has_any() -> None:
    device = {"fleet_ota_hardware": "edge"}
    assert left({"d1": device, "mirror": {}, "localhost": {}}) == ["localhost", "mirror"]
    assert left({"d1": {}, "d2": {}, "localhost": {}}) == ["localhost"]
    assert left({"d1": device, "d2": {}}, {"d2": {"identity": {"name": "d2"}}}) == []
    assert left({"d1": device, "d2": {"fleet_ota_hardware": ""}}, {"d2": {"msg": "no contact"}}) == ["d2"]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({"ansible_host": "10.0.0.1"}, {"ansible_host": "10.0.0.1"}, True),
        ({}, {"ansible_host": "d1"}, True),
        ({"ansible_host": "10.0.0.1"}, {"ansible_host": "10.0.0.2"}, False),
        ({"ansible_host": "10.0.0.1", "ansible_port": 2201}, {"ansible_host": "10.0.0.1", "ansible_port": 2202}, False),
        ({"ansible_host": "h", "ansible_ssh_common_args": "-J a"}, {"ansible_host": "h"}, False),
        ({"ansible_host": "h", "fleet_ota_root": "/a"}, {"ansible_host": "h", "fleet_ota_root": "/b"}, False),
        ({}, {}, False),
    ],
)
def test_a_device_stands_once(first: dict[str, t.Any], second: dict[str, t.Any], same: bool) -> None:
    hosts = {"d1": first, "d2": second}
    if same:
        with pytest.raises(PlanError, match=r"(d1, d2|d2, d1) are all"):
            inventory.require_distinct(list(hosts), Inventory(hosts))
    else:
        inventory.require_distinct(list(hosts), Inventory(hosts))


def test_a_source_that_cannot_be_read_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "plant").mkdir()
    (tmp_path / "plant" / "hosts.yml").write_text("all: {hosts: {d1: }}")
    (tmp_path / "plant" / "README.md").write_text("# nothing to read")
    (tmp_path / "plant" / "group_vars").mkdir()
    (tmp_path / "plant" / "group_vars" / "all.yml").write_text("site: north")
    sources = [str(tmp_path / "plant"), "d2,"]
    inventory.require_read(InventoryManager(DataLoader(), sources))
    broken = tmp_path / "plant" / "more.yml"
    broken.write_text("all: [")
    with pytest.raises(PlanError, match=r"could not read .*more\.yml"):
        inventory.require_read(InventoryManager(DataLoader(), sources))
    with pytest.raises(PlanError, match="nowhere"):
        inventory.require_read(InventoryManager(DataLoader(), [str(tmp_path / "nowhere.yml"), "d2,"]))
    inventory.require_read(None)


def test_a_fleet_that_lost_many_devices_is_not_rolled_out_to() -> None:
    names = [f"d{number}" for number in range(40)]
    stored = plan.make(hosts=names, groups={"all": names}, release=RELEASE)
    inventory.require_known(None, [])
    inventory.require_known(stored, names[4:])
    with pytest.raises(PlanError, match="5 of the 40 devices of this rollout are not in the inventory any more"):
        inventory.require_known(stored, names[5:])


def test_a_variable_that_cannot_be_worked_out_is_told_with_its_host() -> None:
    class Broken(dict[str, t.Any]):
        def __getitem__(self, name: str) -> t.Any:
            if name == "fleet_ota_deadline":
                from ansible.errors import AnsibleUndefinedVariable

                raise AnsibleUndefinedVariable("'minutes' is undefined")
            return super().__getitem__(name)

    bad = Broken(fleet_ota_deadline="{{ minutes * 60 }}")
    with pytest.raises(PlanError, match=r"d2: fleet_ota_deadline cannot be worked out .*'minutes' is undefined"):
        settings.require(["d1", "d2"], {"d1": {}, "d2": bad})
    settings.require(["d2"], {"d2": Broken({**bad, "fleet_ota_hook_before": "facts.yml"})})
