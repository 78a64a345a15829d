# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A team's project folder: keys, a repository, releases of the lab's payloads."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.fleet.ota.plugins.plugin_utils._control.client.bundle import Bundle
from ansible_collections.fleet.ota.plugins.plugin_utils._control.client.updater import prepare
from ansible_collections.fleet.ota.plugins.plugin_utils._control.keys import ring
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.metadata.edit import Holders
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.repository import Config, Repository

from tests.lab import archives, debs, service

ROLES = ("root", "targets", "snapshot", "timestamp")
HARDWARE = "edge-gw-1"


class Project:
    """Everything a team keeps on its controller, in one folder.

    The channel `stable` needs two of its two keys.
    """

    def __init__(self, folder: Path) -> None:
        """:param folder: empty or missing"""
        self.folder = folder
        self.repository = folder / "repository"
        self.keys = folder / "keys"
        self.trust_root = folder / "root.json"
        holders = {role: Holders((ring.generate(self.keys / f"{role}.pem"),)) for role in ROLES}
        channel = tuple(ring.generate(self.keys / f"stable-{number}.pem") for number in (1, 2))
        self._config = Config(holders, {"stable": Holders(channel, 2)}, {})
        self.ring = ring.Ring.load([self.keys])
        Repository(self.repository, pin=self.trust_root).ensure(self._config, self.ring)

    def moved(self, folder: Path) -> Project:
        """The same project in a folder it was copied to."""
        other = copy.copy(self)
        other.folder, other.repository, other.keys = folder, folder / "repository", folder / "keys"
        other.trust_root = folder / "root.json"
        return other

    def write(self, document: Mapping[str, Any]) -> Path:
        """Write a release document as a person would (JSON is YAML) and return its path."""
        path = self.folder / f"release-{document['name']}-{document['version']}.yml"
        path.write_text(json.dumps(document, indent=2))
        return path

    def meter(self, name: str, /, **changes: Any) -> Path:
        """The release document of a version of the package `meter`.

        :param name: a key of `debs.VERSIONS`
        :param changes: replace top-level keys of the document
        """
        packages = debs.release(name, self.folder / "build" / name)
        sources = [str(path.relative_to(self.folder)) for path in packages]
        payload = {"name": "packages", "type": "deb", "source": sources, "units": [debs.UNIT]}
        version = debs.VERSIONS[name].version
        return self._document("meter", version, payload, health(service.PORT), {"protect": [debs.STATE], **changes})

    def gateway(self, version: str, *, silent: bool = False, padding: int = 0, **changes: Any) -> Path:
        """The release document of a version of the archive `gateway`; see `archives.build` and `meter`."""
        archive = archives.build(version, self.folder / "build", silent=silent, padding=padding)
        payload = {"name": "app", "type": "archive", "source": str(archive.relative_to(self.folder))}
        more = {"destination": archives.DESTINATION, "units": [archives.UNIT], "activate": ["bin/activate"]}
        return self._document("gateway", version, {**payload, **more}, health(archives.PORT), changes)

    def publish(self, document: Path, *, channel: str = "stable") -> Bundle:
        """Publish a release and return it as a controller verified it."""
        change = Repository(self.repository).publish(channel, document, self.ring)
        assert change.release is not None
        return self.fetch(f"{change.release.name}/{change.release.version}", channel=channel)

    def fetch(self, release: str, *, channel: str = "stable") -> Bundle:
        """Verify a release as a controller does."""
        return prepare(
            repository=str(self.repository),
            trust_root=self.trust_root,
            channel=channel,
            release=release,
            cache=self.folder / "cache",
        )

    def _document(
        self, name: str, version: str, payload: Mapping[str, Any], checks: Mapping[str, Any], changes: Mapping[str, Any]
    ) -> Path:
        document = {"format": 1, "name": name, "version": version, "counter": int(version), "payloads": [payload]}
        compatible = {"compatible": {"hardware": [HARDWARE]}}
        return self.write({**document, **compatible, "health": checks, **changes})


def health(port: int, *, timeout: float = 4.0, more: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Health of the lab's service; `timeout` in seconds."""
    url = f"http://127.0.0.1:{port}/health"
    answers = {"name": "answers", "type": "http", "url": url, "json": {"path": "status", "equals": "ok"}}
    return {"passes": 2, "interval": 0.2, "timeout": timeout, "checks": [answers, *more]}
