# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for Ansible's connection: commands run with the shell of this machine, or as a test says."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.engine.connection import Device
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.engine.zipapp import program
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.errors import DeviceRefusal

STATE = "/var/lib/fleet-ota"


class Connection:
    """What a Device asks of a connection; ``options`` are its options as they are set."""

    def __init__(self, transport: str = "local", pipelining: bool = True, **options: str | None) -> None:
        self.transport = transport
        self.has_pipelining = pipelining
        self.options: dict[str, str | None] = {"ssh_args": "", "ssh_common_args": "", "ssh_extra_args": "", **options}
        self.resets = 0
        self.become: Connection | None = None
        self._shell = self

    def get_option(self, name: str) -> str | None:
        return self.options[name]

    def set_option(self, name: str, value: str) -> None:
        self.options[name] = value

    def join_path(self, *parts: str) -> str:
        return "/".join(parts)

    def reset(self) -> None:
        self.resets += 1


class Action:
    """Runs commands with the shell of this machine, as a local connection does, unless ``answers`` are left.

    An answer is a result, or an exception to raise. ``seen`` has what ssh_args were at each command.
    """

    def __init__(self, connection: Connection, folder: pathlib.Path) -> None:
        self._connection = connection
        self.folder = folder
        self.answers: list[dict[str, t.Any] | Exception] = []
        self.commands: list[str] = []
        self.contents: list[bytes | None] = []
        self.seen: list[str | None] = []

    def _low_level_execute_command(self, command: str, in_data: bytes | None = None) -> dict[str, t.Any]:
        self.commands.append(command)
        self.contents.append(in_data)
        self.seen.append(self._connection.options["ssh_args"])
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        done = subprocess.run(["/bin/sh", "-c", command], input=in_data or b"", capture_output=True, check=False)
        return {"rc": done.returncode, "stdout": done.stdout.decode(), "stderr": done.stderr.decode()}

    def _make_tmp_path(self) -> str:
        return tempfile.mkdtemp(prefix="tmp with blank", dir=self.folder)

    def _transfer_data(self, path: str, content: bytes) -> str:
        pathlib.Path(path).write_bytes(content)
        return path


class Place:
    """A device in a directory, with what its connection saw."""

    def __init__(self, folder: pathlib.Path, connection: Connection, python: str | None = sys.executable) -> None:
        self.root = folder / "root of it's own"
        self.root.mkdir()
        self.connection = connection
        self.action = Action(connection, folder)
        self.device = Device(t.cast("t.Any", self.action), root=str(self.root), state_dir=STATE, python=python)

    @property
    def engine(self) -> pathlib.Path:
        """Where the engine has to be."""
        return self.root / "var/lib/fleet-ota/engine" / f"{program().digest}.pyz"

    @property
    def folders(self) -> list[pathlib.Path]:
        """The temporary folders that are still there."""
        return list(self.action.folder.glob("tmp with blank*"))

    @property
    def inbox(self) -> pathlib.Path:
        """Where payloads arrive."""
        return self.root / "var/lib/fleet-ota/inbox"


def answer(rc: int = 0, stdout: str = "", stderr: str = "") -> dict[str, t.Any]:
    """The result of a command."""
    return {"rc": rc, "stdout": stdout, "stderr": stderr}


def refusal(place: Place, verb: str = "info") -> DeviceRefusal:
    with pytest.raises(DeviceRefusal) as caught:
        place.device.call(verb)
    return caught.value
