# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nothing ends a guard for good: it is started again, tries again, and goes back with damaged records."""

from __future__ import annotations

import errno
import io
import os
import signal
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base.errors import OtaError
from ansible_collections.fleet.ota.plugins.module_utils._device.base.states import State
from ansible_collections.fleet.ota.plugins.module_utils._device.kinds.snapshots import files
from ansible_collections.fleet.ota.plugins.module_utils._device.records.transaction import Transaction
from ansible_collections.fleet.ota.plugins.module_utils._device.system import (
    background,
    boot,
    command,
    durable,
    lock,
    mounts,
)
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout
from ansible_collections.fleet.ota.plugins.module_utils._device.system.units import Manager
from ansible_collections.fleet.ota.plugins.module_utils._device.transaction import boothook, guard, recover, restore
from ansible_collections.fleet.ota.plugins.module_utils._device.transaction.services import record
from ansible_collections.fleet.ota.plugins.module_utils._device.verbs import transaction as verbs

from ..conftest import Device, Publisher
from ..system.test_units import Systemd
from .test_reboot import at
from .test_reboot import record as record_of
from .test_transaction import apply, update

pytestmark = pytest.mark.one_python


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(str(tmp_path / "device"))
    found.prepare()
    return found


def test_systemd_starts_one_guard_however_old_the_unit_is_that_it_has_in_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def run(argv: t.Sequence[str]) -> command.Result:
        asked.append(argv[1])
        state = "yes" if "daemon-reload" not in asked else "no"
        return command.Result(0, "ActiveState=active\nNeedDaemonReload=%s\n" % state, "")

    monkeypatch.setattr(command, "run", run)
    guard._run_unit("restart")
    assert asked == ["show", "daemon-reload", "restart", "show"]


def test_a_guard_that_is_killed_is_started_again(device: Device, publisher: Publisher) -> None:
    update(device, publisher, 1)
    publisher.release(2)
    assert apply(device, publisher)["state"] == "unconfirmed"
    pid = record_of(device)["guard_pid"]

    def child(*, other: int = 0) -> int:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            for one in background.family(pid)[1:]:
                if one != other:
                    return one
            time.sleep(0.02)
        raise AssertionError("no guard waits")

    first = child()
    os.kill(first, signal.SIGKILL)
    assert child(other=first) != first
    assert device.call("restore", wait=20)["state"] == "restored"
    assert device.read("opt/app/current/bin/app") == "app 1"


def test_a_guard_is_started_again_although_there_is_no_process_for_it_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    forks: list[int | OSError] = [11, OSError(errno.EAGAIN, "no process"), OSError(errno.ENOMEM, "no memory"), 12]
    ends = {11: signal.SIGKILL.value, 12: 0}

    def fork() -> int:
        result = forks.pop(0)
        if isinstance(result, OSError):
            raise result
        return result

    def leave(code: int) -> t.NoReturn:
        raise SystemExit(code)

    monkeypatch.setattr(background, "outlast_others", lambda: None)
    monkeypatch.setattr(recover.os, "fork", fork)
    monkeypatch.setattr(recover.os, "waitpid", lambda pid, options: (pid, ends[pid]))
    monkeypatch.setattr(recover.os, "_exit", leave)
    monkeypatch.setattr(recover.time, "sleep", lambda seconds: None)
    with pytest.raises(SystemExit) as caught:
        recover._supervise()
    assert (caught.value.code, forks) == (0, [])


