# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signed releases of one archive payload, made once: what they consist of, and the bundle that offers each."""

from __future__ import annotations

import io
import tarfile
import typing as t
from pathlib import Path

from ansible_collections.fleet.ota.plugins.module_utils._device.documents import release

from tests.unit.device.signing import Key, Repository

#: Writes a file outside the release's own directory, never synced: as a maintainer script does.
SCRIPT = """#!/bin/sh
mkdir -p "$FLEET_OTA_ROOT/etc/app" && echo "written by {version}" >"$FLEET_OTA_ROOT/etc/app/generated"
"""
#: An activation that never succeeds, for a release that always goes back.
BAD = '#!/bin/sh\necho half >"$FLEET_OTA_ROOT/etc/app/generated"\nexit 1\n'


class Release(t.NamedTuple):
    """One release: the bundle that offers it, and ``{sha256: content}`` of its payload files."""

    version: str
    digest: str
    bundle: dict[str, t.Any]
    files: dict[str, bytes]


class Releases:
    """A repository of releases ``app 1``, ``app 2`` ..., each made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.repository = Repository([Key(folder, number) for number in range(6)])
        self._made: dict[tuple[int, bool], Release] = {}
        self._count = 0

    @property
    def trust_root(self) -> str:
        """The text of the root to pin."""
        return self.repository.root()

    def get(self, counter: int, *, good: bool = True) -> Release:
        """Release ``counter``; one that is not good fails while it is installed.

        The metadata of one that is made later is newer, so make them in the order in which they are offered.
        """
        key = (counter, good)
        if key not in self._made:
            self._made[key] = self._make(counter, good)
        return self._made[key]

    def _make(self, counter: int, good: bool) -> Release:
        self._count += 1
        version = "%d%s" % (counter, "" if good else ".bad")
        script = SCRIPT.format(version=version) if good else BAD
        content = {"bin/activate": script, "bin/app": "app %s\n" % version * 50, "share/doc/readme": "read me\n"}
        if counter > 1:
            content["share/new/%s" % version] = "new\n"
        archive = self.folder / ("app-%s.tar.gz" % version)
        with tarfile.open(str(archive), "w:gz") as handle:
            for name, text in content.items():
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(text), 0o755 if name.startswith("bin/") else 0o644
                handle.addfile(info, io.BytesIO(text.encode()))
            link = tarfile.TarInfo("latest")
            link.type, link.linkname = tarfile.SYMTYPE, "share/doc"
            handle.addfile(link)
        payload = {"name": "app", "type": "archive", "source": archive.name, "destination": "/opt/app"}
        payload["activate"] = ["bin/activate"]  # type: ignore[assignment]
        author = {"format": 1, "name": "app", "version": version, "counter": counter, "payloads": [payload]}
        document, files = release.describe({**author, "protect": ["/etc/app"]}, self.folder)
        self.repository.publish(document)
        bundle = self.repository.bundle()
        digest = release.digest(bundle["documents"][bundle["target"]].encode())
        return Release(version, digest, bundle, {name: path.read_bytes() for name, path in files.items()})
