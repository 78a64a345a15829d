# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Devices that are directories, releases for them, and the engine as it runs on a device: its zipapp."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.documents import release
from ansible_collections.fleet.ota.plugins.module_utils._device.system import background, bytecode
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.engine import zipapp

from .signing import Key, Repository

Reply = t.Dict[str, t.Any]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a library that this Python lacks: the controller's Python runs it, and one is enough."""
    left_out = [item for item in items if any(importlib.util.find_spec(name) is None for name in _needs(item))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _needs(item: pytest.Item) -> t.Iterator[str]:
    for mark in item.iter_markers("needs"):
        yield from mark.args
    if "authority" in getattr(item, "fixturenames", ()):
        yield "cryptography"  # certificates are made with it


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> list[Key]:
    """Six ECDSA keys."""
    folder = tmp_path_factory.mktemp("keys")
    return [Key(folder, number) for number in range(6)]


@pytest.fixture()
def repository(keys: list[Key]) -> Repository:
    """A repository with channel ``stable``, two of two."""
    return Repository(keys)


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engine's zipapp."""
    path = tmp_path_factory.mktemp("engine") / "engine.pyz"
    path.write_bytes(zipapp.program().content)
    bytecode.write(str(path))
    return path


class Device:
    """A directory that plays a device, driven through the engine's protocol."""

    def __init__(self, root: Path, program: Path) -> None:
        self.root, self.program = root, program
        self.state = root / "var/lib/fleet-ota"

    def call(self, verb: str, data: bytes = b"", /, **request: t.Any) -> Reply:
        """One request; the reply as the controller gets it."""
        line = json.dumps({"v": 1, "verb": verb, "root": str(self.root), **request}).encode() + b"\n"
        argv = [sys.executable, "-I", "-S", "-B", str(self.program)]
        result = subprocess.run(argv, input=line + data, capture_output=True, check=False)
        assert result.returncode == 0, result.stderr.decode()
        return t.cast(Reply, json.loads(result.stdout))

    def stage(self, files: t.Mapping[str, Path]) -> None:
        """Push files by digest."""
        for digest, path in files.items():
            content = path.read_bytes()
            piece = {"sha256": digest, "length": len(content), "offset": 0, "size": len(content)}
            reply = self.call("stage", content, put=piece)
            assert reply.get("missing") == [], reply

    def end(self) -> None:
        """End a guard that still waits, with the process that would start it again: none outlives its test."""
        path = self.state / "transaction.json"
        found = json.loads(path.read_text()) if path.exists() else {}
        pid = found.get("guard_pid")
        if pid and found["id"].encode() in _arguments(pid):
            for one in reversed(background.family(pid)):
                os.kill(one, signal.SIGKILL)

    def read(self, name: str) -> str:
        """A file of the device."""
        return (self.root / name).read_text()

    def tree(self, *skip: str) -> dict[str, t.Any]:
        """Everything outside the state directory: type, mode, and content or target of each path."""
        found: dict[str, t.Any] = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if name.startswith(("var", *skip)):
                continue
            mode = path.lstat().st_mode
            if path.is_symlink():
                found[name] = (mode, os.readlink(path))
            else:
                found[name] = (mode, path.read_bytes() if path.is_file() else None)
        return found


def _arguments(pid: int) -> bytes:
    try:
        return Path("/proc/%d/cmdline" % pid).read_bytes()
    except OSError:
        return b""


class Publisher:
    """Builds releases of one archive payload and publishes them in the repository."""

    def __init__(self, folder: Path, repository: Repository) -> None:
        self.folder, self.repository = folder, repository
        self.files: dict[str, Path] = {}

    def release(self, version: int, content: t.Mapping[str, str] | None = None, **changes: t.Any) -> dict[str, t.Any]:
        """Publish release ``version`` (by another name with ``name_of_version``) holding ``content``; its document."""
        source = self.folder / ("build-%d" % version)
        for name, text in (content or {"bin/app": "app %d" % version, "etc/default": "x"}).items():
            path = source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755 if name.startswith("bin/") else 0o644)
        archive = self.folder / ("app-%d.tar.gz" % version)
        with tarfile.open(str(archive), "w:gz") as handle:
            handle.add(str(source), ".")
        payload = {"name": "app", "type": "archive", "source": archive.name, "destination": "/opt/app"}
        payload.update(changes.pop("payload", {}))
        author = {"format": 1, "name": "app", "version": str(version), "counter": version, "payloads": [payload]}
        author["version"] = changes.pop("name_of_version", author["version"])
        author.update(changes)
        document, self.files = release.describe(author, self.folder)
        self.repository.publish(document)
        return t.cast("dict[str, t.Any]", document)


@pytest.fixture()
def publisher(tmp_path: Path, repository: Repository) -> Publisher:
    """Publishes releases."""
    return Publisher(tmp_path, repository)


@pytest.fixture()
def device(tmp_path: Path, program: Path, repository: Repository) -> t.Iterator[Device]:
    """An enrolled device."""
    found = Device(tmp_path / "device", program)
    found.root.mkdir()
    identity = {"name": "dev1", "hardware": "edge-1", "site": "north", "labels": {"port": str(free_port())}}
    reply = found.call("enroll", identity=identity, trust_root=repository.root())
    assert reply.get("changed") is True, reply
    yield found
    found.end()


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as handle:
        handle.bind(("127.0.0.1", 0))
        return int(handle.getsockname()[1])
