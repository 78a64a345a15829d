# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options that an ssh connection gets: shared with ourselves, or with nothing, and never hanging on a dead link."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.engine.connection import Device
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.errors import DeviceLost

from .connection import STATE, Connection, Place, answer

ALIVE = "-o ServerAliveInterval=5 -o ServerAliveCountMax=3"
SHARED = "-C -o ControlMaster=auto -o ControlPersist=60s"


def ssh(folder: pathlib.Path, **options: str | None) -> Place:
    connection = Connection("ansible.builtin.ssh", True, control_path_dir=str(folder / "cp"))
    connection.options.update(options)
    place = Place(folder, connection)
    place.action.answers = [answer(stdout="{}") for _call in range(9)]
    return place


def test_other_connections_are_left_alone(place: Place) -> None:
    place.device.call("info", fresh=True)
    assert set(place.action.seen) == {""}


@pytest.mark.parametrize("transport", ["ssh", "ansible.builtin.ssh"])
def test_a_shared_ssh_connection_is_our_own_and_notices_a_dead_link(tmp_path: pathlib.Path, transport: str) -> None:
    place = Place(tmp_path, Connection(transport, control_path_dir=str(tmp_path / "cp"), ssh_args=SHARED))
    place.action.answers = [answer(stdout="{}")]
    place.device.call("info")
    assert place.action.seen == [f"-o ControlPath={tmp_path}/cp/ota-%C {SHARED} {ALIVE}"]
    assert (tmp_path / "cp").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["ssh_args", "ssh_common_args", "ssh_extra_args"])
def test_the_user_s_own_control_path_is_respected(tmp_path: pathlib.Path, name: str) -> None:
    own = {"ssh_args": SHARED, name: f"{SHARED} -o controlpath=/run/mine-%C"}
    place = ssh(tmp_path, **own)
    place.device.call("info")
    assert place.action.seen == [f"{own['ssh_args']} {ALIVE}"]
    assert not (tmp_path / "cp").exists()


@pytest.mark.parametrize("own", ["-C", "", None])
def test_a_connection_that_is_not_shared_stays_so(tmp_path: pathlib.Path, own: str | None) -> None:
    place = ssh(tmp_path, ssh_args=own)
    place.device.call("info")
    assert place.action.seen == [f"{own or ''} {ALIVE}"]


def test_another_plugin_gives_up_the_connection_that_it_keeps(tmp_path: pathlib.Path) -> None:
    """One task applies and confirms: the process that confirms has a connection already."""
    place = Place(tmp_path, Connection("paramiko"))
    place.device.call("info")
    assert place.connection.resets == 0
    place.device.call("info", fresh=True)
    assert place.connection.resets == 1


def test_a_fresh_connection_is_shared_with_nothing_and_only_for_its_call(tmp_path: pathlib.Path) -> None:
    place = ssh(tmp_path, ssh_args=f"{SHARED} -o ControlPath=/run/mine-%C")
    place.device.call("info")
    place.device.call("confirm", fresh=True)
    place.device.call("info")
    # of an option given twice ssh takes the first
    fresh = f"-o ControlPath=none {SHARED} -o ControlPath=/run/mine-%C {ALIVE}"
    assert place.action.seen == [place.action.seen[0], fresh, place.action.seen[0]]
    assert "ControlPath=none" not in (place.action.seen[0] or "")


def test_after_a_fresh_connection_that_was_lost_the_shared_one_is_back(tmp_path: pathlib.Path) -> None:
    place = ssh(tmp_path, ssh_args=SHARED)
    before = place.connection.options["ssh_args"]
    place.action.answers = [AnsibleConnectionFailure("gone")]
    with pytest.raises(DeviceLost):
        place.device.call("confirm", fresh=True)
    assert place.connection.options["ssh_args"] == before


def test_another_task_of_the_same_connection_adds_nothing_twice(tmp_path: pathlib.Path) -> None:
    """Ansible keeps a connection for the tasks of a host and sets its options anew for each."""
    place = ssh(tmp_path, ssh_args=SHARED)
    place.connection.options["ssh_args"] = SHARED
    Device(t.cast("t.Any", place.action), root="/", state_dir=STATE).call("info")
    assert (place.action.seen[0] or "").count("ServerAliveInterval") == 1
