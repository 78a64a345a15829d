# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of a rollout at a time, and none goes on that was taken over."""

from __future__ import annotations

import datetime
import os
import pathlib
import subprocess
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import JournalError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal import host, journal, runs
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.record import Record
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.state import Controller, State
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan
from ansible_collections.fleet.ota.plugins.plugin_utils._control.rollout import rollout
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.record import Record as DeviceRecord

RELEASE = {"name": "gateway", "version": "2.0", "counter": 2, "digest": "1a2b3c4d" * 8, "channel": "stable"}
HOSTS = ["d1", "d2"]


def start(folder: pathlib.Path, controller: Controller, **options: t.Any) -> rollout.Started:
    made = plan.make(hosts=HOSTS, groups={"all": HOSTS}, release=RELEASE)
    return rollout.start(folder, made, {"user": "ann", **controller}, **options)


def test_a_run_that_is_alive_is_not_joined(tmp_path: pathlib.Path, other: subprocess.Popen[bytes]) -> None:
    start(tmp_path, runs.controller(other.pid))
    before = next(tmp_path.glob("*/journal.jsonl")).read_bytes()
    for options in ({}, {"take_over": False}):
        with pytest.raises(JournalError, match=f"run by ann on .*, process {other.pid} already") as caught:
            start(tmp_path, runs.controller(os.getpid()), **options)
        assert caught.value.code == "BUSY"
    assert next(tmp_path.glob("*/journal.jsonl")).read_bytes() == before


def test_a_run_whose_process_is_gone_is_followed_at_once(
    tmp_path: pathlib.Path, other: subprocess.Popen[bytes]
) -> None:
    start(tmp_path, runs.controller(other.pid))
    other.kill()
    other.wait()
    assert start(tmp_path, runs.controller(os.getpid())).generation == 2


def test_another_process_with_the_same_pid_is_not_that_run(tmp_path: pathlib.Path) -> None:
    # pids come round again: the start time tells them apart
    start(tmp_path, {**runs.controller(os.getppid()), "begun": "1"})
    assert start(tmp_path, runs.controller(os.getpid())).generation == 2


def test_a_run_that_ended_holds_nothing(tmp_path: pathlib.Path, other: subprocess.Popen[bytes]) -> None:
    started = start(tmp_path, runs.controller(other.pid))
    journal.Journal(started.path).append("rollout.ended", data={"result": "complete"})
    assert start(tmp_path, runs.controller(os.getpid())).generation == 2


def test_the_same_run_may_begin_again(tmp_path: pathlib.Path) -> None:
    mine = runs.controller(os.getpid())
    start(tmp_path, mine)
    assert start(tmp_path, mine).generation == 2


def test_a_boot_ends_every_run_of_that_machine(tmp_path: pathlib.Path) -> None:
    start(tmp_path, {**runs.controller(os.getppid()), "boot": "another boot"})
    assert start(tmp_path, runs.controller(os.getpid())).generation == 2


def test_a_boot_of_an_unknown_machine_is_one_of_this(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a journal of before machines were told apart, and a machine without an id
    start(tmp_path, {**runs.controller(os.getppid()), "boot": "another boot", "machine": None})
    assert start(tmp_path, runs.controller(os.getpid())).generation == 2
    for content in (None, "", "uninitialized\n"):
        monkeypatch.setattr(host, "MACHINE_ID", str(tmp_path / "machine-id"))
        if content is not None:
            (tmp_path / "machine-id").write_text(content)
        assert runs.controller(os.getpid())["machine"] is None
    (tmp_path / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    assert runs.controller(os.getpid())["machine"] == "3eb1bd439947"


OTHER = {"boot": "another boot", "machine": "0123456789ab"}


@pytest.mark.parametrize("change", [{"host": "pod-7"}, {"namespace": "pid:[1]"}, OTHER])
def test_a_run_elsewhere_counts_as_dead_when_it_was_silent(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, change: Controller
) -> None:
    # two machines may have one host name
    monkeypatch.setattr(host, "machine", lambda: "ba9876543210")
    start(tmp_path, {**runs.controller(os.getppid()), **change})
    with pytest.raises(JournalError, match="fleet_ota_take_over=true or wait until") as caught:
        start(tmp_path, runs.controller(os.getpid()))
    assert caught.value.code == "BUSY"
    monkeypatch.setattr(runs, "SILENCE", -1.0)
    assert start(tmp_path, runs.controller(os.getpid())).generation == 2


def test_a_run_elsewhere_may_be_silent_while_its_wave_soaks() -> None:
    now = datetime.datetime.now(datetime.UTC)
    hour = (now - datetime.timedelta(seconds=3600)).isoformat()
    begin: Record = {
        "v": 1,
        "prev": "",
        "hash": "",
        "event": "rollout.started",
        "seq": 0,
        "time": hour,
        "rollout": "x",
        "data": {"generation": 1, "controller": {"host": "pod"}},
    }
    runs.require_alone(State.of([begin]), runs.controller(os.getpid()), 0)
    with pytest.raises(JournalError):
        runs.require_alone(State.of([begin]), runs.controller(os.getpid()), 3600)


def test_a_run_elsewhere_is_taken_over_when_somebody_says_so(tmp_path: pathlib.Path) -> None:
    start(tmp_path, {**runs.controller(os.getppid()), "host": "pod-7"})
    taken = start(tmp_path, runs.controller(os.getpid()), take_over=True)
    assert taken.generation == 2
    # and the run that was thought dead touches no device more
    old = DeviceRecord(str(taken.path), "d1", taken.rollout, 1)
    with pytest.raises(JournalError, match="was taken over by ann on") as caught:
        old.pending()
    assert caught.value.code == "STALE"
    DeviceRecord(str(taken.path), "d1", taken.rollout, 2).pending()
    with pytest.raises(JournalError):
        journal.Journal(taken.path).require_newest(1)
