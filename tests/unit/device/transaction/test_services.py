# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ran before a change: which of it is started again and which is not, and daemons of a release on a directory."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import types
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base.errors import OtaError
from ansible_collections.fleet.ota.plugins.module_utils._device.base.protocol import Release
from ansible_collections.fleet.ota.plugins.module_utils._device.kinds import checks, payloads
from ansible_collections.fleet.ota.plugins.module_utils._device.kinds.checks import unit as unit_check
from ansible_collections.fleet.ota.plugins.module_utils._device.kinds.payloads import _packages
from ansible_collections.fleet.ota.plugins.module_utils._device.records.transaction import Transaction
from ansible_collections.fleet.ota.plugins.module_utils._device.system import command, processes, units
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout
from ansible_collections.fleet.ota.plugins.module_utils._device.system.processes import Process
from ansible_collections.fleet.ota.plugins.module_utils._device.transaction.services import (
    again,
    daemons,
    names,
    record,
)

from ..conftest import Device, Publisher
from ..system.test_units import Systemd
from .test_transaction import apply, update


@pytest.fixture()
def systemd(monkeypatch: pytest.MonkeyPatch) -> Systemd:
    played = Systemd()
    monkeypatch.setattr(command, "run", played.run)
    return played


BEFORE: record.Before = {"invocation": "i1", "enabled": "enabled", "dependents": []}


@pytest.mark.parametrize(
    ("changes", "forward", "reason"),
    [
        ({}, True, None),
        ({"LoadState": "not-found"}, False, "its unit is not-found"),
        ({"Conflicts": "shutdown.target new.service"}, True, "new.service runs in its place"),
        ({"ConflictedBy": "new.service"}, False, "new.service runs in its place"),
        ({"UnitFileState": "disabled"}, True, "it was disabled"),
        ({"UnitFileState": "disabled"}, False, None),  # by a release that is gone
        ({"TriggeredBy": "tick.timer"}, False, None),  # it is enabled, and runs from the boot on
        ({"TriggeredBy": "tick.timer", "UnitFileState": "static"}, False, ""),
        ({"TriggeredBy": "ask.socket"}, False, None),
        ({"TriggeredBy": "dead.timer"}, False, None),
        ({"BusName": "org.example", "UnitFileState": "static"}, False, ""),
        ({"BusName": "org.example", "UnitFileState": "enabled"}, False, None),
        ({"RefuseManualStart": "yes"}, False, ""),
    ],
)
def test_what_is_started_again(changes: dict[str, str], forward: bool, reason: str | None) -> None:
    alive = {"new.service", "tick.timer", "ask.socket"}
    before: record.Before = {
        **BEFORE,
        "enabled": changes.get("UnitFileState", "enabled").replace("disabled", "enabled"),
    }
    assert again._left_alone({"LoadState": "loaded", **changes}, alive, alive, before, forward) == reason


