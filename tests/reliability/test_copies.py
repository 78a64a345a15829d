# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A device that is a copy of another, or was set back to an old disk: refused until it is enrolled again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.enrolment import machine as binding
from ansible_collections.fleet.ota.plugins.module_utils._device.system import mounts

from .device import Directory, differences
from .releases import Releases


def machine(device: Directory, identifier: str) -> None:
    """Give the device the machine id that repeats ``identifier``."""
    path = device.root / "etc/machine-id"
    path.parent.mkdir(exist_ok=True)
    path.write_text(identifier * 32 + "\n")


@pytest.fixture
def bound(device: Directory, releases: Releases) -> Directory:
    """An enrolled device with a machine id, which went from release 1 to 2."""
    machine(device, "a")
    assert device.enroll(releases.trust_root)["changed"] is True, "bound to the machine id that it did not have before"
    assert device.enroll(releases.trust_root)["changed"] is False
    assert device.update(releases.get(2))["outcome"] == "updated"
    return device


def test_a_copy_is_refused_until_it_is_enrolled(bound: Directory, releases: Releases, tmp_path: Path) -> None:
    copy = bound.copy(tmp_path / "copy")
    machine(copy, "b")
    before = copy.tree()
    for reply in (
        copy.apply(releases.get(3), rollout="x"),
        copy.call("verify", bundle=releases.get(3).bundle),
        copy.call("install", bundle=releases.get(3).bundle),
        copy.call("rollback", rollout="x", generation=1, guard="process"),
    ):
        assert (reply["error"]["code"], reply["outcome"]) == ("CLONE", "refused"), reply
    assert not differences(before, copy.tree())
    assert json.loads((copy.state / "lease.json").read_text())["rollout"] != "x", "refused before anything was noted"

    checked = copy.call(
        "enroll", identity={"name": "dev2", "hardware": "edge-1"}, trust_root=releases.trust_root, check=True
    )
    assert (checked["changed"], checked["before"]["machine"], checked["after"]["machine"]) == (
        True,
        "another one",
        "this one",
    )
    assert copy.apply(releases.get(3), rollout="x")["error"]["code"] == "CLONE", "a check binds nothing"
    assert copy.enroll(releases.trust_root, name="dev2")["changed"] is True
    assert copy.call("info")["instance"] != bound.call("info")["instance"]
    assert copy.update(releases.get(3), rollout="x")["outcome"] == "updated"
    assert bound.update(releases.get(3), rollout="x")["outcome"] == "updated", "the original never noticed"


def test_the_way_back_of_a_copy_is_open(bound: Directory, releases: Releases, tmp_path: Path) -> None:
    before = bound.tree()
    assert bound.apply(releases.get(3), rollout="x")["state"] == "unconfirmed"
    for way in ("restore", "guard"):
        copy = bound.copy(tmp_path / way)
        machine(copy, "b")
        if way == "restore":
            copy.call("restore", rollout="x")
        copy.guard("now")
        assert copy.call("status")["outcome"] == "restored"
        assert differences(before, copy.tree()) == ["etc/machine-id"]


def test_a_device_of_an_older_engine_is_bound_by_its_next_enrolment(bound: Directory, releases: Releases) -> None:
    (bound.state / "binding.json").unlink()
    machine(bound, "b")
    assert bound.call("info")["instance"] is None
    assert bound.update(releases.get(3))["outcome"] == "updated"
    assert bound.enroll(releases.trust_root)["changed"] is True
    assert bound.call("info")["instance"]
    machine(bound, "c")
    assert bound.call("verify", bundle=releases.get(3).bundle)["error"]["code"] == "CLONE"


@pytest.mark.parametrize("content", ["", "uninitialized\n", "\xff" * 32, "A" * 32])
def test_what_is_not_a_machine_id_binds_to_nothing(bound: Directory, content: str) -> None:
    instance = bound.call("info")["instance"]
    (bound.root / "etc/machine-id").write_text(content, encoding="latin-1")
    assert binding.machine(bound.layout) is None
    binding.require_same(bound.layout)
    assert binding.renewed(bound.layout, binding.load(bound.layout))["instance"] == instance


