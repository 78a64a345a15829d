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
from pathlib import Path

from . import debs, host, packages
from .device import Device

PREUN = """\
if [ "$1" = 0 ] && [ -d /run/systemd/system ]; then systemctl disable --quiet --now {unit}; fi
"""


#: Versions of the package; what is different in each is told by `debs.Meter`.
VERSIONS: Mapping[str, debs.Meter] = {
    "1": debs.Meter("1"),
    "2": debs.Meter("2", needs_codec=True),
    "3-silent": debs.Meter("3", needs_codec=True, silent=True, table=False),
    "4-post-fails": debs.Meter("4", needs_codec=True, postinst_fails=True),
    "5-obsoletes": debs.Meter("5", needs_codec=True),
    "6-needs-more": debs.Meter("6", needs_codec=True),
}
#: Which of them takes the place of another package.
OBSOLETES = {"5": "lab-old"}


def release(name: str, folder: Path) -> list[Path]:
    """Build what a release with version `name` (a key of `VERSIONS`) carries: the package and its new dependency."""
    meter = VERSIONS[name]
    found = [build(meter, folder)]
    if meter.needs_codec and name != "6-needs-more":
        found.append(package("meter-codec", "1", debs.codec(), folder))
    return found


def build(meter: debs.Meter, folder: Path) -> Path:
    """Build a version of `meter`; returns the .rpm."""
    scripts = {"post": debs.setup(meter), "preun": PREUN.format(unit=debs.UNIT)}
    head = "Requires: meter-codec >= 1\n" if meter.needs_codec else ""
    head += f"Obsoletes: {OBSOLETES[meter.version]}\n" if meter.version in OBSOLETES else ""
    files = debs.content(meter, "/usr/lib")
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
