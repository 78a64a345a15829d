# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules of a device, each alone: check mode, idempotence, and one clear error that names the device."""

from __future__ import annotations

import os
import sys
import typing as t

import pytest

from .conftest import HARDWARE, STATE, Device, Fleet, MakeFleet, Publisher, Result

CHECK = {"check_mode": True}


@pytest.fixture
def fleet(make_fleet: MakeFleet) -> Fleet:
    """One device with gateway 1."""
    return make_fleet("d1")


@pytest.fixture
def device(fleet: Fleet) -> Device:
    """The device of :func:`fleet`."""
    return fleet.devices["d1"]


def task(module: str, more: Result | None = None, /, **arguments: t.Any) -> Result:
    return {f"fleet.ota.{module}": arguments, **(more or {})}


def changes(results: list[Result]) -> list[bool]:
    for result in results:
        assert not result.get("failed"), result
    return [result["changed"] for result in results]


# -- enroll and info -------------------------------------------------------------------------------------------------


def test_enroll_and_info(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", bare=True)
    device = fleet.devices["d1"]
    trust_root = str(fleet.publisher.trust_root)
    identity = {"hardware": HARDWARE, "labels": {"port": 8080}}
    enroll = task("enroll", identity=identity, trust_root=trust_root)
    other = task("enroll", identity={**identity, "site": "north"}, trust_root=trust_root)
    results = fleet.tasks(
        task("info"), {**enroll, **CHECK}, task("info"), enroll, enroll, {**other, **CHECK}, task("info")
    )
    assert changes(results) == [False, True, False, True, False, True, False]
    assert [results[number]["enrolled"] for number in (0, 2, 6)] == [False, False, True]
    assert results[0]["summary"] == "not enrolled"
    assert results[6]["summary"] == "no release"
    # the inventory's name unless another is given, labels as texts
    assert results[6]["identity"] == {
        "format": 1,
        "name": "d1",
        "hardware": HARDWARE,
        "site": "",
        "labels": {"port": "8080"},
    }
    assert (device.root / STATE / "trust" / "root.json").read_bytes() == fleet.publisher.trust_root.read_bytes()


def test_enroll_takes_what_was_said_on_the_command_line(make_fleet: MakeFleet) -> None:
    """There, and in surveys, every value is a text."""
    fleet = make_fleet("d1", bare=True)
    ran = fleet.play("enroll", "-e", "fleet_ota_sealed=false")
    assert ran.rc == 0, ran.text
    state = fleet.devices["d1"].root / STATE
    assert (state / "identity.json").exists()
    assert not (state / "sealed.json").exists()


def test_enroll_shows_the_difference(fleet: Fleet) -> None:
    moved = task("enroll", identity={"hardware": HARDWARE, "site": "south"}, trust_root=str(fleet.publisher.trust_root))
    [result] = fleet.tasks({**moved, "diff": True, **CHECK})
    assert "site: \n" in result["diff"]["before"]
    assert "site: south\n" in result["diff"]["after"]


def test_enroll_with_a_root_that_is_none(fleet: Fleet, device: Device) -> None:
    before = device.tree(state=True)
    wrong = fleet.file("wrong.json", "{}")
    hardware = {"hardware": HARDWARE}
    missing, broken = fleet.tasks(
        task("enroll", identity=hardware, trust_root="/nonexistent/root.json"),
        task("enroll", identity=hardware, trust_root=wrong),
    )
    assert failure(missing, "TRUST_ROOT") == (
        "d1: TRUST_ROOT: /nonexistent/root.json cannot be read: No such file or directory; name the root.json to pin"
    )
    assert failure(broken).startswith("d1: ")
    assert device.tree(state=True) == before


def test_info_tells_release_and_last_transaction(fleet: Fleet) -> None:
    [result] = fleet.tasks(task("info"))
    assert result["summary"] == "gateway 1, last transaction updated"
    assert result["releases"]["gateway"]["current"]["version"] == "1"


# -- verify, stage, install ------------------------------------------------------------------------------------------


def test_verify_changes_nothing(fleet: Fleet, device: Device, publisher: Publisher) -> None:
    before = device.tree(state=True)
    result, again = fleet.tasks(
        task("verify", bundle=publisher.saved(2)),
        task("verify", {"check_mode": True}, release="gateway/2", channel="stable", **repository(publisher)),
    )
    assert changes([result, again]) == [False, False]
    assert (result["release"]["version"], result["verdict"]["channel"]) == ("2", "stable")
    assert again["release"] == result["release"]
    assert device.tree(state=True) == before


def repository(publisher: Publisher) -> Result:
    trust = {"repository": str(publisher.repository), "trust_root": str(publisher.trust_root)}
    return {**trust, "cache": str(publisher.folder / "cache")}


def test_stage_is_idempotent_and_tells_bytes(fleet: Fleet, device: Device, publisher: Publisher) -> None:
    stage = task("stage", bundle=publisher.saved(2))
    [file] = publisher.bundle(2).payloads()
    checked, done, again = fleet.tasks({**stage, **CHECK}, stage, stage)
    assert changes([checked, done, again]) == [True, True, False]
    assert [result["bytes"] for result in (checked, done, again)] == [file["length"], file["length"], 0]
    assert (checked["staged"], done["staged"], again["staged"]) == (["app.tar.gz"], ["app.tar.gz"], [])
    assert (device.root / STATE / "inbox" / file["sha256"]).stat().st_size == file["length"]
    assert device.running == "1"


def test_stage_begins_nothing_after_its_moment(fleet: Fleet, device: Device, publisher: Publisher) -> None:
    before = device.tree(state=True)
    bundle = publisher.saved(2)
    late, wrong, early = fleet.tasks(
        task("stage", bundle=bundle, window_end="2026-01-01T00:00:00Z"),
        task("stage", bundle=bundle, window_end="soon"),
        task("stage", CHECK, bundle=bundle, window_end="9999-12-31T23:59:59Z"),
    )
    assert (late["skipped"], late["changed"], late["staged"], late["bytes"]) == (True, False, [], 0)
    assert late["msg"].startswith("d1: nothing was brought") and "stage again in its next window" in late["msg"]
    assert "window_end is 'soon'" in failure(wrong)
    assert early["changed"] and "skipped" not in early
    assert device.tree(state=True) == before


def test_stage_by_pull_from_nowhere(fleet: Fleet, publisher: Publisher) -> None:
    bundle = publisher.saved(2)
    nobody, dead = fleet.tasks(
        task("stage", bundle=bundle, transfer="pull"),
        task("stage", bundle=bundle, transfer="pull", mirrors=["http://127.0.0.1:9/ota"]),
    )
    assert "no mirrors are named" in failure(nobody)
    assert "Connection refused" in failure(dead, "FETCH")


def test_install_is_idempotent_and_shows_the_difference(fleet: Fleet, device: Device, publisher: Publisher) -> None:
    install = {**task("install", bundle=publisher.saved(2)), "diff": True}
    before = device.tree()
    [checked] = fleet.tasks({**install, **CHECK})
    assert device.tree() == before
    assert list((device.root / STATE / "inbox").iterdir()) == []
    done, again = fleet.tasks(install, install)
    assert changes([checked, done, again]) == [True, True, False]
    assert checked["diff"] == done["diff"]
    assert again["diff"]["before"] == again["diff"]["after"]
    assert device.running == "2"
    assert device.transactions() == 1  # no transaction


RELEASES = [
    ({}, "name the release: bundle, or release, channel, repository and trust_root"),
    ({"bundle": "/nonexistent/bundle.json"}, "/nonexistent/bundle.json is not a saved bundle"),
    ({"release": "gateway"}, "parameters are required together: release, channel, repository, trust_root"),
    ({"bundle": "b", "repository": "r", "release": "x", "channel": "c", "trust_root": "t"}, "mutually exclusive"),
]


def test_a_release_that_is_not_named_properly(fleet: Fleet, device: Device) -> None:
    before = device.tree(state=True)
    modules = ("verify", "stage", "install", "update")
    cases = [(module, *case) for module in modules for case in RELEASES]
    results = fleet.tasks(*(task(module, **arguments) for module, arguments, _part in cases))
    for (module, _arguments, part), result in zip(cases, results, strict=True):
        assert part in failure(result), module
    assert device.tree(state=True) == before


def test_update_refuses_what_is_not_for_this_device(make_fleet: MakeFleet, publisher: Publisher) -> None:
    fleet = make_fleet("d1", bare=True)
    identity = {"hardware": "other"}
    alone = task("update", bundle=publisher.saved(2))
    results = fleet.tasks(
        alone, task("enroll", identity=identity, trust_root=str(publisher.trust_root)), {**alone, **CHECK}, alone
    )
    assert [results[number].get("code") for number in (0, 2, 3)] == ["NO_IDENTITY", "INCOMPATIBLE", "INCOMPATIBLE"]
    assert [results[number].get("outcome") for number in (0, 2, 3)] == ["refused"] * 3
    for number in (0, 2, 3):
        assert failure(results[number]).startswith("d1: ")
    assert not (fleet.devices["d1"].root / "opt").exists()


# -- snapshot --------------------------------------------------------------------------------------------------------


def test_snapshot_from_present_to_absent(fleet: Fleet, device: Device) -> None:
    config = device.root / "etc/gateway"
    config.mkdir(parents=True)
    (config / "line").write_text("4\n")
    (config / "line").chmod(0o640)
    before = device.tree()
    present = task("snapshot", name="monday", paths=["/etc/gateway"])
    assert changes(
        fleet.tasks(
            {**present, **CHECK}, task("snapshot", state="listed"), present, present, task("snapshot", state="listed")
        )
    ) == [True, False, True, False, False]

    (config / "line").write_text("5\n")
    (config / "line").chmod(0o600)
    (config / "new").write_text("x")
    restored = task("snapshot", state="restored", name="monday")
    checked, proven = fleet.tasks({**restored, **CHECK}, task("snapshot", state="proven", name="monday"))
    assert changes([checked, proven]) == [True, False]
    assert (config / "line").read_text() == "5\n"
    assert changes(fleet.tasks(restored, restored)) == [True, False]
    assert device.tree() == before

    absent = task("snapshot", state="absent", name="monday")
    assert changes(fleet.tasks({**absent, **CHECK}, absent, absent)) == [True, True, False]
    assert os.listdir(device.root / STATE / "snapshots") == [device.transaction["id"]]


def test_snapshots_that_cannot_be(fleet: Fleet, device: Device) -> None:
    before = device.tree(state=True)
    cases = [
        ({"name": "../../etc", "paths": ["/opt"]}, "'../../etc' cannot name a snapshot"),
        ({"name": device.transaction["id"], "paths": ["/opt"]}, "cannot name a snapshot"),
        ({"name": "a", "paths": ["/nonexistent"]}, "/nonexistent"),
        ({"name": "a", "paths": ["opt"]}, "name existing absolute paths"),
        ({"name": "a", "paths": []}, "name existing absolute paths"),
        ({"name": "a"}, "state is present but all of the following are missing: paths"),
        ({"name": "nobody", "state": "restored"}, "nobody"),
        ({"name": "nobody", "state": "proven"}, "nobody"),
        ({"name": "a", "paths": ["/opt"], "kind": "btrfs"}, "btrfs"),
    ]
    results = fleet.tasks(*(task("snapshot", **arguments) for arguments, _part in cases))
    for (arguments, part), result in zip(cases, results, strict=True):
        assert part in failure(result), arguments
    assert device.tree(state=True) == before


# -- health ----------------------------------------------------------------------------------------------------------

QUICK = {"passes": 1, "interval": 0.05, "timeout": 0.1}


def test_health_by_the_releases_own_checks_or_given_ones(fleet: Fleet) -> None:
    yes = {"name": "yes", "type": "command", "argv": ["true"]}
    own, given, none, checked = fleet.tasks(
        task("health"),
        task("health", checks=[yes], **QUICK),
        task("health", checks=[]),
        task("health", CHECK, checks=[yes], **QUICK),
    )
    assert changes([own, given, none, checked]) == [False] * 4
    assert [result["healthy"] for result in (own, given, none, checked)] == [True] * 4
    assert list(own["checks"]) == ["runs"]
    assert list(given["checks"]) == ["yes"]


def test_health_says_which_check_and_why(fleet: Fleet) -> None:
    wrong = [
        {"name": "no", "type": "command", "argv": ["false"]},
        {"name": "yes", "type": "command", "argv": ["true"]},
        {"name": "gone", "type": "tcp", "host": "127.0.0.1", "port": 9},
    ]
    sick, unknown, odd, label = fleet.tasks(
        task("health", checks=wrong, **QUICK),
        task("health", checks=[{"name": "x", "type": "horoscope"}]),
        task("health", checks=[{"name": "x", "type": "command", "argv": ["true"], "retries": 3}]),
        task("health", checks=[{"name": "x", "type": "command", "argv": ["${colour}"]}]),
    )
    text = failure(sick, "HEALTH")
    assert "no: false ended with 1, not 0" in text
    assert "gone: " in text
    assert "yes: " not in text
    assert sick["healthy"] is False
    assert "'horoscope'" in failure(unknown)
    assert "retries" in failure(odd)
    assert "colour" in failure(label)


def test_a_device_without_the_named_python(fleet: Fleet) -> None:
    missing = {"vars": {"ansible_python_interpreter": "/nonexistent/python3"}}
    info, update = fleet.tasks(task("info", missing), task("update", missing, bundle=fleet.publisher.saved(2)))
    assert "/nonexistent/python3 was not found; install Python 3.8 or newer there" in failure(info, "NO_PYTHON")
    assert (update["outcome"], update["code"]) == ("refused", "NO_PYTHON")


def test_python_may_be_named_by_a_template(fleet: Fleet) -> None:
    given = {"vars": {"ansible_python_interpreter": "{{ python }}", "python": sys.executable}}
    missing = {"vars": {"ansible_python_interpreter": "{{ python }}", "python": "/nonexistent/python3"}}
    found, told = fleet.tasks(task("info", given), task("info", missing))
    assert found["enrolled"]
    assert "/nonexistent/python3 was not found" in failure(told, "NO_PYTHON")


def failure(result: Result, code: str | None = None) -> str:
    """The message of a task that failed: a sentence, not a trace."""
    assert result["failed"], result
    assert not result["changed"]
    assert code is None or result["code"] == code, result
    message = result["msg"]
    assert isinstance(message, str)
    assert "Traceback" not in message
    assert "\n" not in message.strip()
    return message
