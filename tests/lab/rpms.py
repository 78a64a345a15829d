# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real rpm packages for tests: the service `meter` of `debs`, built by rpmbuild, and `meter-codec`.

Devices of the lab run Debian with Debian's rpm and an empty rpm database; `base` is the package that stands for the
distribution there, so that packages find the shell and interpreter they need.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import debs, host, packages, service
from .device import Device

POST = """\
mkdir -p {state}
echo {version} >>{state}/installed
{fail}if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl enable --quiet {unit}
    systemctl restart {unit}
fi
"""
PREUN = """\
if [ "$1" = 0 ] && [ -d /run/systemd/system ]; then systemctl disable --quiet --now {unit}; fi
"""


@dataclass(frozen=True)
class Meter:
    """One version of the package; see `debs.Meter`. `obsoletes` is a package that it takes the place of."""

    version: str
    needs_codec: bool = False
    silent: bool = False
    post_fails: bool = False
    table: bool = True
    obsoletes: str = ""


VERSIONS: Mapping[str, Meter] = {
    "1": Meter("1"),
    "2": Meter("2", needs_codec=True),
    "3-silent": Meter("3", needs_codec=True, silent=True, table=False),
    "4-post-fails": Meter("4", needs_codec=True, post_fails=True),
    "5-obsoletes": Meter("5", needs_codec=True, obsoletes="lab-old"),
    "6-needs-more": Meter("6", needs_codec=True),
}


def release(name: str, folder: Path) -> list[Path]:
    """Build what a release with version `name` (a key of `VERSIONS`) carries: the package and its new dependency."""
    meter = VERSIONS[name]
    found = [build(meter, folder)]
    if meter.needs_codec and name != "6-needs-more":
        module = '"""A codec of the lab."""\n\nNAME = "codec 1"\n'
        path = "/usr/lib/python3/dist-packages/meter_codec.py"
        found.append(package("meter-codec", "1", {path: (0o644, module)}, folder))
    return found


def build(meter: Meter, folder: Path) -> Path:
    """Build a version of `meter`; returns the .rpm."""
    files = {
        debs.PROGRAM: (0o755, service.program(meter.version, silent=meter.silent, codec=meter.needs_codec)),
        debs.SETTINGS: (0o644, service.settings(meter.version)),
        f"/usr/lib/systemd/system/{debs.UNIT}": (0o644, service.unit(debs.PROGRAM, debs.SETTINGS)),
    }
    if meter.table:
        files[debs.EXTRA] = (0o640, f"table of version {meter.version}\n" * 100)
    fail = "exit 3\n" if meter.post_fails else ""
    scripts = {
        "post": POST.format(version=meter.version, unit=debs.UNIT, state=debs.STATE, fail=fail),
        "preun": PREUN.format(unit=debs.UNIT),
    }
    head = "Requires: meter-codec >= 1\n" if meter.needs_codec else ""
    head += f"Obsoletes: {meter.obsoletes}\n" if meter.obsoletes else ""
    return package("meter", meter.version, files, folder, head=head, scripts=scripts, owned=("/usr/lib/meter",))


def base(folder: Path) -> Path:
    """Build the package that stands for a distribution."""
    return package("lab-base", "1", {}, folder, head="Provides: /bin/sh\nProvides: python3\n")


def package(
    name: str,
    version: str,
    files: Mapping[str, tuple[int, str]],
    folder: Path,
    *,
    head: str = "",
    scripts: Mapping[str, str] | None = None,
    owned: tuple[str, ...] = (),
) -> Path:
    """Build any package for all architectures.

    :param files: absolute path on the device -> (mode, text); those below /etc are configuration that edits survive
    :param head: further lines of the preamble
    :param scripts: `post`, `preun` ... -> shell text
    :param owned: directories that belong to the package
    :returns: ``FOLDER/NAME-VERSION-1.noarch.rpm``
    :raises LabError: when rpmbuild fails
    """
    folder.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="fleet-ota-lab-rpm-"))
    try:
        listed = [f"%dir {path}" for path in owned]
        for path, (mode, text) in files.items():
            target = work / "tree" / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            kind = "%config(noreplace) " if path.startswith("/etc/") else ""
            listed.append(f"%attr({mode:o},root,root) {kind}{path}")
        parts = [f"%{key}\n{text}" for key, text in (scripts or {}).items()]
        text = f"Name: {name}\nVersion: {version}\nRelease: 1\nSummary: package of the lab\nLicense: none\n"
        text += f"BuildArch: noarch\nAutoReqProv: no\n{head}%description\n-\n%install\nmkdir -p %{{buildroot}}\n"
        text += f"[ ! -d {work}/tree ] || cp -a {work}/tree/. %{{buildroot}}/\n"
        text += "".join(part if part.endswith("\n") else part + "\n" for part in parts)
        text += "%files\n" + "".join(f"{line}\n" for line in listed)
        spec = work / "package.spec"
        spec.write_text(text)
        defines = {
            "_topdir": f"{work}/top",
            "_rpmdir": f"{work}/out",
            "__python": "/bin/true",
            "_build_id_links": "none",
        }
        arguments = [word for key, value in defines.items() for word in ("--define", f"{key} {value}")]
        host.run(["rpmbuild", "-bb", *arguments, str(spec)])
        (built,) = (work / "out").rglob("*.rpm")
        return Path(shutil.copy(built, folder))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def make_rpm_device(device: Device, folder: Path) -> None:
    """Give a device rpm, and a database with the package that stands for its distribution."""
    packages.offer(device, ["rpm"])
    device.run(["apt-get", "install", "-q", "-y", "--no-install-recommends", "rpm"])
    for path in (base(folder), package("lab-old", "1", {}, folder)):
        (device.root / "srv" / path.name).write_bytes(path.read_bytes())
        device.run(["rpm", "--install", "--force-debian", f"/srv/{path.name}"])
