# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demo's folder: devices, inventory, settings and the sources of three releases."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import tarfile
from pathlib import Path

import yaml

from demo import service

CHECKOUT = Path(__file__).resolve().parent.parent
#: Site and hardware of the eight devices; dev1 is the pilot.
DEVICES = {f"dev{number}": "north" if number <= 4 else "south" for number in range(1, 9)}
_SETTINGS = """\
[defaults]
inventory = inventory.yml
collections_path = collections
home = home
forks = 8
callback_result_format = yaml
localhost_warning = false
"""


class World:
    """Everything below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.journals = self.folder / "journal"

    def device(self, name: str) -> Path:
        """The directory that plays device ``name``."""
        return self.folder / "devices" / name

    def stop(self) -> None:
        """Stop the services that an earlier run left."""
        for name in DEVICES:
            service.stop_device(self.device(name))

    def make(self) -> None:
        """Begin anew."""
        if self.folder.exists() and not (self.folder / "inventory.yml").exists() and any(self.folder.iterdir()):
            raise SystemExit(f"{self.folder} is not an earlier demo's; name another folder with --folder")
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in DEVICES:
            self.device(name).mkdir(parents=True)
        link = self.folder / "collections" / "ansible_collections" / "fleet" / "ota"
        link.parent.mkdir(parents=True)
        link.symlink_to(CHECKOUT)
        (self.folder / "ansible.cfg").write_text(_SETTINGS)
        (self.folder / "inventory.yml").write_text(yaml.safe_dump(self._inventory(), sort_keys=False))
        for version in (1, 2, 3):
            self._release(version, "ok" if version < 3 else "broken")

    def _inventory(self) -> dict[str, object]:
        ports = dict(zip(DEVICES, _free_ports(len(DEVICES)), strict=True))
        hosts = {
            name: {"fleet_ota_site": site, "fleet_ota_labels": {"port": str(ports[name])}}
            for name, site in DEVICES.items()
        }
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "fleet_ota_root": str(self.folder / "devices") + "/{{ inventory_hostname }}",
            "fleet_ota_hardware": "edge-gw-1",
            "fleet_ota_repository": str(self.folder / "repository"),
            "fleet_ota_trust_root": str(self.folder / "root.json"),
            "fleet_ota_channel": "stable",
            "fleet_ota_release": "gateway",
            "fleet_ota_cache": str(self.folder / "cache"),
            "fleet_ota_journal_dir": str(self.journals),
            "fleet_ota_deadline": 120,
            "fleet_ota_waves": [
                {"name": "canary", "group": "pilots"},
                {"name": "north", "group": "north"},
                {"name": "rest", "percent": 100},
            ],
        }
        groups = {
            site: {"hosts": dict.fromkeys(n for n in DEVICES if DEVICES[n] == site)} for site in ("north", "south")
        }
        fleet = {"hosts": hosts, "children": {"pilots": {"hosts": {"dev1": None}}, **groups}, "vars": variables}
        publisher = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            **{name: variables[name] for name in ("fleet_ota_repository", "fleet_ota_trust_root")},
            "fleet_ota_keys_dir": str(self.folder / "keys"),
            "fleet_ota_generate_keys": True,
            "fleet_ota_channels": [{"name": "stable", "keys": ["anna", "ben"], "threshold": 2}],
            "fleet_ota_channel": "stable",
        }
        return {"all": {"children": {"fleet": fleet}, "hosts": {"localhost": publisher}}}

    def _release(self, version: int, status: str) -> None:
        """The payload and the document of one release, as a team would build them."""
        source = self.folder / "releases" / str(version)
        (source / "bin").mkdir(parents=True)
        text = (CHECKOUT / "demo" / "service.py").read_text()
        program = source / "bin" / "service"
        program.write_text(f"#!{sys.executable}\n{text}")
        program.chmod(0o755)
        (source / "release.json").write_text(json.dumps({"version": str(version), "status": status}))
        with tarfile.open(self.folder / "releases" / f"gateway-{version}.tar.gz", "w:gz") as archive:
            archive.add(source, ".")
        shutil.rmtree(source)
        health = {
            "passes": 2,
            "interval": 0.3,
            "timeout": 3,
            "checks": [
                {
                    "name": "answers",
                    "type": "http",
                    "url": "http://127.0.0.1:${port}/health",
                    "json": {"path": "version", "equals": str(version)},
                }
            ],
        }
        document = {
            "format": 1,
            "name": "gateway",
            "version": str(version),
            "counter": version,
            "compatible": {"hardware": ["edge-gw-1"]},
            "payloads": [
                {
                    "name": "service",
                    "type": "archive",
                    "source": f"gateway-{version}.tar.gz",
                    "destination": "/opt/gateway",
                    "activate": ["bin/service", "start"],
                    "deactivate": ["bin/service", "stop"],
                }
            ],
            "health": health,
        }
        path = self.folder / "releases" / f"release-{version}.yml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different because all are held until the last is found."""
    held = [socket.create_server(("127.0.0.1", 0)) for _number in range(count)]
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports
