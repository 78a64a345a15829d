# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reboots as a directory plays them, deadlines that move, and other versions of the engine in between."""

from __future__ import annotations

import io
import json
import typing as t
import zipfile
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base import protocol
from ansible_collections.fleet.ota.plugins.module_utils._device.base.errors import OtaError
from ansible_collections.fleet.ota.plugins.module_utils._device.base.states import State
from ansible_collections.fleet.ota.plugins.module_utils._device.records import transaction
from ansible_collections.fleet.ota.plugins.module_utils._device.records.transaction import Transaction
from ansible_collections.fleet.ota.plugins.module_utils._device.system import boot, command, lock
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout
from ansible_collections.fleet.ota.plugins.module_utils._device.system.overlay import Need
from ansible_collections.fleet.ota.plugins.module_utils._device.transaction import (
    guard,
    reboot,
    recover,
    restore,
    worker,
)
from ansible_collections.fleet.ota.plugins.module_utils._device.verbs import _connection
from ansible_collections.fleet.ota.plugins.module_utils._device.verbs import transaction as verbs

from ..conftest import Device, Publisher
from .test_transaction import apply, update, wait_for

pytestmark = pytest.mark.one_python


def record(device: Device) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", json.loads((device.state / "transaction.json").read_text()))


@pytest.mark.parametrize(("mode", "note", "played"), [("always", 0, 1), ("if_needed", 0, 0), ("if_needed", 1, 1)])
def test_a_directory_plays_a_reboot(device: Device, publisher: Publisher, mode: str, note: int, played: int) -> None:
    if note:
        (device.root / "run").mkdir()
        (device.root / "run/reboot-required").write_text("")
    publisher.release(1, reboot=mode)
    reply = apply(device, publisher)
    assert reply["state"] == "unconfirmed", reply
    assert ("rebooting" in reply["steps"]) is bool(played)
    assert device.call("confirm")["outcome"] == "updated"


def test_a_wrong_reboot_is_refused(publisher: Publisher) -> None:
    with pytest.raises(Exception, match="reboot"):
        publisher.release(1, reboot="perhaps")


def test_an_extended_deadline_is_later_and_never_earlier(device: Device, publisher: Publisher) -> None:
    publisher.release(1)
    assert apply(device, publisher, deadline=6)["state"] == "unconfirmed"
    first = record(device)["expires"]["clock"]
    assert device.call("extend", rollout="r1", deadline=500)["deadline"] == 500
    later = record(device)["expires"]["clock"]
    assert later > first + 400
    device.call("extend", rollout="r1", deadline=10)
    assert record(device)["expires"]["clock"] == later
    assert device.call("extend", rollout="other", deadline=900)["state"] == "idle"


def test_the_time_of_an_installation_is_none_of_the_deadline(device: Device, publisher: Publisher) -> None:
    publisher.release(1, content={"bin/start": "#!/bin/sh\nsleep 0.7\n"}, payload={"activate": ["bin/start"]})
    assert apply(device, publisher, deadline=6)["state"] == "unconfirmed"
    found = record(device)
    assert found["steps"]["checking"] - found["steps"]["installing"] > 0.7
    assert found["expires"]["clock"] == pytest.approx(found["in_place"]["clock"] + 6, abs=0.3)


@pytest.mark.parametrize(("slowness", "more"), [(100, 100), (0, 0), (None, 0)])  # None: an older engine's record
def test_a_slow_device_has_the_time_that_it_needs_and_a_hanging_release_has_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slowness: int | None, more: int
) -> None:
    layout = Layout(str(tmp_path))
    layout.prepare()
    found = at(layout, State.SNAPSHOTTED, "never")
    found.slowness = slowness
    guard.arm(found)
    assert guard.remaining(found) == pytest.approx(60 + more, abs=2)
    found.advance(State.ARMED)
    found.advance(State.INSTALLING)
    waiting, now = recover._Guard(layout, found.id), boot.clock()
    found.guard = "process"
    with lock.hold(layout):
        monkeypatch.setattr(guard, "clock", lambda: now + 60 + more - 2)
        assert waiting._due(found) is None
        monkeypatch.setattr(guard, "clock", lambda: now + 60 + more + 2)
        assert waiting._due(found) == "deadline"
    gone: list[str] = []
    monkeypatch.setattr(recover, "go_back", lambda transaction, code, message: gone.extend([code, message]))
    recover._settle(found, "deadline", None)
    assert gone == ["DEADLINE", "the release was still installing after %d s" % (60 + more)]
    found.guard = "none"
    found.advance(State.CHECKING)
    guard.arm(found)
    assert guard.remaining(found) == pytest.approx(60, abs=2), "the confirm has its deadline, not more"