def test_one_that_restores_by_now_has_the_time_of_a_way_back(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = at(layout, State.UNCONFIRMED, "never")
    now = t.cast(Transaction, Transaction.load(layout))
    now.advance(State.RESTORING)
    ended: list[list[int]] = []
    monkeypatch.setattr(lock, "holders", lambda layout: [lock.Holder(4711, 1)])
    monkeypatch.setattr(lock, "is_stopped", lambda pid: False)
    monkeypatch.setattr(lock, "end_holders", lambda layout, pids: ended.append(list(pids)))
    waiting = recover._Guard(layout, seen.id)
    waiting._clear(seen)
    waiting._idle_since -= recover._PATIENCE + 1
    waiting._clear(seen)
    assert ended == []
    waiting._idle_since -= recover._RESTORING_PATIENCE
    waiting._clear(seen)
    assert ended == [[4711]]


def test_openrc_runs_the_hook_only_with_its_service_in_a_runlevel(monkeypatch: pytest.MonkeyPatch) -> None:
    folders, links = {"/run/openrc", "/etc/local.d"}, {"/elsewhere"}
    monkeypatch.setattr(boothook.os.path, "isdir", lambda path: path in folders)
    monkeypatch.setattr(boothook.os.path, "lexists", lambda path: path in links)
    monkeypatch.setattr(boothook.durable, "read_text", lambda path: "")
    layout = Layout("/")
    assert boothook.find(layout) is None
    links.add("/etc/runlevels/default/local")
    assert boothook.find(layout) == "local.d"


@pytest.mark.parametrize(("late", "kind", "called"), [(-1, "process", 0), (20, "process", 1), (20, "none", 0)])
def test_a_device_whose_guard_is_gone_goes_back_when_it_is_asked(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, late: int, kind: str, called: int
) -> None:
    found = at(layout, State.INSTALLING, "never")
    found.advance(State.CHECKING)
    found.advance(State.UNCONFIRMED, guard=kind, expires={"boot": boot.boot_id(), "clock": boot.clock() - late})
    calls: list[str] = []
    monkeypatch.setattr(guard, "call", lambda transaction, mode: calls.append(mode))
    verbs.status(layout, {"v": 1, "verb": "status"}, io.BytesIO())
    assert calls == ["now"] * called


def test_a_device_with_damaged_records_goes_back(device: Device, publisher: Publisher) -> None:
    update(device, publisher, 1)
    before = device.tree()
    publisher.release(2)
    assert apply(device, publisher)["state"] == "unconfirmed"
    history = (device.state / "history.jsonl").read_bytes()
    (device.state / "history.jsonl").write_bytes(history[:-20] + b"\0" * 19 + b"\n")
    for name in ("transaction.json", "installed.json", "lease.json", "identity.json", "binding.json"):
        (device.state / name).write_bytes(b"\0" * 40)
    documents = [*(device.state / "releases").iterdir(), *device.state.glob("transactions/*/release.json")]
    assert documents
    for path in documents:
        path.write_bytes(path.read_bytes()[:-9])
    reply = device.call("restore", wait=20)
    assert reply["state"] == "restored", reply
    assert device.tree() == before
    assert device.call("health")["healthy"] is True
    update(device, publisher, 3)


def test_a_record_without_a_sound_copy_is_named(device: Device, publisher: Publisher) -> None:
    update(device, publisher, 1)
    for folder in (device.state, device.state / "kept"):
        (folder / "installed.json").write_bytes(b"")
    publisher.release(2)
    error = apply(device, publisher)["error"]
    assert error["code"] == "DAMAGED" and str(device.state / "installed.json") in error["message"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EROFS, errno.EIO])
