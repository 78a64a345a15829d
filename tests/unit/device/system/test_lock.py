# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The device's lock, and holders that do nothing with it; looks that take no end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base.errors import OtaError
from ansible_collections.fleet.ota.plugins.module_utils._device.system import background, lock, mounts
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout

pytestmark = pytest.mark.one_python
HOLD = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print('held', flush=True); sys.stdin.read()"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(str(tmp_path))
    found.prepare()
    return found


@pytest.fixture
def holder(layout: Layout) -> t.Iterator[t.Callable[[str], subprocess.Popen[bytes]]]:
    """Starts a program that holds the lock, with a last argument."""
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-I", "-S", "-c", HOLD, layout.file("lock"), name]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_stopped_engine_loses_the_lock(layout: Layout, holder: t.Callable[[str], subprocess.Popen[bytes]]) -> None:
    process = holder("engine.pyz")
    assert [found.pid for found in lock.holders(layout)] == [process.pid]
    assert not lock.is_stopped(process.pid)
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    assert lock.is_stopped(process.pid)
    with pytest.raises(OtaError):
        lock.hold(layout).__enter__()
    lock.end_holders(layout, [process.pid])
    assert process.wait() == -signal.SIGKILL
    with lock.hold(layout):
        assert not lock.is_free(layout)


def test_another_program_keeps_a_file_that_is_not_the_lock_any_more(
    layout: Layout, holder: t.Callable[[str], subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_DIES", 0.05)
    process = holder("something")
    lock.end_holders(layout, [process.pid])
    assert process.poll() is None, "it is no engine, and stays"
    with lock.hold(layout):
        assert [found.pid for found in lock.holders(layout)] == []  # but for this process
        assert not lock.is_free(layout)
    assert lock.is_free(layout)


def test_who_waits_for_the_lock_gets_the_one_that_took_its_place(
    layout: Layout, holder: t.Callable[[str], subprocess.Popen[bytes]]
) -> None:
    holder("something")
    taken = threading.Event()

    def wait() -> None:
        with lock.hold(layout, wait=20):
            taken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    os.rename(layout.file("lock"), layout.file("lock.left"))
    thread.join(20)
    assert taken.is_set()


def test_a_look_ends_whatever_it_waits_for() -> None:
    never = threading.Event()
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"0\.05 s"):
        background.within(0.05, never.wait)
    assert time.monotonic() - started < 5
    never.set()
    assert background.within(5, lambda: "answer") == "answer"
    with pytest.raises(ValueError, match="invalid literal"):
        background.within(5, lambda: int("x"))


ROOT = mounts.Mount("/", "ext4", "/dev/sda1")


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([], None),
        ([mounts.Mount("/var", "ext4", "/dev/sda2")], None),
        ([mounts.Mount("/var", "tmpfs", "tmpfs")], "in memory"),
        ([mounts.Mount("/var", "ext4", "/dev/zram1")], "in memory"),
        ([mounts.Mount("/var", "overlay", "overlay", frozenset({"upperdir=/data/up"}))], None),
        (
            [
                mounts.Mount("/mem", "tmpfs", "tmpfs"),
                mounts.Mount("/var", "overlay", "overlay", frozenset({"upperdir=/mem/up"})),
            ],
            "in memory",
        ),
        (
            [
                mounts.Mount("/media/root-rw", "tmpfs", "tmpfs"),
                mounts.Mount("/", "overlay", "overlayroot", frozenset({"upperdir=/media/root-rw/overlay"})),
            ],
            "in memory",
        ),
    ],
)
def test_what_a_power_cut_empties(
    monkeypatch: pytest.MonkeyPatch, entries: list[mounts.Mount], reason: str | None
) -> None:
    monkeypatch.setattr(mounts, "table", lambda: [ROOT, *entries])
    found = mounts.volatile("/var/lib/fleet-ota")
    assert found is None if reason is None else reason in str(found)