def test_a_machine_id_of_one_boot_binds_to_nothing(bound: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it cannot be kept, systemd mounts one over the file that is another at every boot."""
    found = mounts.table()
    over = mounts.Mount(bound.layout.real("/etc/machine-id"), "tmpfs", "tmpfs")
    monkeypatch.setattr(mounts, "table", lambda: [*found, over])
    assert binding.machine(bound.layout) is None


def test_the_machine_id_itself_is_not_kept(bound: Directory) -> None:
    assert "a" * 32 not in (bound.state / "binding.json").read_text()


def test_a_device_that_was_set_back_is_refused_until_it_is_enrolled(
    bound: Directory, releases: Releases, tmp_path: Path
) -> None:
    old = bound.copy(tmp_path / "old")
    reply = bound.update(releases.get(3))
    assert reply["sequence"] == old.call("status")["sequence"] + 1
    expected = {key: reply[key] for key in ("instance", "sequence")}
    assert bound.update(releases.get(3), expected=expected, rollout="y")["outcome"] == "current"
    before = old.tree()
    for refused in (
        old.apply(releases.get(3), expected=expected, rollout="x"),
        old.apply(releases.get(3), expected=expected, rollout="x", check=True),
        old.call("rollback", rollout="x", generation=1, guard="process", expected=expected),
    ):
        assert (refused["error"]["code"], refused["outcome"]) == ("SET_BACK", "refused"), refused
    assert not differences(before, old.tree())
    assert json.loads((old.state / "lease.json").read_text())["rollout"] != "x", "refused before anything was noted"

    old.enroll(releases.trust_root)
    assert old.apply(releases.get(3), expected=expected)["error"]["code"] == "SET_BACK", "not by the way"
    (old.state / "binding.json").unlink()
    old.enroll(releases.trust_root)
    assert old.update(releases.get(3), expected=expected)["outcome"] == "updated"


def test_every_transaction_counts_and_an_interrupted_rollout_goes_on(bound: Directory, releases: Releases) -> None:
    first = bound.call("status")
    reply = bound.apply(releases.get(3), rollout="x")
    assert (reply["sequence"], reply["instance"]) == (first["sequence"] + 1, bound.call("info")["instance"])
    expected = {key: reply[key] for key in ("instance", "sequence")}
    again = bound.apply(releases.get(3), rollout="x", generation=2, expected=expected)
    assert (again["state"], again["transaction"]) == ("unconfirmed", reply["transaction"])
    bound.call("restore", rollout="x")
    assert bound.call("status")["sequence"] == reply["sequence"]
    reply = bound.update(releases.get(3), rollout="y", retry_rejected=True, expected=expected)
    assert (reply["outcome"], reply["sequence"]) == ("updated", first["sequence"] + 2)


def test_a_machine_takes_nothing_that_is_meant_for_another(bound: Directory, releases: Releases) -> None:
    own, before = bound.call("info")["identity"]["name"], bound.tree()
    other = {"rollout": "x", "size": 3, "head": "a" * 64, "journal": "b" * 64, "device": "dev9"}
    for reply in (
        bound.apply(releases.get(3), rollout="x", checkpoint=other),
        bound.call("rollback", rollout="x", generation=1, guard="process", checkpoint=other),
    ):
        assert (reply["error"]["code"], reply["outcome"]) == ("NAME", "refused"), reply
        assert f"enrolled as {own}, and the request is for dev9" in reply["error"]["message"]
    assert not differences(before, bound.tree())
    (bound.root / "etc/machine-id").unlink()
    assert bound.update(releases.get(3), checkpoint=other)["outcome"] == "updated", "a directory is no machine"