def test_how_long_a_slow_device_may_take() -> None:
    assert worker._slowness({}) == 0
    assert worker._slowness({"/opt": Need(300 << 20, 9), "/usr": Need(100 << 20, 9)}, 2.5) == 425


def other(program: Path, **replace: str) -> Path:
    """Another version of the engine: other bytes, and texts of ``transaction.py`` replaced."""
    path = program.with_name("other-%d.pyz" % len(replace))
    with zipfile.ZipFile(program) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("/records/transaction.py"):
                for old, new in replace.items():
                    content = content.replace(b"%s = 1" % old.encode(), b"%s = %s" % (old.encode(), new.encode()))
            target.writestr(name, content)
        target.writestr("other.txt", "another version")
    return path


def test_another_engine_meanwhile_neither_replaces_nor_breaks_the_guard(
    device: Device, publisher: Publisher, program: Path
) -> None:
    """The guard that another version arms anew is the program that opened the transaction."""
    update(device, publisher, 1)
    before = device.tree()
    publisher.release(2)
    assert apply(device, publisher, deadline=7)["state"] == "unconfirmed"
    newer = Device(device.root, other(program))
    guarded = record(device)["guard_pid"]
    publisher.release(3)
    assert apply(newer, publisher, rollout="other")["error"]["code"] == "BUSY"
    assert newer.call("status")["state"] == "unconfirmed"
    assert newer.call("extend", rollout="r1", deadline=8)["state"] == "unconfirmed"
    found = record(device)
    assert found["guard_pid"] != guarded
    assert str(program).encode() in Path("/proc/%d/cmdline" % found["guard_pid"]).read_bytes()
    assert wait_for(device, "restored")["code"] == "DEADLINE"
    assert device.tree() == before


def test_an_engine_with_another_format_of_state_is_busy_and_touches_nothing(
    device: Device, publisher: Publisher, program: Path
) -> None:
    publisher.release(1)
    assert apply(device, publisher)["state"] == "unconfirmed"
    stranger = Device(device.root, other(program, FORMAT="2"))
    before = (device.state / "transaction.json").read_bytes()
    for verb in ("status", "confirm", "restore", "extend", "rollback", "info"):
        assert stranger.call(verb)["error"]["code"] == "BUSY", verb
    assert apply(stranger, publisher)["error"]["code"] == "BUSY"
    assert (device.state / "transaction.json").read_bytes() == before
    assert device.call("confirm")["outcome"] == "updated"


def at(layout: Layout, state: State, reboot: str) -> Transaction:
    """An update that has come to ``state``."""
    entry: protocol.Release = {"name": "app", "version": "1", "counter": 1, "digest": "d"}
    found = Transaction(layout, kind="update", release=entry, reboot=reboot, guard="none", deadline=60)
    found.begin()
    for one in (State.VERIFIED, State.REHEARSED, State.SNAPSHOTTED, State.ARMED, State.INSTALLING):
        found.advance(one)
        if one is state:
            break
    return found


def test_the_same_boot_counts_once_and_steps_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, boot = [5000.0], ["a"]
    monkeypatch.setattr(transaction, "clock", lambda: now[0])
    monkeypatch.setattr(transaction, "boot_id", lambda: boot[0])
    monkeypatch.setattr(guard, "clock", lambda: now[0])
    monkeypatch.setattr(guard, "boot_id", lambda: boot[0])
    monkeypatch.setattr(reboot, "boot_id", lambda: boot[0])
    layout = Layout(str(tmp_path))
    layout.prepare()
    found = at(layout, State.INSTALLING, "always")
    now[0] += 20
    found.advance(State.REBOOTING)
    guard.arm(found)
    assert guard.remaining(found) == 60
    boot[0], now[0] = "b", 12.0
    assert guard.remaining(found) == 0, "a deadline is worth nothing in another boot"
    found.count_boot()
    found.count_boot()
    assert found.boots == 1 and reboot.happened(found)
    found.advance(State.CHECKING)
    assert found.steps["checking"] == 32.0


