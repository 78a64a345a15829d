# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection's playbooks, roles and modules run by ``ansible-playbook`` on devices that are directories."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.system import bytecode
from ansible_collections.fleet.ota.plugins.plugin_utils._control.client import updater
from ansible_collections.fleet.ota.plugins.plugin_utils._control.client.bundle import Bundle
from ansible_collections.fleet.ota.plugins.plugin_utils._control.keys import ring
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.metadata import store
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.metadata.edit import Holders
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.repository import Config, Repository
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.engine import zipapp

Result = dict[str, t.Any]
#: Every path below a device and what is there.
Tree = dict[str, tuple[int, str]]
HARDWARE = "edge-gw-1"
STATE = "var/lib/fleet-ota"


class Publisher:
    """Keys, a repository and the releases 1 to 3 of `gateway` below ``folder``, each a program that names itself."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.repository = folder / "repository"
        self.trust_root = folder / "root.json"
        #: Where this file is, no device looks healthy.
        self.ill = folder / "ill"
        holders = {name: Holders((ring.generate(folder / "keys" / f"{name}.pem"),)) for name in store.TOP}
        channel = Holders((ring.generate(folder / "keys" / "stable.pem"),))
        self._ring = ring.Ring.load([folder / "keys"])
        Repository(self.repository, pin=self.trust_root).ensure(Config(holders, {"stable": channel}, {}), self._ring)
        for version in (1, 2, 3):
            Repository(self.repository).publish("stable", self._document(version), self._ring)

    @classmethod
    def copy(cls, other: Publisher, folder: pathlib.Path) -> Publisher:
        """The same keys and repository in another folder."""
        shutil.copytree(other.folder, folder)
        made = cls.__new__(cls)
        made.folder, made.repository = folder, folder / "repository"
        made.trust_root = folder / "root.json"
        made.ill = other.ill
        return made

    def bundle(self, version: int) -> Bundle:
        """A release as a controller verified it."""
        return updater.prepare(
            repository=str(self.repository),
            trust_root=self.trust_root,
            channel="stable",
            release=f"gateway/{version}",
            cache=self.folder / "cache",
        )

    def saved(self, version: int) -> str:
        """The path of a release's bundle."""
        return str(self.bundle(version).save(self.folder / f"bundle-{version}.json"))

    def _document(self, version: int) -> pathlib.Path:
        folder = self.folder / "releases" / str(version)
        folder.mkdir(parents=True)
        content = b"#!/bin/sh\necho %d\n" % version
        with tarfile.open(folder / "app.tar.gz", "w:gz") as archive:
            entry = tarfile.TarInfo("bin/app")
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
        payload = {"name": "app", "type": "archive", "source": "app.tar.gz", "destination": "/opt/gateway"}
        checks = [{"name": "runs", "type": "command", "argv": ["test", "!", "-e", str(self.ill)]}]
        document = {"format": 1, "name": "gateway", "version": str(version), "counter": version, "payloads": [payload]}
        document["health"] = {"passes": 1, "interval": 0.1, "timeout": 3, "checks": checks}
        document["compatible"] = {"hardware": [HARDWARE]}
        path = folder / "release.yml"
        path.write_text(json.dumps(document))  # JSON is YAML
        return path