def test_what_took_the_place_of_another_unit_leaves_it_on_the_way_back(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd.add("old.service", "inactive", Conflicts="new.service")
    systemd.add("new.service", ConflictedBy="old.service")
    told: list[str] = []
    monkeypatch.setattr(record, "tell", lambda transaction, text: told.append(text))
    transaction = t.cast(Transaction, None)
    before = {"old.service": BEFORE}
    assert again._missing(transaction, units.Manager(), before, forward=False) == ["old.service"]
    assert again._missing(transaction, units.Manager(), {**before, "new.service": BEFORE}, forward=False) == []
    assert again._missing(transaction, units.Manager(), before, forward=True) == []
    assert told == ["old.service ran before and does not now: new.service runs in its place"] * 2


def test_a_release_may_name_a_unit_by_its_alias(systemd: Systemd, tmp_path: Path) -> None:
    systemd.add("mariadb.service", RequiredBy="shop.service")
    systemd.units["mysql.service"] = systemd.units["mariadb.service"]
    layout = Layout(str(tmp_path))
    release: Release = {"name": "x", "version": "1", "counter": 1, "digest": "0" * 64}
    transaction = Transaction(layout, "update", release, units=["mysql.service", "cam@.service"])
    assert again.named(transaction, ["mariadb.service", "cam@1.service"]) == ["cam@1.service", "mariadb.service"]
    before: dict[str, record.Before] = {"mariadb.service": {**BEFORE, "dependents": ["shop.service"]}}
    found: record.Record = {"boot": "", "clock": 0.0, "units": {"": before}, "daemons": [], "told": []}
    assert again.concerned(transaction, found) == {"mariadb.service", "shop.service"}
    systemd.refusals["show"] = "Failed to connect to bus"
    assert again.named(transaction, []) == ["mysql.service"]


def test_daemons_of_files_that_a_rollback_changes_end_and_no_others(tmp_path: Path) -> None:
    running, recorded = [], []
    for name in ("changes", "stays", "others"):
        shutil.copy("/bin/sleep", tmp_path / name)
        running.append(subprocess.Popen([str(tmp_path / name), "1000"]))
    try:
        found = {process.pid: process for process in processes.everything()}
        for one in running[:2]:  # the third began since the record was taken
            process = found[one.pid]
            recorded.append({"pid": one.pid, "started": process.started, "exe": process.exe, "argv": process.argv})
        log: list[str] = []
        change = t.cast("t.Any", types.SimpleNamespace(log=log.append))
        changed = {str(tmp_path / "changes"), str(tmp_path / "others")}
        threading.Thread(target=running[0].wait, daemon=True).start()  # its parent takes note, as init does
        daemons.end_old(change, t.cast("t.Any", {"daemons": recorded}), changed)
        assert [one.poll() is None for one in running] == [False, True, True]
        assert log == ["ended: %s 1000 (%d)" % (tmp_path / "changes", running[0].pid)]
    finally:
        for one in running:
            one.kill()
            one.wait()


def test_users_with_a_systemd_are_found_without_a_look_at_every_unit(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "has_systemd", lambda: True)
    monkeypatch.setattr(units.Manager, "loaded", lambda self: pytest.fail("every unit was looked at"))
    monkeypatch.setattr(units.Manager, "active", lambda self, pattern: ["user@1000.service", "user@x.service"])
    assert {key: manager.uid for key, manager in record.managers().items()} == {"": None, "1000": 1000}


def test_dependents_of_dependents_are_related() -> None:
    before = {name: {**BEFORE, "dependents": [other]} for name, other in (("a", "b"), ("b", "c"), ("c", "a"))}
    before["z"] = {**BEFORE, "dependents": ["a"]}
    assert record.related(["a"], t.cast("dict[str, record.Before]", before)) == {"a", "b", "c"}


def test_what_comes_and_goes_by_itself_is_not_recorded() -> None:
    loaded = {
        "gw.service": {"ActiveState": "active", "RequiredBy": "b.service", "ConsistsOf": "a.service"},
        "broken.service": {"ActiveState": "activating", "Type": "simple"},
        "apt-daily.service": {"ActiveState": "activating", "Type": "oneshot"},
        "kept.service": {"ActiveState": "active", "Type": "oneshot"},
        "off.service": {"ActiveState": "inactive"},
        "ssh@7-peer.service": {"ActiveState": "active", "TriggeredBy": "ssh.socket"},
        "spool@1.service": {"ActiveState": "active", "TriggeredBy": "spool@1.socket"},
        "fleet-ota-worker-1.service": {"ActiveState": "active"},
        "user@0.service": {"ActiveState": "active"},
    }
    found = record._running({name: {"Id": name, **unit} for name, unit in loaded.items()})
    assert sorted(found) == ["broken.service", "gw.service", "kept.service", "spool@1.service"]
    assert found["gw.service"]["dependents"] == ["a.service", "b.service"]


def process(pid: int, *argv: str, parent: int = 1, unit: str = "") -> Process:
    return Process(pid, 1.0, parent, 0, argv[0], argv, None, unit)


def test_a_daemon_is_gone_when_fewer_of_its_kind_run(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [process(9, "/bin/d", "1"), process(8, "/bin/d", "2", unit="d.service"), process(7, "/bin/d", "3", parent=5)]
    monkeypatch.setattr(processes, "everything", lambda: now)
    kept = [{"argv": ["/bin/d", number]} for number in ("1", "1", "2", "3")]
    gone = daemons.gone(t.cast("record.Record", {"daemons": kept}))
    assert [one["argv"][1] for one in gone] == ["1", "2", "3"]


@pytest.fixture()
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, str]]:
    """Units that the machine has."""
    states: dict[str, dict[str, str]] = {}
    monkeypatch.setattr(command, "has_systemd", lambda: True)
    absent = {"LoadState": "not-found"}
    monkeypatch.setattr(units.Manager, "show", lambda self, names: {name: states.get(name, absent) for name in names})
    return states


class Payload(payloads.Base):
    """A payload that brings ``its.service``."""

    def brings_unit(self, name: str) -> bool:
        return name == "its.service"


@pytest.mark.parametrize(
    ("unit", "state", "word"),
    [
        ("here.service", "loaded", None),
        ("its.service", "not-found", None),
        ("made@one.service", "not-found", None),
        ("none.service", "not-found", "neither this device nor the release has unit none.service"),
        ("off.service", "masked", "unit off.service of payload app is masked"),
        ("its.service", "masked", "unit its.service of payload app is masked"),
    ],
)
def test_a_named_unit_that_nobody_has_is_refused(
    known: dict[str, dict[str, str]], unit: str, state: str, word: str | None
) -> None:
    known[unit] = {"LoadState": state}
    payload = t.cast("payloads.Payload", {"name": "app", "type": "archive", "units": [unit]})
    several = [Payload(Layout("/"), t.cast("payloads.Release", {}), payload, print)]
    touched = {"/etc/systemd/system/made@.service"}
    if word is None:
        names.require_known(Layout("/"), several, touched)
        return
    with pytest.raises(OtaError, match=word) as caught:
        names.require_known(Layout("/"), several, touched)
    assert caught.value.code == "REQUIREMENT"


def test_units_are_restarted_once_when_all_payloads_are_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    restarted: list[t.Sequence[str]] = []

    def restart(names: t.Sequence[str]) -> units.Failures:
        restarted.append(names)
        return {}

    monkeypatch.setattr(units, "restart", restart)
    several = [
        Payload(Layout("/"), t.cast("payloads.Release", {}), t.cast("payloads.Payload", payload), print)
        for payload in ({"units": ["z.service", "a.service"]}, {}, {"units": ["b.service", "z.service"]})
    ]
    payloads.restart(several)
    assert restarted == [["z.service", "a.service", "b.service"]]


def test_what_a_unit_check_finds_names_the_unit_once(known: dict[str, dict[str, str]]) -> None:
    known["gw.service"] = {"LoadState": "loaded", "ActiveState": "inactive", "SubState": "dead"}
    reasons = []
    for name in ("unit gw.service", "runs"):
        with pytest.raises(checks.Unhealthy) as caught:
            unit_check.look({"name": name, "type": "unit", "unit": "gw.service"}, checks.Context(True, {}))
        reasons.append("%s: %s" % (name, caught.value))
    assert reasons == ["unit gw.service: it is inactive (dead)", "runs: gw.service is inactive (dead)"]


@pytest.mark.parametrize(
    ("changes", "renewed", "reason"),
    [
        ({}, False, None),
        ({}, True, "still runs the process of before"),
        ({"InvocationID": "new"}, True, None),
        ({"ActiveState": "deactivating"}, False, "deactivating"),
        ({"LoadState": "masked"}, False, "masked"),
    ],
)
def test_a_unit_counts_only_in_a_run_of_this_change(
    known: dict[str, dict[str, str]], changes: dict[str, str], renewed: bool, reason: str | None
) -> None:
    known["gw.service"] = {"LoadState": "loaded", "ActiveState": "active", "InvocationID": "old", **changes}
    check = {"name": "gw", "unit": "gw.service", "renewed": renewed}
    context = checks.Context(True, {"invocation": "old"})
    if reason is None:
        assert unit_check.look(check, context)["invocation"]
        return
    with pytest.raises(checks.Unhealthy, match=reason):
        unit_check.look(check, context)


def test_what_policy_rc_d_denies_is_read() -> None:
    text = "x\n/usr/sbin/policy-rc.d returned 101, not running 'restart app.service other'\ny"
    assert _packages._DENIED.findall(text) == ["app.service other"]


#: Starts a daemon that keeps its file open and writes it all the time, as a database does.
START = """#!/bin/sh
cd "$FLEET_OTA_ROOT"
nohup sh -c 'exec 9>>srv/rows
echo $$ >srv/new; mv srv/new srv/pid.%s
while :; do echo %s >&9; sleep 0.02; done' >&2 &
while ! test -e srv/pid.%s; do :; done
"""
STOP = """#!/bin/sh
cd "$FLEET_OTA_ROOT/srv" && test -e pid.1 || exit 0
kill $(cat pid.1)
rm pid.1
"""
FAILING = {"passes": 1, "interval": 0.1, "timeout": 0.2, "checks": [{"name": "never", "type": "tcp", "port": 1}]}


def writes(device: Device, version: int) -> bool:
    """Whether the daemon of that release runs, and has the file open that is there."""
    try:
        return os.readlink("/proc/%s/fd/9" % device.read("srv/pid.%d" % version).strip()) == str(
            device.root / "srv/rows"
        )
    except OSError:
        return False


def test_a_daemon_goes_with_its_release_and_no_file_goes_back_under_one(device: Device, publisher: Publisher) -> None:
    (device.root / "srv").mkdir()
    (device.root / "srv/rows").touch()
    data = [{"path": "/srv/rows", "on_restore": "restore"}]
    update(
        device,
        publisher,
        1,
        content={"bin/start": START.replace("%s", "1")},
        payload={"activate": ["bin/start"]},
        data=data,
    )
    try:
        content = {"bin/start": START.replace("%s", "2"), "bin/stop": STOP}
        both = {"activate": ["bin/start"], "deactivate": ["bin/stop"]}
        publisher.release(2, content=content, payload=both, data=data, health=FAILING)
        reply = apply(device, publisher)
        assert reply["state"] == "restored", reply
        assert (device.root / "srv/pid.2").exists()
        assert not os.path.exists("/proc/%s/fd/9" % device.read("srv/pid.2").strip()), "it still runs"
        assert writes(device, 1), "it is dead, or its file was replaced while it runs"
    finally:
        os.kill(int(device.read("srv/pid.1")), signal.SIGKILL)
