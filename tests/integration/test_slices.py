# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A wave in slices on two machines over SSH; one of them loses its power, or its controller, in the midst of it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.journal import Journal

from tests.lab import Device, evidence, host, service

from .engine import Engine, when
from .site import Site, confirmed, kill
from .test_kill_matrix import HeldEngine
from .test_killed_playbook import HeldSite, assert_updated_once

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


def until(done: Callable[[], bool], site: Site, timeout: float = 90) -> None:
    """Wait for something; `timeout` in seconds."""
    deadline = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < deadline, site.said()
        time.sleep(0.1)


def taken_over(site: Site) -> bool:
    """Whether a slice began with devices that another worker had left."""
    return any(record["event"] == "slice.started" and record["data"]["again"] for record in site.journal())


def at_work(worker: Device) -> bool:
    """Whether Ansible runs there."""
    for process in (worker.root / "proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            if b"ansible.cli.playbook" in process.read_bytes():
                return True
    return False


def connected(worker: Device, device: Device) -> bool:
    """Whether a worker has a connection to a device."""
    listed = ["ss", "-Htn", "state", "established", "sport", "=", ":22", "dst", worker.address]
    return bool(host.run(["ip", "netns", "exec", device.machine, *listed]).strip())


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


def test_a_worker_is_cut_off_and_goes_on(site: Site) -> None:
    held, (first, second) = HeldSite(site, 4), site.devices[4:]
    workers = [become_worker(site, first), become_worker(site, second)]
    slow = HeldEngine(held.devices[0])
    slow.hold("installing")
    process = held.start(
        "rollout",
        fleet_ota_release="meter/2",
        fleet_ota_waves=[{"percent": 100}],
        fleet_ota_workers=workers,
        fleet_ota_worker_silence=8,
    )
    try:
        pid = slow.wait_held(120)
        first.lose_controller()
        until(lambda: taken_over(held), held)
        until(lambda: connected(second, slow.device), held)
        assert at_work(first), "what is cut off does not know it"
        slow.device.run(["kill", "-CONT", pid])
        assert process.wait(timeout=120) == 0, held.said()
    finally:
        kill(process)

    (path,) = held.journals.glob("*/journal.jsonl")
    records = Journal(path).verify()
    outcomes = [(r["device"], r["outcome"], r["data"]["worker"]) for r in records if r["event"] == "device.outcome"]
    assert sorted(outcomes) == [(device.name, "updated", second.name) for device in held.devices]
    until(lambda: not at_work(first), held)
    for device in held.devices:
        assert_updated_once(device)
    until(lambda: not list((first.root / "tmp").glob("fleet-ota-slice.*")), held)