class Device:
    """A directory that plays a device."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root

    def bring_to(self, bundle: Bundle, trust_root: pathlib.Path) -> None:
        """Enroll it and install a release, by the engine alone."""
        program = self.root / STATE / "engine" / f"{zipapp.program().digest}.pyz"
        program.parent.mkdir(parents=True)
        program.write_bytes(zipapp.program().content)
        bytecode.write(str(program))

        def call(verb: str, data: bytes = b"", **request: t.Any) -> Result:
            line = json.dumps({"v": 1, "verb": verb, "root": str(self.root), **request}).encode() + b"\n"
            argv = [sys.executable, "-I", "-S", "-B", str(program)]
            done = subprocess.run(argv, input=line + data, capture_output=True, check=True)
            found = json.loads(done.stdout)
            assert isinstance(found, dict) and "error" not in found, found
            return found

        identity = {"format": 1, "name": "d1", "hardware": HARDWARE, "site": "", "labels": {}}
        call("enroll", identity=identity, trust_root=trust_root.read_text())
        for entry in bundle.payloads():
            piece = {"sha256": entry["sha256"], "length": entry["length"], "offset": 0, "size": entry["length"]}
            call("stage", bundle.payload(entry["sha256"]).read_bytes(), put=piece)
        assert call("apply", bundle=bundle.wire(), wait=30, deadline=60)["state"] == "unconfirmed"
        assert call("confirm")["outcome"] == "updated"

    def tree(self, *, state: bool = False) -> Tree:
        """Everything there; the device's own record and the engine only with ``state``."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if state or not (name + "/").startswith(STATE + "/"):
                found[name] = (path.lstat().st_mode, _content(path))
        return found

    @property
    def running(self) -> str | None:
        """The version that is in use."""
        link = self.root / "opt/gateway/current"
        return link.readlink().name if link.is_symlink() else None

    @property
    def transaction(self) -> Result:
        """The device's own record of its last transaction."""
        found = json.loads((self.root / STATE / "transaction.json").read_text())
        assert isinstance(found, dict)
        return found

    def transactions(self) -> int:
        """How many transactions the device ever began."""
        lines = (self.root / STATE / "history.jsonl").read_text().splitlines()
        return len({json.loads(line)["transaction"] for line in lines})


def _content(path: pathlib.Path) -> str:
    if path.is_symlink():
        return os.readlink(path)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


class Ran(t.NamedTuple):
    """A finished ``ansible-playbook``; ``kept`` are the results of :meth:`Fleet.tasks`."""

    rc: int
    text: str
    kept: list[Result]


