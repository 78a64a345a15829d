# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A mirror made by playbook, and devices and a controller that pull from it over mutual TLS."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Device, Fleet, archives, evidence, packages
from tests.unit.device.hostile import Authority

from . import sealing
from .project import Project
from .site import Site

PORT = 8443


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority]:
    """The team's CA and somebody else's."""
    folder = tmp_path_factory.mktemp("ca")
    return Authority(folder / "ours"), Authority(folder / "theirs")


@pytest.fixture
def site(lab_fleet: Fleet, lab_devices: Callable[[int], list[Device]], tmp_path: Path) -> Site:
    """Two devices as new; dev1 is going to be a mirror of a repository with one release."""
    project = Project(tmp_path / "project")
    project.publish(project.gateway("1", padding=300_000))
    site = Site(project, lab_fleet, tmp_path / "journals")
    site.devices = lab_devices(2)
    packages.offer(site.devices[0], ["nginx"])
    return site


def serve(site: Site, ours: Authority) -> str:
    """Run the playbook; the URL of the mirror."""
    mirror = site.devices[0]
    certificate = ours.folder / "mirror.pem"
    if not certificate.exists():
        ours.issue("mirror", address=mirror.address)
    variables = {
        "fleet_ota_mirror_hosts": "dev1",
        "fleet_ota_mirror_listen": [str(PORT)],
        "fleet_ota_mirror_certificate": str(certificate),
        "fleet_ota_mirror_key": str(certificate.with_suffix(".key")),
        "fleet_ota_mirror_client_ca": str(ours.path),
    }
    assert site.play("mirror", **variables) == 0, site.said()
    return f"https://{mirror.address}:{PORT}"


def device_tls(ca: Path, client: Path | None) -> dict[str, str]:
    """`fleet_ota_device_tls`."""
    files = {"certificate": str(client), "key": str(client.with_suffix(".key"))} if client else {}
    return {"ca": str(ca), **files}


def again(site: Site, name: str) -> Site:
    """The same site with journals and a cache of its own."""
    other = Site(site.project, site.fleet, site.journals / name)
    other.devices = site.devices
    return other


def curl(site: Site, url: str, *options: str) -> str:
    """The status that the mirror gives somebody at the controller's place."""
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *options, url]
    return subprocess.run(site.fleet.enter(command), capture_output=True, text=True, check=False).stdout


def rollout_inside(site: Site, **variables: Any) -> tuple[int, str]:
    """A rollout by a controller that is in the devices' network itself: its exit code and what it said."""
    command = site.fleet.enter(site.command("rollout", **variables))
    environment = {key: value for key, value in site.environment().items() if "proxy" not in key.lower()}
    done = subprocess.run(
        command,
        env=environment,
        cwd=site.journals,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return done.returncode, done.stdout + done.stderr


def test_from_nothing_to_an_update_over_mutual_tls(site: Site, authorities: tuple[Authority, Authority]) -> None:
    ours, theirs = authorities
    url = serve(site, ours)
    device = site.devices[1]
    pull: dict[str, Any] = {"fleet_ota_hosts": "dev2", "fleet_ota_transfer": "pull", "fleet_ota_mirrors": [url]}
    seal = sealing.variables(site.fleet, mirrors=[url])
    login = {"ansible_user": sealing.LOGIN}

    # Each of these is no way in: no client certificate, somebody else's, and a mirror that the device does not know.
    stranger = theirs.issue("stranger")
    for name, tls in {
        "nobody": device_tls(ours.path, None),
        "stranger": device_tls(ours.path, stranger),
        "distrust": device_tls(theirs.path, ours.issue("dev2")),
    }.items():
        run = again(site, name)
        assert run.play("enroll", fleet_ota_hosts="dev2", fleet_ota_device_tls=tls, **seal) == 0, run.said()
        run.rollout("gateway/1", **pull, **login)
        assert run.outcomes() == {"dev2": ("deferred", "FETCH")}, run.said()
        assert evidence.http_json(device, archives.PORT) is None

    run = again(site, "right")
    right = device_tls(ours.path, ours.issue("dev2"))
    assert run.play("enroll", fleet_ota_hosts="dev2", fleet_ota_device_tls=right, **seal) == 0, run.said()
    assert run.rollout("gateway/1", **pull, **login) == 0, run.said()
    assert (evidence.http_json(device, archives.PORT, wait=3) or {}).get("version") == "1"
    log = evidence.read(site.devices[0], "/var/log/nginx/access.log") or ""
    assert "/targets/payloads/" in log
    assert '" 200 ' in log

    # The controller takes its own metadata and payloads from there as well.
    client = ours.issue("controller")
    site.project.publish(site.project.gateway("2"))
    serve(site, ours)
    remote = {"fleet_ota_repository": url, "fleet_ota_tls_ca": str(ours.path), "fleet_ota_hosts": "dev2"}
    mine = {"fleet_ota_tls_certificate": str(client), "fleet_ota_tls_key": str(client.with_suffix(".key"))}
    run = again(site, "remote")
    code, output = rollout_inside(run, fleet_ota_release="gateway/2", **remote, **login)
    assert code != 0
    assert "HTTP 400" in output  # nginx: no required certificate was sent
    code, output = rollout_inside(run, fleet_ota_release="gateway/2", **remote, **mine, **login)
    assert code == 0, output
    assert (evidence.http_json(device, archives.PORT, wait=3) or {}).get("version") == "2"


def test_what_the_mirror_gives_and_what_not(site: Site, authorities: tuple[Authority, Authority]) -> None:
    ours, _theirs = authorities
    url = serve(site, ours)
    client = ours.issue("somebody")
    mine = ("--cacert", str(ours.path), "--cert", str(client), "--key", str(client.with_suffix(".key")))
    (payload,) = (site.project.repository / "targets/payloads").iterdir()
    path = f"{url}/targets/payloads/{payload.name}"
    assert curl(site, path, *mine) == "200"
    assert curl(site, path, *mine, "-r", "5-9") == "206"
    assert curl(site, f"{url}/metadata/timestamp.json", *mine) == "200"
    assert curl(site, path, *mine[:2]) == "400"  # nginx: no required certificate was sent
    assert curl(site, path) == "000"  # its certificate is ours alone
    for wrong in ("/", "/targets/", "/metadata/", "/targets/../../../etc/passwd", "/etc/passwd", "/nothing"):
        assert curl(site, url + wrong, *mine, "--path-as-is") in ("404", "403", "400"), wrong
    for method in ("PUT", "POST", "DELETE"):
        assert curl(site, path, *mine, "-X", method) in ("403", "405")
    assert curl(site, path.replace("https", "http")) == "400"
    mirror = site.devices[0].root
    modes = {
        name: oct((mirror / name).stat().st_mode & 0o7777)
        for name in ("etc/fleet-ota-mirror", "etc/fleet-ota-mirror/server.key", "srv/fleet-ota/metadata/timestamp.json")
    }
    assert list(modes.values()) == ["0o700", "0o600", "0o644"]

    run = again(site, "second")
    serve(run, ours)
    assert "changed=0" in run.said().rsplit("PLAY RECAP", 1)[1], run.said()