@pytest.mark.parametrize(("mode", "state"), [("always", "rebooting"), ("never", "checking")])
def test_what_was_installed_is_on_disk_before_the_record_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, state: str
) -> None:
    """What a package's scripts wrote, too: initramfs and boot entries are made by them."""
    layout = Layout("/", str(tmp_path))
    layout.prepare()
    found = at(layout, State.INSTALLING, mode)
    seen: list[str] = []
    monkeypatch.setattr(worker.os, "sync", lambda: seen.append(found.state))
    monkeypatch.setattr(worker.reboot, "ask", lambda layout: seen.append(found.state))
    monkeypatch.setattr(worker, "prove", lambda found, section: found.advance(State.CHECKING))
    worker._in_place(found, {})
    assert seen == ["installing", *(["rebooting"] if mode == "always" else [])]
    assert state in found.steps


def test_a_connection_is_told_by_the_server_process_that_carries_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """sh and sudo stand between; a controller on this machine says nothing about connections."""
    tree = {9: ("sh", 8, 900), 8: ("sudo", 7, 800), 7: ("sshd", 6, 700), 6: ("sshd", 1, 600), 5: ("python3", 6, 500)}
    monkeypatch.setattr(_connection, "_look", tree.get)
    monkeypatch.setattr(_connection.os, "sysconf", lambda name: 100)
    monkeypatch.setattr(_connection.os, "getppid", lambda: 9)
    assert _connection.started() == 7.0
    monkeypatch.setattr(_connection.os, "getppid", lambda: 5)
    assert _connection.started() is None
    monkeypatch.setattr(_connection.os, "getppid", lambda: 99)
    assert _connection.started() is None


def test_a_device_that_stays_in_its_boot_is_not_told_to_reboot_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container whose boot id is that of its host comes back each time, and is in the boot of before."""
    layout = Layout(str(tmp_path))
    layout.prepare()
    found = at(layout, State.INSTALLING, "always")
    found.advance(State.REBOOTING)
    asked: list[Layout] = []
    back: list[str] = []
    monkeypatch.setattr(recover.reboot, "ask", asked.append)
    monkeypatch.setattr(recover, "go_back", lambda found, code, message: back.append(code))
    for _again in range(recover.MOST_BOOTS):
        recover.run(layout, found.id, "now")
    assert (len(asked), back) == (recover.MOST_BOOTS, [])
    recover.run(layout, found.id, "now")
    assert (len(asked), back) == (recover.MOST_BOOTS, ["REBOOT"])


@pytest.mark.parametrize("insist", [True, False])
def test_what_forces_a_reboot_is_there_before_the_shutdown_ends_the_guard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, insist: bool
) -> None:
    ran: list[tuple[str, ...]] = []

    def run(argv: t.Sequence[str], **_more: object) -> command.Result:
        ran.append(tuple(argv[:2]))
        assert argv[0] != "systemd-run" or "--property=DefaultDependencies=no" in argv
        return command.Result(1, "", "no")

    monkeypatch.setattr(command, "run", run)
    monkeypatch.setattr(command, "has_systemd", lambda: True)
    monkeypatch.setattr(reboot.os, "sync", lambda: None)
    monkeypatch.setattr(reboot.time, "sleep", lambda seconds: None)
    with pytest.raises(OtaError):
        reboot.ask(Layout(str(tmp_path)), insist=insist)
    orderly, forced = ("systemctl", "reboot"), ("systemd-run", "--quiet")
    assert ran == ([forced, orderly, orderly] if insist else [orderly])


def test_a_broken_device_that_tries_again_has_all_its_boots_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(str(tmp_path))
    layout.prepare()
    found = at(layout, State.INSTALLING, "always")
    found.advance(State.RESTORING, boots=restore.TRIES, back_boots=0, back_from="a")
    tried: list[str] = []

    def attempt(transaction: Transaction) -> str:
        tried.append(transaction.id)
        return ""

    monkeypatch.setattr(restore, "_restore", attempt)
    recover.run(layout, found.id, "now")
    monkeypatch.setattr(guard, "call", lambda found, mode: recover.run(layout, found.id, mode))
    assert t.cast(Transaction, Transaction.load(layout)).state is State.BROKEN
    verbs.restore(layout, {"v": 1, "verb": "restore"}, io.BytesIO())
    assert t.cast(Transaction, Transaction.load(layout)).state is State.RESTORED
    assert tried == [found.id]
