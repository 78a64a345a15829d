# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The distribution's packages for devices that have no way to a mirror."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from . import base, host
from .device import Device
from .errors import LabError

PLACE = "/srv/packages"


def offer(device: Device, names: Sequence[str]) -> None:
    """Make `apt install NAMES` work on a device: this machine fetches what the device lacks and puts it there.

    :raises LabError: when the packages cannot be fetched
    """
    folder = base.cache() / "packages" / "-".join(sorted(names))
    (folder / "partial").mkdir(parents=True, exist_ok=True)
    # A copy: apt resolves links, and what leads to a device's root would lead it to this machine's own database.
    status = folder / "status"
    status.write_bytes((device.root / "var/lib/dpkg/status").read_bytes())
    fetch = ["--download-only", "--no-install-recommends", "-o", "Debug::NoLocking=1"]
    fetch += ["-o", f"Dir::State::status={status}", "-o", f"Dir::Cache::archives={folder}", "install", *names]
    with base.locked():
        host.apt(fetch)
    place = device.root / PLACE.lstrip("/")
    place.mkdir(parents=True)
    packages = sorted(Path(folder).glob("*.deb"))
    if not packages:
        raise LabError(f"apt-get fetched nothing for {', '.join(names)}")
    host.run(["cp", *map(str, packages), str(place)])
    index = subprocess.run(["apt-ftparchive", "packages", "."], cwd=folder, capture_output=True, check=True)
    (place / "Packages").write_bytes(index.stdout)
    (device.root / "etc/apt/sources.list").write_text(f"deb [trusted=yes] file:{PLACE} ./\n")
    device.run(["apt-get", "update", "-q"])
