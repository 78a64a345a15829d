# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The key ceremony of docs/key-ceremony.md by ``ansible-playbook``: three people, three copies, one repository.

Anna signs with a key that only her SSH agent has, ben and carla with files; snapshot and timestamp are signed where
the repository is served.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.client import updater
from ansible_collections.fleet.ota.plugins.plugin_utils._control.keys import ring
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.proposals.proposals import Proposals
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.repository import Repository

from .conftest import STATE, Fleet, Publisher, Ran

pytestmark = pytest.mark.one_core

Variables = dict[str, t.Any]
PEOPLE = {"keys": ["anna", "ben", "carla"], "threshold": 2}


class ApprovalRequests:
    """One person's machine: a folder of their own, and a copy of what the people share."""

    def __init__(self, folder: pathlib.Path, shared: pathlib.Path, **environment: str) -> None:
        self.folder, self.shared, self.environment = folder, shared, environment
        folder.mkdir()

    def play(self, playbook: str, *options: str, **variables: t.Any) -> Ran:
        """Run a playbook of the collection on this machine's copy, and share what it changed."""
        copy = self.folder / "ota"
        shutil.copytree(self.shared, copy, dirs_exist_ok=True)
        given: Variables = {
            "fleet_ota_repository": "ota/repository",
            "fleet_ota_trust_root": "ota/root.json",
            "fleet_ota_keys_dir": "ota/people",
            "fleet_ota_keys": [str(self.folder / "keys")],
            **variables,
        }
        program = pathlib.Path(sys.executable).with_name("ansible-playbook")
        done = subprocess.run(
            [program, "-i", "localhost,", "-e", json.dumps(given), *options, f"fleet.ota.{playbook}"],
            cwd=self.folder,
            env={
                **os.environ,
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_LOCALHOST_WARNING": "0",
                "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
                **self.environment,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        shutil.copytree(copy, self.shared, dirs_exist_ok=True)
        return Ran(done.returncode, done.stdout + done.stderr, [])


class Office:
    """Everybody's desk, and the server."""

    def __init__(self, folder: pathlib.Path, socket: str) -> None:
        self.shared = folder / "shared"
        people = self.shared / "people"
        people.mkdir(parents=True)
        self.anna = ApprovalRequests(folder / "anna", self.shared, SSH_AUTH_SOCK=socket)
        self.ben, self.carla = (
            ApprovalRequests(folder / "ben", self.shared),
            ApprovalRequests(folder / "carla", self.shared),
        )
        self.server = ApprovalRequests(folder / "server", self.shared)
        for desk, name in ((self.ben, "ben"), (self.carla, "carla"), (self.server, "online")):
            ring.generate(desk.folder / "keys" / f"{name}.pem")
            shutil.move(desk.folder / "keys" / f"{name}.pub", people)

    def waiting(self) -> list[str]:
        repository = Repository(self.shared / "repository")
        return [entry.id for entry in Proposals(repository).list() if entry.state in ("open", "ready")]

    def version(self, cache: pathlib.Path) -> str:
        root = self.shared / "root.json"
        found = updater.prepare(
            repository=str(self.shared / "repository"),
            trust_root=root,
            channel="stable",
            release="gateway",
            cache=cache,
        )
        return found.version


@pytest.fixture
def office(tmp_path: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Office]:
    if shutil.which("ssh-agent") is None:
        pytest.skip("ssh-agent is not installed")
    socket = tmp_path_factory.mktemp("a") / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.PIPE, text=True)
    try:
        assert agent.stdout is not None
        agent.stdout.readline()  # it listens
        made = Office(tmp_path, str(socket))
        key = tmp_path / "id_ed25519"
        subprocess.run(["ssh-keygen", "-q", "-N", "", "-C", "anna@desk", "-t", "ed25519", "-f", key], check=True)
        environment = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
        subprocess.run(["ssh-add", "-q", key], env=environment, check=True)
        key.unlink()
        shutil.move(key.with_suffix(".pub"), made.shared / "people" / "anna.pub")
        yield made
    finally:
        agent.terminate()
        agent.wait(10)


def ok(ran: Ran) -> str:
    assert ran.rc == 0, ran.text
    return ran.text


def test_a_ceremony_on_separate_machines(office: Office, tmp_path: pathlib.Path) -> None:
    online = {"keys": ["online"]}
    roles = {"root": PEOPLE, "targets": PEOPLE, "snapshot": online, "timestamp": online}
    config: Variables = {
        "fleet_ota_roles": roles,
        "fleet_ota_channels": [{"name": "stable", **PEOPLE}],
        "fleet_ota_propose": True,
        "fleet_ota_title": "our repository",
    }
    agent = {"fleet_ota_keys": ["ssh-agent:"]}

    # anna proposes the repository; looking does not sign, naming the id does
    ok(office.anna.play("repository", **config, **agent))
    (name,) = office.waiting()
    text = ok(office.ben.play("sign"))
    assert name in text
    assert "root gives root to 2 of 3 keys" in text
    text = ok(office.ben.play("sign", "--check", fleet_ota_proposal=name))
    assert len(office.waiting()) == 1
    ok(office.ben.play("sign", fleet_ota_proposal=name, fleet_ota_remark="met anna in person"))
    text = ok(office.server.play("sign", fleet_ota_proposal=name, fleet_ota_proposal_state="applied"))
    assert office.waiting() == []
    text = ok(office.server.play("repository"))
    assert "2 of 3 (anna*, ben*, carla)" in text

    # a release: proposed by ben, signed by anna, in force where the online key is
    source = office.ben.folder / "release"
    (source / "app").mkdir(parents=True)
    (source / "app" / "run").write_text("#!/bin/sh\n")
    subprocess.run(["tar", "-czf", source / "app.tar.gz", "-C", source / "app", "run"], check=True)
    payload = {"name": "app", "type": "archive", "source": "app.tar.gz", "destination": "/opt/gateway"}
    document = {"format": 1, "name": "gateway", "version": "1.0", "counter": 1, "payloads": [payload]}
    (source / "release.yml").write_text(json.dumps(document))
    release = {
        "fleet_ota_source": "release/release.yml",
        "fleet_ota_channel": "stable",
        "fleet_ota_propose": True,
    }
    ok(office.ben.play("publish", **release))
    (name,) = office.waiting()
    text = ok(office.anna.play("sign", "--diff", fleet_ota_proposal=name, **agent))
    assert "stable lists stable/gateway/1.0.json" in text
    assert "ready" in text
    ok(office.server.play("sign", fleet_ota_proposal=name, fleet_ota_proposal_state="applied"))
    assert office.version(tmp_path / "cache") == "1.0"

    # carla's key is lost: root, targets and stable go on without it, and what is served goes on too
    lost = {"keys": ["anna", "ben"], "threshold": 2}
    change: Variables = {
        "fleet_ota_roles": {"root": lost, "targets": lost},
        "fleet_ota_channels": [{"name": "stable", **lost}],
        "fleet_ota_propose": True,
    }
    ok(office.ben.play("repository", **change))
    (name,) = office.waiting()
    ok(office.anna.play("sign", fleet_ota_proposal=name, **agent))
    ok(office.server.play("sign", fleet_ota_proposal=name, fleet_ota_proposal_state="applied"))
    text = ok(office.server.play("repository"))
    assert "carla" not in text
    assert office.version(tmp_path / "cache") == "1.0"

    # the scheduled job has nothing to do yet, and needs no key of a person
    assert "changed=0" in ok(office.server.play("refresh"))


def test_a_device_that_slept_through_all_keys_changing_is_updated(tmp_path: pathlib.Path) -> None:
    """Twice every key is replaced; device and controller know nothing but the very first root."""
    publisher = Publisher(tmp_path / "publisher")
    fleet = Fleet(publisher, None, tmp_path / "fleet", "d1")
    fleet.devices["d1"].bring_to(publisher.bundle(1), publisher.trust_root)
    folder, roles = publisher.folder / "keys", ("root", "targets", "snapshot", "timestamp")
    for generation in ("second", "third"):
        named = {role: {"keys": [f"{role}-{generation}"]} for role in roles}
        channel = {"name": "stable", "keys": [f"stable-{generation}"]}
        ok(
            fleet.play(
                "repository",
                fleet_ota_repository=str(publisher.repository),
                fleet_ota_trust_root=str(publisher.trust_root),
                fleet_ota_keys_dir=str(folder),
                fleet_ota_generate_keys=True,
                fleet_ota_roles=named,
                fleet_ota_channels=[channel],
            )
        )
        for path in folder.glob("*"):
            if not path.stem.endswith(f"-{generation}"):
                path.unlink()
    assert (publisher.repository / "metadata" / "3.root.json").is_file()
    ran = fleet.play("rollout")
    assert fleet.outcomes() == {"d1": ("updated", None)}, ran.text
    assert fleet.running() == {"d1": "2"}
    trusted = json.loads((fleet.devices["d1"].root / STATE / "trust" / "root.json").read_text())
    assert trusted["signed"]["version"] == 3
