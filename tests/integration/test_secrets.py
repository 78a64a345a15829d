# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A different secret through every option that takes one, and a search for each in everything that is left behind."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Device, Fleet, archives, evidence, packages
from tests.unit.device.hostile import Authority

from . import sealing
from .engine import STATE
from .project import Project
from .site import Site

PORT = 8443
#: Passwords and passphrases; private keys are added as they are made.
WORDS = {
    "passphrase": "canary-passphrase-3141592653",
    "wrong passphrase": "canary-wrong-2718281828",
    "become password": "canary-become-1618033988",
    "ssh password": "canary-ssh-1414213562",
    "repository password": "canary-repository-1732050807",
    "sealed password": "canary-sealed-2449489742",
    "mirror password": "canary-mirror-2236067977",
}


class Watch:
    """Looks at the command line and environment of every process of this machine while playbooks run."""

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        self.secrets = secrets
        self.seen: set[str] = set()
        self.looks = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            self.looks += 1
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit() and int(entry.name) != os.getpid():
                    self._look(entry)

    def _look(self, process: Path) -> None:
        try:
            arguments, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        except OSError:
            return
        for name, secret in self.secrets.items():
            if secret in arguments:
                self.seen.add(f"{name} in the arguments of {arguments!r}")
            # Ansible itself was given the passphrase in its environment; nobody else needs it.
            if secret in environment and b"ansible" not in arguments:
                self.seen.add(f"{name} in the environment of {arguments!r}")


class Controller:
    """Playbooks with every secret, as loud as Ansible can be."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.folder = folder
        self.output = folder / "output.log"
        self.events = folder / "events.log"

    def play(self, playbook: str, environment: Mapping[str, str] | None = None, /, **variables: Any) -> int:
        """Run a playbook in the devices' network with ``-vvvv`` and ``--diff``; its exit code."""
        command = self.site.fleet.enter([*self.site.command(playbook, **variables), "-vvvv", "--diff"])
        inherited = {key: value for key, value in self.site.environment().items() if "proxy" not in key.lower()}
        more = {
            "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent),
            "ANSIBLE_CALLBACKS_ENABLED": "events",
            "EVENTS": str(self.events),
            "ANSIBLE_DISPLAY_ARGS_TO_STDOUT": "1",
            **(environment or {}),
        }
        with self.output.open("a") as stream:
            return subprocess.run(
                command,
                env={**inherited, **more},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=300,
            ).returncode


@pytest.fixture
def controller(
    lab_fleet: Fleet, lab_devices: Callable[[int], list[Device]], project: Project, tmp_path: Path
) -> Controller:
    """Two devices as new, nothing published: sudo on dev1 wants a password, dev2 is going to be a mirror."""
    folder = tmp_path / "project"
    folder.mkdir()
    site = Site(project.moved(folder), lab_fleet, tmp_path / "journals")
    site.devices = lab_devices(2)
    device, mirror = site.devices
    device.run(["chpasswd"], stdin=f"edge:{WORDS['become password']}\n")
    device.run(["sh", "-c", "echo 'edge ALL=(ALL) ALL' >/etc/sudoers.d/edge"])
    packages.offer(mirror, ["nginx"])
    return Controller(site, tmp_path)


def private_lines(*paths: Path) -> Iterator[tuple[str, bytes]]:
    """A telling line of each private key."""
    for path in paths:
        yield str(path), path.read_bytes().splitlines()[2]


def with_password(url: str, password: str) -> str:
    return url.replace("//", f"//user:{password}@")