def test_what_a_way_back_lacks_for_now_leaves_it_restoring(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    found = at(layout, State.INSTALLING, "never")
    problems: list[Exception | str] = [OSError(number, os.strerror(number))] * restore.TRIES

    def attempt(transaction: Transaction) -> str:
        problem = problems.pop() if problems else ""
        if isinstance(problem, Exception):
            raise problem
        return problem

    monkeypatch.setattr(restore, "_restore", attempt)
    with pytest.raises(OSError, match=os.strerror(number)):
        restore.go_back(found, "HEALTH", "it is not well")
    found = t.cast(Transaction, Transaction.load(layout))
    assert found.state is State.RESTORING
    assert os.strerror(number) in found.reply()["message"]
    recover.run(layout, found.id, "now")
    found = t.cast(Transaction, Transaction.load(layout))
    assert (found.state, found.code, found.reply()["message"]) == (State.RESTORED, "HEALTH", "it is not well")


def test_what_no_time_mends_is_broken(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    found = at(layout, State.INSTALLING, "never")

    def attempt(transaction: Transaction) -> t.NoReturn:
        raise OtaError("RESTORE", "the snapshot does not hold it")

    systemd = Systemd()
    for name, state in (("gw.service", "inactive"), ("dead.service", "inactive"), ("idle.service", "active")):
        systemd.add(name, state)
    systemd.broken = {"dead.service"}
    before = {"invocation": "i", "enabled": "enabled", "dependents": []}
    ran = {"boot": boot.boot_id(), "clock": 0.0, "daemons": [], "told": []}
    durable.write_json(found.folder("services.json"), {**ran, "units": {"": dict.fromkeys(systemd.units, before)}})
    monkeypatch.setattr(command, "run", systemd.run)
    monkeypatch.setattr(record, "managers", lambda: {"": Manager()})
    monkeypatch.setattr(Layout, "is_real", property(lambda layout: True))
    monkeypatch.setattr(restore, "_restore", attempt)
    restore.go_back(found, "HEALTH", "it is not well")
    assert found.state is State.BROKEN
    assert "because of HEALTH: it is not well" in found.message
    assert "started again, from the files that are there: gw.service" in found.message
    assert "dead.service ran before and does not start: failed (exit-code" in found.message
    assert "idle.service" not in found.message and ("start", ("idle.service",)) not in systemd.orders


def test_a_program_that_a_broken_way_back_stopped_runs_again(
    device: Device, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = {"activate": ["bin/start"], "deactivate": ["bin/stop"]}
    content = {name: "#!/bin/sh\necho %s $0 >>$FLEET_OTA_ROOT/log\n" % name[4:] for name in ("bin/start", "bin/stop")}
    update(device, publisher, 1, content=content, payload=both)
    publisher.release(2, content=content, payload=both)
    assert apply(device, publisher)["state"] == "unconfirmed"
    (device.root / "log").unlink()

    def fail(snapshot: files.Snapshot, paths: t.Sequence[str] | None = None) -> t.NoReturn:
        raise OtaError("RESTORE", "the snapshot does not hold it")

    monkeypatch.setattr(files.Snapshot, "restore", fail)
    found = t.cast(Transaction, Transaction.load(Layout(str(device.root))))
    restore.go_back(found, "HEALTH", "it is not well")
    assert found.state is State.BROKEN
    assert [line.split()[0] for line in device.read("log").splitlines()] == ["stop"] * restore.TRIES + ["start"]


def test_a_guard_that_waits_acts_when_the_worker_is_gone_or_the_time_is_over(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recover, "_ABANDONED", 0.0)
    found = at(layout, State.INSTALLING, "never")
    found.guard = "process"
    waiting = recover._Guard(layout, found.id)
    found.save(expires={"boot": boot.boot_id(), "clock": boot.clock() + 100})
    assert waiting._due(found) == "now", "nobody holds the lock: the worker is gone"
    with lock.hold(layout):
        assert waiting._due(found) is None
        found.save(expires={"boot": boot.boot_id(), "clock": boot.clock() - 1})
        assert waiting._due(found) == "deadline"
        Path(found.folder("asked.json")).write_text("cut o")
        assert waiting._due(found) == "now"
        assert recover._asked(found)["code"] == "REQUESTED", "what was asked is lost, not that it was"
        found.counted = "the boot before"
        assert waiting._due(found) == "boot"


def test_a_disk_that_cannot_be_read_says_nothing_against_the_snapshot(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = files.Snapshot(layout, "0123456789ab", files.tree.Selection((), (), ()))

    def failing(self: object) -> t.NoReturn:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files.Snapshot, "pairs", failing)
    with pytest.raises(OSError, match="Input"):
        snapshot.prove()


@pytest.mark.parametrize(
    ("word", "quoted"),
    [("/a b", '"/a b"'), ("/%n", '"/%%n"'), ("/$HOME", '"/$$HOME"'), ("/a\\b", '"/a\\\\b"'), ('/a"b', '"/a\\"b"')],
)
def test_words_of_a_unit_file(word: str, quoted: str) -> None:
    assert guard._quoted(word) == quoted


@pytest.mark.parametrize("state", ["/var/lib/a\nb", "/var/lib/a\\", "/var/lib/a "])
def test_a_name_that_no_unit_file_can_hold_is_refused(state: str) -> None:
    with pytest.raises(ValueError, match="state_dir"):
        Layout("/", state)


def test_a_guard_needs_a_state_directory_that_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout("/", "/run/fleet-ota")
    monkeypatch.setattr(mounts, "volatile", lambda path: "/run is in memory (tmpfs)")
    with pytest.raises(OtaError, match="in memory") as raised:
        guard.choose(layout, "process")
    assert raised.value.code == "VOLATILE_STATE"
    assert guard.choose(layout, "none") == "none"
