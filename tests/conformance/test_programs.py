# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The clients as programs, as the public suite starts them; the device's without site-packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools import pythons

from .conftest import Client, Server
from .simulator import Simulator

HERE = Path(__file__).parent
OLDEST = next(iter(pythons.find().values()))
COMMANDS = {
    "controller": [sys.executable, str(HERE / "controller.py")],
    "device": [sys.executable, "-I", "-S", "-B", str(HERE / "device.py")],
    f"device on {OLDEST.name}": [str(OLDEST.path), "-I", "-S", "-B", str(HERE / "device.py")],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_as_a_program(
    command: list[str], tmp_path: Path, server: Server, repository: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client("", tmp_path, server, monkeypatch)
    client.url = server.mount(repository)

    def run(*arguments: str) -> int:
        argv = [*command, "--metadata-dir", str(client.metadata), *arguments]
        return subprocess.run(argv, stdin=subprocess.DEVNULL, check=False, timeout=60).returncode

    repository.delegate("targets", "A", paths=["path/*"])
    repository.add_target("A", "path/file", b"content")
    repository.publish("root", "targets", "A")
    root = repository.files["metadata/1.root.json"]
    assert isinstance(root, bytes)
    pinned = tmp_path / "pinned.json"
    pinned.write_bytes(root)
    assert run("init", str(pinned)) == 0
    assert run("--metadata-url", client.url + "metadata", "refresh") == 0
    assert client.versions() == (2, 2, 2, 2)
    targets = ["--target-base-url", client.url + "targets", "--target-dir", str(client.artifacts)]
    base = ["--metadata-url", client.url + "metadata", *targets]
    assert run(*base, "--target-name", "path/other", "download") == 1
    assert run(*base, "--target-name", "path/file", "download") == 0
    assert client.got() == [b"content"]
    repository.files["metadata/timestamp.json"] = b"garbage"
    assert run(*base, "--target-name", "path/file", "download") == 1
    assert run() == 2
