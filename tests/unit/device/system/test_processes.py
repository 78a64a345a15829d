# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes: which of them a change started, which run code that was replaced, and ending them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.system import processes
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout
from ansible_collections.fleet.ota.plugins.module_utils._device.system.processes import Process
from ansible_collections.fleet.ota.plugins.module_utils._device.system.units import apart

pytestmark = pytest.mark.one_python


@pytest.fixture()
def start() -> t.Iterator[t.Callable[..., int]]:
    """Start a program, which says a line once it is up; ended after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(*argv: str, **environment: str) -> int:
        known = {**os.environ, **environment}
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=known)
        started.append(process)
        assert process.stdout is not None and process.stdout.readline()
        return process.pid

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def find(pid: int) -> Process:
    return next(process for process in processes.everything() if process.pid == pid)


@pytest.mark.parametrize(
    ("groups", "unit"),
    [
        ("0::/system.slice/gw.service", (None, "gw.service")),
        ("0::/system.slice/docker.service/inner/x", (None, "docker.service")),
        ("12:pids:/\n1:name=systemd:/system.slice/ssh.service\n0::/", (None, "ssh.service")),
        ("0::/user.slice/user-1000.slice/session-3.scope", (None, "session-3.scope")),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/mine.service", (1000, "mine.service")),
        ("0::/init.scope", (None, "init.scope")),
        ("0::/openrc.sshd", (None, "")),
    ],
)
def test_the_unit_of_a_process(groups: str, unit: tuple[int | None, str]) -> None:
    assert processes._unit(groups) == unit


@pytest.mark.parametrize("outer", ["/system.slice/docker-1.scope", "/lxc.service/one", ""])
def test_the_unit_of_a_process_in_a_container_that_sees_the_groups_of_its_host(outer: str) -> None:
    first = "4:cpu:%s\n1:name=systemd:%s/init.scope" % (outer or "/", outer)
    groups = "4:cpu:%s\n1:name=systemd:%s/system.slice/gw.service" % (outer or "/", outer)
    assert processes._unit(groups, first) == (None, "gw.service")
    assert processes._unit(first, first) == (None, "init.scope")


def test_code_that_was_replaced_is_seen_as_outdated(tmp_path: Path, start: t.Callable[..., int]) -> None:
    program, script = tmp_path / "program", tmp_path / "script"
    shutil.copy("/bin/sh", str(program))
    script.write_text("echo up; read line\n")
    pid = start(str(program), str(script))
    assert processes.outdated(find(pid)) == set()
    program.unlink()
    assert processes.outdated(find(pid)) == {str(program)}
    script.write_text("other")
    earlier = find(pid)._replace(started=find(pid).started - 1)
    assert processes.outdated(earlier) == {str(program), str(script)}
    assert find(pid).program == str(program)


def test_what_it_writes_is_known(tmp_path: Path, start: t.Callable[..., int]) -> None:
    (tmp_path / "read").touch()
    text = "exec 5>%s/written 6<%s/read; echo up; read line" % (tmp_path, tmp_path)
    pid = start("/bin/sh", "-c", text)
    assert str(tmp_path / "written") in processes.written(pid)
    assert str(tmp_path / "read") not in processes.written(pid)


def test_what_a_change_left_running_is_ended_and_nothing_else(tmp_path: Path, start: t.Callable[..., int]) -> None:
    obstinate = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
    mine = start(sys.executable, "-c", obstinate, FLEET_OTA_TRANSACTION="a1")
    other = start("/bin/sh", "-c", "echo up; read line", FLEET_OTA_TRANSACTION="a1b")
    ended = processes.end(lambda: processes.of_change("a1", "no-such-scope"), 0.2)
    assert [process.pid for process in ended] == [mine]
    assert mine not in {process.pid for process in processes.everything()}
    assert find(other)


def test_a_program_of_a_release_is_known_by_its_environment(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    said = apart.run(layout, "a1", ["/bin/sh", "-c", "echo $FLEET_OTA_TRANSACTION $X"], environment={"X": "x"})
    assert said.out == "a1 x\n"
    assert apart.run(layout, "", ["/bin/sh", "-c", "echo :$FLEET_OTA_TRANSACTION"]).out == ":\n"


def test_only_files_that_nobody_else_can_exchange_hold_numbers(tmp_path: Path) -> None:
    path, victim = tmp_path / "app.pid", tmp_path / "victim"
    victim.write_text("7")
    path.write_text("1\n")
    processes.note_pid(str(path), 42)
    assert path.read_text() == "42\n"
    path.unlink()
    for plant in (
        lambda: path.symlink_to(victim),
        lambda: os.link(str(victim), str(path)),
        lambda: os.mkfifo(str(path)),
    ):
        plant()
        with pytest.raises(OSError):
            processes.note_pid(str(path), 1)
        path.unlink()
    path.write_text("1")
    tmp_path.chmod(0o777)
    with pytest.raises(OSError):
        processes.note_pid(str(path), 1)
    assert (victim.read_text(), path.read_text()) == ("7", "1")
