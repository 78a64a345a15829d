# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's actions: in this process with a stand-in for the task, and through real playbooks."""

from __future__ import annotations

import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import types
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._actions.controller import ControllerAction

Result = dict[str, t.Any]


class Act(t.Protocol):
    """Runs an action as Ansible would; see :func:`act`."""

    def __call__(
        self, action: type[ControllerAction], task_vars: Result | None = None, *, check: bool = False, **args: t.Any
    ) -> Result: ...


@pytest.fixture
def act() -> Act:
    """The result of an action for a task with these arguments; AnsibleActionFail where it fails."""

    def run(
        action: type[ControllerAction], task_vars: Result | None = None, *, check: bool = False, **args: t.Any
    ) -> Result:
        task = types.SimpleNamespace(
            args=args, check_mode=check, async_val=0, tags=[], become=None, diff=True, action="fleet.ota.x"
        )
        task.get_variable_manager = lambda: None
        # what ActionBase.run looks at, and nothing that could reach a device
        connection = types.SimpleNamespace(_shell=types.SimpleNamespace(tmpdir=None))
        plugin = action(task, connection, None, None, None, None)
        return plugin.run(task_vars=task_vars or {})

    return run


class Play:
    """Runs playbooks in ``folder`` with the ansible-core that this Python has."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder

    def __call__(self, *plays: Result, hosts: t.Sequence[str] = ("localhost",), options: t.Sequence[str] = ()) -> Ran:
        """``hosts`` are all of the inventory; what a task stores by :meth:`keep` is in the answer's ``kept``."""
        inventory = {"all": {"hosts": {name: {"ansible_connection": "local"} for name in hosts}}}
        (self.folder / "inventory.json").write_text(json.dumps(inventory))
        (self.folder / "play.json").write_text(json.dumps(plays))
        environment = {
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_INVENTORY_ENABLED": "ansible.builtin.yaml",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "ANSIBLE_SHOW_CUSTOM_STATS": "1",
        }
        ansible = pathlib.Path(sys.executable).with_name("ansible-playbook")
        done = subprocess.run(
            [ansible, "-i", "inventory.json", *options, "play.json"],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        kept = {path.stem: json.loads(path.read_text()) for path in self.folder.glob("*.kept")}
        return Ran(done.returncode, done.stdout + done.stderr, kept)

    @staticmethod
    def keep(name: str) -> Result:
        """A task that stores the variable ``name`` for the test to read."""
        place = {"content": "{{ %s | to_json }}" % name, "dest": "{{ playbook_dir }}/%s.kept" % name, "mode": "0600"}
        return {"ansible.builtin.copy": place, "run_once": True}


class Ran(t.NamedTuple):
    """A finished ``ansible-playbook``."""

    rc: int
    text: str
    kept: Result


@pytest.fixture
def play(tmp_path: pathlib.Path) -> Play:
    """See :class:`Play`."""
    return Play(tmp_path)


@pytest.fixture
def document(tmp_path: pathlib.Path) -> pathlib.Path:
    """A release document with a payload, as a person writes it."""
    folder = tmp_path / "source"
    folder.mkdir()
    with tarfile.open(folder / "app.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo("bin/app")
        entry.size = 10
        archive.addfile(entry, io.BytesIO(b"#!/bin/sh\n"))
    path = folder / "release.yml"
    path.write_text(
        "format: 1\nname: gateway\nversion: '1.0'\ncounter: 1\npayloads:\n"
        "  - {name: app, type: archive, source: app.tar.gz, destination: /opt/gateway}\n"
    )
    return path