def play_everything(controller: Controller, authority: Authority) -> None:
    """Each playbook, on its good and its bad ways."""
    site = controller.site
    project = site.project
    device, mirror = site.devices
    right, wrong = controller.folder / "passphrase", controller.folder / "wrong"
    right.write_text(WORDS["passphrase"] + "\n")
    wrong.write_text(WORDS["wrong passphrase"] + "\n")
    login = {
        "ansible_user": "edge",
        "ansible_become": True,
        "ansible_become_password": WORDS["become password"],
        "ansible_password": WORDS["ssh password"],
        "fleet_ota_hosts": "dev1",
    }

    new = {"fleet_ota_channels": [{"name": "stable"}], "fleet_ota_generate_keys": True}
    keys = {"fleet_ota_keys_dir": str(project.keys)}
    one = {"fleet_ota_source": str(project.gateway("1"))}
    assert controller.play("publish", **new, **keys, **one, fleet_ota_passphrase_file=str(right)) == 0
    two = {"fleet_ota_source": str(project.gateway("2"))}
    assert controller.play("publish", **keys, **two, fleet_ota_passphrase_file=str(wrong)) != 0
    environment = {"FLEET_OTA_KEY_PASSPHRASE": WORDS["passphrase"]}
    assert controller.play("publish", environment, **keys, **two) == 0
    rules = project.folder / "policy.yml"
    rules.write_text(json.dumps({"format": 1, "rules": [{"name": "all", "approvals": {}}]}))
    asked = {**keys, "fleet_ota_policy": str(rules)}
    assert controller.play("policy", **asked, fleet_ota_passphrase_file=str(wrong)) != 0
    assert controller.play("policy", **asked, fleet_ota_passphrase_file=str(right)) == 0
    assert controller.play("approve", environment, **keys, fleet_ota_answer="sign") == 0
    assert controller.play("refresh", environment, **keys) == 0

    files = {name: authority.folder / f"{name}.pem" for name in ("mirror", "device", "controller")}
    serve = {
        "fleet_ota_mirror_hosts": "dev2",
        "fleet_ota_mirror_listen": [str(PORT)],
        "fleet_ota_mirror_certificate": str(files["mirror"]),
        "fleet_ota_mirror_key": str(files["mirror"].with_suffix(".key")),
        "fleet_ota_mirror_client_ca": str(authority.path),
    }
    assert controller.play("mirror", **serve) == 0
    assert controller.play("mirror", **{**serve, "fleet_ota_mirror_key": str(files["device"].with_suffix(".key"))}) != 0
    assert controller.play("mirror", **serve) == 0

    tls = {
        "ca": str(authority.path),
        "certificate": str(files["device"]),
        "key": str(files["device"].with_suffix(".key")),
    }
    swapped = {**tls, "key": str(files["mirror"].with_suffix(".key"))}
    assert controller.play("enroll", **login, fleet_ota_device_tls=swapped) != 0
    url = f"https://{mirror.address}:{PORT}"
    seal = sealing.variables(site.fleet, mirrors=[with_password(url, WORDS["sealed password"])])
    assert controller.play("enroll", **login, **seal, fleet_ota_device_tls=tls) == 0
    unsafe = {**seal, "fleet_ota_sealed_login": "root"}
    assert controller.play("enroll", **login, **unsafe) != 0
    remote = {
        "fleet_ota_repository": with_password(url, WORDS["repository password"]),
        "fleet_ota_tls_ca": str(authority.path),
        "fleet_ota_tls_certificate": str(files["controller"]),
        "fleet_ota_tls_key": str(files["controller"].with_suffix(".key")),
        "fleet_ota_waves": [{"percent": 100}],
    }
    pull = {"fleet_ota_transfer": "pull", "fleet_ota_mirrors": [with_password(url, WORDS["mirror password"])]}
    nobody = {"fleet_ota_mirrors": [with_password(f"https://{mirror.address}:9", WORDS["mirror password"])]}
    gone = {"fleet_ota_repository": with_password(f"https://{mirror.address}:9", WORDS["repository password"])}
    assert controller.play("plan", **login, **remote, fleet_ota_release="gateway/1") == 0
    assert controller.play("rollout", **login, **{**remote, **gone}, fleet_ota_release="gateway/1") != 0
    assert controller.play("rollout", **login, **remote, **{**pull, **nobody}, fleet_ota_release="gateway/1") != 0
    assert controller.play("rollout", **login, **remote, **pull, fleet_ota_release="gateway/1") == 0
    assert controller.play("rollout", **login, **remote, **pull, fleet_ota_release="gateway/2") == 0
    assert (evidence.http_json(device, archives.PORT, wait=3) or {}).get("version") == "2"
    assert controller.play("status", **login) == 0
    rollouts = [json.loads(path.read_text().splitlines()[0]) for path in site.journals.glob("*/journal.jsonl")]
    (second,) = [entry["rollout"] for entry in rollouts if entry["rollout"].startswith("gateway-2")]
    assert controller.play("rollback", **login, fleet_ota_rollout_id=second) == 0
    assert controller.play("rollback", **login, fleet_ota_rollout_id="nothing") != 0


def belongs(name: str, path: Path) -> bool:
    """The one place of a secret, for its owner only."""
    place = str(path)
    fits = {
        "device.key": place.endswith(f"{STATE}/tls/key.pem"),
        "mirror.key": place.endswith("/etc/fleet-ota-mirror/server.key"),
        "sealed password": place.endswith(f"{STATE}/sealed.json"),
        # To bring payloads, the controller needs the address again: in its own cache.
        "repository password": "/cache/" in place,
    }
    return any(name.endswith(end) and fit for end, fit in fits.items()) and path.stat().st_mode & 0o077 == 0


def places(controller: Controller) -> Iterator[Path]:
    """Every file that anything may have been left in."""
    site = controller.site
    yield from (controller.output, controller.events)
    yield from (path for path in site.journals.rglob("*") if not path.name.startswith("variables-"))
    for device in site.devices:
        for folder in (STATE, "/tmp", "/var/tmp", "/root", "/home", "/var/log", "/run", "/etc", "/srv/fleet-ota"):
            yield from (device.root / folder.lstrip("/")).rglob("*")


def encodings(secret: bytes) -> list[bytes]:
    """A secret as it is, and as nobody should think it hidden."""
    return [secret, base64.b64encode(secret), secret.hex().encode()]


def test_no_secret_is_left_anywhere(controller: Controller, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    site = controller.site
    for name, address in (("mirror", site.devices[1].address), ("device", "127.0.0.1"), ("controller", "127.0.0.1")):
        authority.issue(name, address=address)
    secrets = {name: word.encode() for name, word in WORDS.items()}
    secrets.update(private_lines(*sorted(authority.folder.glob("*.key"))))
    with Watch(secrets) as watch:
        play_everything(controller, authority)
    secrets.update(private_lines(*sorted(site.project.keys.glob("*.pem"))))
    assert watch.looks > 100
    assert watch.seen == set()

    logs = [device.run(["journalctl", "--no-pager", "-o", "json"]).stdout.encode() for device in site.devices]
    assert b"sudo" in logs[0]
    searched, found = 0, {}
    for path in places(controller):
        if path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        searched += 1
        for name, secret in secrets.items():
            if any(entry in content for entry in encodings(secret)) and not belongs(name, path):
                found[f"{name} in {path}"] = content[max(0, content.find(secret) - 300) :][:400]
    for name, secret in secrets.items():
        for log in logs:
            if any(entry in log for entry in encodings(secret)):
                found[f"{name} in the journal of a device"] = b""
    assert found == {}
    assert searched > 100
    assert b"gateway" in controller.events.read_bytes(), "the callback saw nothing; this test would always pass"
    kept = site.devices[0].root / STATE.lstrip("/") / "tls/key.pem"
    assert kept.read_bytes() == (authority.folder / "device.key").read_bytes()