class Fleet:
    """Devices with gateway 1, their inventory, and a folder for playbooks and the journal."""

    def __init__(self, publisher: Publisher, template: Device | None, folder: pathlib.Path, *names: str) -> None:
        self.publisher, self.folder = publisher, folder
        self.devices = {name: Device(folder / "devices" / name) for name in names}
        for device in self.devices.values():
            if template:
                shutil.copytree(template.root, device.root, symlinks=True)
            else:
                device.root.mkdir(parents=True)
        self.groups: dict[str, list[str]] = {}
        self.environment: dict[str, str] = {}
        self.variables: dict[str, Result] = {name: {} for name in names}
        self.common: Result = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "fleet_ota_root": f"{folder}/devices/{{{{ inventory_hostname }}}}",
            "fleet_ota_hardware": HARDWARE,
            "fleet_ota_repository": str(publisher.repository),
            "fleet_ota_trust_root": str(publisher.trust_root),
            "fleet_ota_channel": "stable",
            "fleet_ota_release": "gateway/2",
            "fleet_ota_cache": str(publisher.folder / "cache"),
            "fleet_ota_journal_dir": str(folder / "journal"),
            "fleet_ota_deadline": 60,
            "fleet_ota_waves": [{"percent": 100}],
        }

    def file(self, name: str, content: t.Any) -> str:
        """Write a file of the team, JSON where it is not a text; its path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    def command(self, what: str, *options: str, **extra: t.Any) -> tuple[list[str], dict[str, str]]:
        """What :meth:`play` runs in :attr:`folder`, and its environment; the inventory is written."""
        hosts = {name: dict(variables) for name, variables in self.variables.items()}
        groups = {name: {"hosts": dict.fromkeys(members)} for name, members in self.groups.items()}
        fleet = {"hosts": hosts, "children": groups, "vars": self.common}
        self.file("inventory.json", {"all": {"children": {"fleet": fleet}}})
        name = what if os.sep in what else f"fleet.ota.{what}"
        environment = {
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORKS": "8",
            "ANSIBLE_ROLES_PATH": str(self.folder / "roles"),
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_INVENTORY_ENABLED": "ansible.builtin.yaml",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
            **self.environment,
        }
        variables = json.dumps({"fleet_ota_hosts": "fleet", **extra})
        argv = [self.program("ansible-playbook"), "-i", "inventory.json", "-e", variables, *options, name]
        return argv, environment

    def play(self, what: str, *options: str, **extra: t.Any) -> Ran:
        """Run a playbook, of the collection (``rollout``) or of :meth:`file`, with extra variables."""
        argv, environment = self.command(what, *options, **extra)
        done = subprocess.run(
            argv,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        kept = self.folder / "results.json"
        found = json.loads(kept.read_text()) if kept.exists() else []
        kept.unlink(missing_ok=True)
        return Ran(done.returncode, done.stdout + done.stderr, found)

    @staticmethod
    def program(name: str) -> str:
        """The path of a program of the ansible-core that is tested."""
        return str(pathlib.Path(sys.executable).with_name(name))

    def tasks(self, *tasks: Result, options: t.Sequence[str] = (), host: str = "d1") -> list[Result]:
        """What each task gives on ``host``, failed or not."""
        made = [{"register": f"result_{number}", "ignore_errors": True, **task} for number, task in enumerate(tasks)]
        names = ", ".join(f"result_{number}" for number in range(len(tasks)))
        keep = {"content": "{{ [%s] | to_json }}" % names, "dest": str(self.folder / "results.json"), "mode": "0600"}
        made.append({"ansible.builtin.copy": keep, "check_mode": False, "diff": False})
        place = dict.fromkeys(("root",), "{{ fleet_ota_root }}")
        modules = ("enroll", "health", "info", "install", "snapshot", "stage", "update", "verify")
        defaults = {f"fleet.ota.{name}": place for name in modules}
        play = {"hosts": host, "gather_facts": False, "module_defaults": defaults, "tasks": made}
        ran = self.play(self.file("tasks.json", [play]), *options)
        assert ran.rc == 0, ran.text
        assert len(ran.kept) == len(tasks), ran.text
        return ran.kept

    def records(self) -> list[Result]:
        """Every record of the rollouts, oldest first."""
        paths = (self.folder / "journal").glob("*/journal.jsonl")
        return sorted(
            (json.loads(line) for path in paths for line in path.read_text().splitlines()),
            key=lambda record: (record["time"], record["seq"]),
        )

    def outcomes(self) -> dict[str, tuple[str, str | None]]:
        """The recorded outcomes with their codes; a device that has two fails here."""
        found: dict[str, tuple[str, str | None]] = {}
        for record in self.records():
            if record["event"] == "device.outcome":
                assert record["device"] not in found, "two outcomes"
                found[record["device"]] = (record["outcome"], record.get("code"))
        return found

    def trees(self, *, state: bool = False) -> dict[str, Tree]:
        """:meth:`Device.tree` of every device."""
        return {name: device.tree(state=state) for name, device in self.devices.items()}

    def running(self) -> dict[str, str | None]:
        """The version that each device uses."""
        return {name: device.running for name, device in self.devices.items()}


class MakeFleet(t.Protocol):
    """Makes a fleet of the named devices, with gateway 1 unless ``bare``."""

    def __call__(self, *names: str, bare: bool = False) -> Fleet: ...


@pytest.fixture(scope="session")
def publisher(tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    """See :class:`Publisher`."""
    return Publisher(tmp_path_factory.mktemp("publisher"))


@pytest.fixture(scope="session")
def template(publisher: Publisher, tmp_path_factory: pytest.TempPathFactory) -> Device:
    """A device with gateway 1, to be copied."""
    device = Device(tmp_path_factory.mktemp("template"))
    device.bring_to(publisher.bundle(1), publisher.trust_root)
    return device


@pytest.fixture(scope="session")
def make_fleet(publisher: Publisher, template: Device, tmp_path_factory: pytest.TempPathFactory) -> MakeFleet:
    """See :class:`MakeFleet`."""

    def make(*names: str, bare: bool = False) -> Fleet:
        return Fleet(publisher, None if bare else template, tmp_path_factory.mktemp("fleet"), *names)

    return make
