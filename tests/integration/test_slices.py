# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A wave in slices on two machines over SSH; the power of one is cut while its devices install."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal import Journal

from tests.lab import Device, evidence, service

from .engine import Engine, when
from .site import Site, confirmed

PLACE = "/opt/ota"
PROGRAM = '#!/bin/sh\nPYTHONPATH=/opt/ota/lib exec python3 -m %s "$@"\n'


def put_libraries(target: Path, *names: str) -> None:
    """Copy distributions, and what they need, from where this Python has them."""
    known: set[str] = set()
    wanted = list(names)
    while wanted:
        name = wanted.pop()
        if name.lower() in known:
            continue
        known.add(name.lower())
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # for another Python
            continue
        required = [entry for entry in found.requires or [] if "extra ==" not in entry]
        wanted += [match[0] for entry in required if (match := re.match(r"[A-Za-z0-9._-]+", entry))]
        for file in found.files or []:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(found.locate_file(file)), target / file)


def become_worker(site: Site, device: Device) -> dict[str, Any]:
    """Put ansible-core and ansible-runner on a device of the lab, and say how it is reached."""
    version = device.run(["python3", "-c", "import sys; print(*sys.version_info[:2], sep='.')"]).stdout.strip()
    if version != f"{sys.version_info.major}.{sys.version_info.minor}":
        pytest.skip(f"the devices have Python {version}: the libraries of this one do not run there")
    place = device.root / PLACE.lstrip("/")
    put_libraries(place / "lib", "ansible-core", "ansible-runner")
    (place / "bin").mkdir()
    for name, module in (("ansible-runner", "ansible_runner"), ("ansible-playbook", "ansible.cli.playbook")):
        (place / "bin" / name).write_text(PROGRAM % module)
        (place / "bin" / name).chmod(0o755)
    shutil.copy(site.fleet.folder / "known_hosts", device.root / "root/.ssh/known_hosts")
    return {
        "name": device.name,
        "host": device.address,
        "user": "root",
        "key": str(site.fleet.folder / "id_ed25519"),
        "ssh": str(site.fleet.folder / "bin" / "ssh"),
        "ssh_args": ["-o", f"UserKnownHostsFile={site.fleet.folder / 'known_hosts'}", "-o", "ServerAliveInterval=1"],
        "runner": f"{PLACE}/bin/ansible-runner",
        "forks": 2,
        # what the inventory says of the lab's own network is no matter of devices among each other
        "variables": {
            "ansible_ssh_executable": "ssh",
            "ansible_ssh_common_args": "-o StrictHostKeyChecking=yes",
            "ansible_control_path_dir": "/tmp/cp",
        },
    }


def test_a_worker_loses_power(site: Site) -> None:
    *devices, first, second = site.devices
    workers = [become_worker(site, first), become_worker(site, second)]
    cut = when(Engine(devices[0]), "installing", "checking", "unconfirmed", then=first.cut)
    everyone = {"fleet_ota_hosts": ",".join(device.name for device in devices), "fleet_ota_waves": [{"percent": 100}]}
    assert site.rollout("meter/2", **everyone, fleet_ota_workers=workers) == 0, site.said()
    cut.join(10)
    assert not first.on

    (path,) = site.journals.glob("*/journal.jsonl")
    records = Journal(path).verify()
    outcomes = [(r["device"], r["outcome"], r["data"]["worker"]) for r in records if r["event"] == "device.outcome"]
    assert sorted(outcomes) == [(device.name, "updated", second.name) for device in devices]
    (gone,) = [r["data"] for r in records if r["event"] == "slice.ended" and r["data"]["open"]]
    assert (gone["worker"], gone["open"]) == (first.name, [devices[0].name, devices[1].name])
    for device in devices:
        answer = evidence.http_json(device, service.PORT)
        assert answer is not None
        assert answer["version"] == "2"
        assert len(confirmed(device)) == 2, "version 1 and version 2, each once"
    # what came to the living one is gone again: inventory, key, payloads
    secret = (site.fleet.folder / "id_ed25519").read_bytes().splitlines()[2]
    places = [path for folder in ("tmp", "var/tmp", "root", "run") for path in (second.root / folder).rglob("*")]
    assert not [path for path in places if path.name.startswith("fleet-ota-slice")]
    assert not [path for path in places if path.is_file() and not path.is_symlink() and secret in path.read_bytes()]
