# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small repository with keys, releases and a clock of its own."""

from __future__ import annotations

import dataclasses
import datetime
import gzip
import io
import json
import pathlib
import subprocess
import sys
import tarfile
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.client import updater
from ansible_collections.fleet.ota.plugins.plugin_utils._control.client.bundle import Bundle
from ansible_collections.fleet.ota.plugins.plugin_utils._control.keys import ring as keys
from ansible_collections.fleet.ota.plugins.plugin_utils._control.keys.ring import Ring
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.metadata import store
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.metadata.edit import Holders
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.repository import Change, Config, Repository

from .receiver import Receiver


def tarball(path: pathlib.Path, content: bytes) -> None:
    """A reproducible archive with one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # gzip would write down the time, and a second later the same would be something else
    with gzip.GzipFile(path, "wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("bin/app")
        entry.size, entry.mode = len(content), 0o755
        archive.addfile(entry, io.BytesIO(content))


@dataclasses.dataclass
class Site:
    """Everything on the publishing side, below one folder."""

    folder: pathlib.Path

    @property
    def path(self) -> pathlib.Path:
        return self.folder / "repository"

    @property
    def trust_root(self) -> pathlib.Path:
        return self.path / "metadata" / "1.root.json"

    def key(self, name: str, kind: str = "ecdsa") -> pathlib.Path:
        path = self.folder / "keys" / f"{name}.pem"
        if not path.exists():
            keys.generate(path, kind)
        return path

    def holders(self, *names: str, threshold: int = 1) -> Holders:
        return Holders(tuple(keys.public(self.key(name)) for name in names), threshold)

    def ring(self, *names: str) -> Ring:
        return Ring.load([self.key(name) for name in names] if names else [self.folder / "keys"])

    def config(self, **changes: t.Any) -> Config:
        roles = {name: self.holders(name) for name in store.TOP}
        channels = {"pilot": self.holders("pilot"), "stable": self.holders("stable")}
        return Config(**{"roles": roles, "channels": channels, "periods": {}, **changes})

    def repository(self, now: datetime.datetime | None = None) -> Repository:
        return Repository(self.path, now=now)

    def make(self, **changes: t.Any) -> Change:
        config = self.config(**changes)
        return self.repository().ensure(config, self.ring())

    def document(
        self, version: str = "1.0", counter: int = 1, content: bytes = b"#!/bin/sh\n", **more: t.Any
    ) -> pathlib.Path:
        folder = self.folder / f"source-{version}"
        tarball(folder / "app.tar.gz", content)
        payload = {"name": "app", "type": "archive", "source": "app.tar.gz", "destination": "/opt/gateway"}
        text = {"format": 1, "name": "gateway", "version": version, "counter": counter, "payloads": [payload], **more}
        path = folder / "release.yml"
        path.write_text(json.dumps(text))  # JSON is YAML
        return path

    def publish(self, version: str = "1.0", counter: int = 1, channel: str = "stable", **more: t.Any) -> Change:
        return self.repository().publish(channel, self.document(version, counter, **more), self.ring())

    def fetch(self, release: str = "gateway", channel: str = "stable", **changes: t.Any) -> Bundle:
        return updater.prepare(
            **{
                "repository": str(self.path),
                "trust_root": self.trust_root,
                "channel": channel,
                "release": release,
                "cache": self.folder / "cache",
                **changes,
            }
        )


@pytest.fixture
def empty(tmp_path: pathlib.Path) -> Site:
    """Keys, but no repository yet."""
    return Site(tmp_path)


@pytest.fixture
def site(empty: Site) -> Site:
    """A repository with the channels pilot and stable, one key for each role."""
    empty.make()
    return empty


@pytest.fixture
def receiver() -> t.Iterator[Receiver]:
    """See :class:`Receiver`."""
    server = Receiver()
    yield server
    server.close()


@pytest.fixture
def other() -> t.Iterator[subprocess.Popen[bytes]]:
    """A process that plays another controller."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()
