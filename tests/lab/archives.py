# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Release archives for tests: the lab's service as a versioned directory, with a program that installs its unit."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from pathlib import Path

from . import service

DESTINATION = "/opt/gateway"
UNIT = "gateway.service"
PORT = 8481

# Runs in the new directory after every switch, forwards and back, so it must not assume a direction.
ACTIVATE = f"""\
#!/bin/sh
set -e
cp share/{UNIT} /etc/systemd/system/{UNIT}
systemctl daemon-reload
systemctl enable --quiet {UNIT}
"""


def build(
    version: str, folder: Path, *, silent: bool = False, padding: int = 0, extra: dict[str, bytes] | None = None
) -> Path:
    """Write ``gateway-VERSION.tar.gz``; the same bytes for the same arguments.

    :param silent: the service runs without answering
    :param padding: bytes of an additional file that does not compress, for tests of transfers and space
    :param extra: more files, path in the archive -> content
    """
    current = f"{DESTINATION}/current"
    entries: dict[str, tuple[int, bytes]] = {
        "VERSION": (0o644, f"{version}\n".encode()),
        "bin/gateway": (0o755, service.program(version, silent=silent).encode()),
        "bin/activate": (0o755, ACTIVATE.encode()),
        "etc/gateway.conf": (0o640, service.settings(version, PORT).encode()),
        f"share/{UNIT}": (0o644, service.unit(f"{current}/bin/gateway", f"{current}/etc/gateway.conf").encode()),
    }
    if padding:
        entries["share/padding"] = (0o644, noise(version, padding))
    for path, content in (extra or {}).items():
        entries[path] = (0o644, content)
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / f"gateway-{version}.tar.gz"
    directories = sorted({str(parent) for path in entries for parent in Path(path).parents} - {"."})
    with (
        result.open("wb") as raw,
        gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for directory in directories:
            archive.addfile(_member(directory, 0o755, tarfile.DIRTYPE))
        for path, (mode, content) in sorted(entries.items()):
            member = _member(path, mode, tarfile.REGTYPE)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = _member("bin/start", 0o777, tarfile.SYMTYPE)
        link.linkname = "gateway"
        archive.addfile(link)
    return result


def noise(seed: str, length: int) -> bytes:
    """The same incompressible bytes for the same seed."""
    return random.Random(seed).randbytes(length)


def _member(path: str, mode: int, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.mode, member.type, member.mtime = mode, kind, 1_700_000_000
    return member
