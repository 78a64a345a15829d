# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Debian packages for tests: a service `meter` in several versions, and `meter-codec`, which newer ones need.

Built with dpkg-deb, the same bytes for the same arguments. ``python -m tests.lab.debs FOLDER`` writes all of them.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import host, service

EPOCH = "1700000000"  # time stamp in the packages, seconds

SETTINGS = "/etc/meter/meter.conf"
PROGRAM = "/usr/lib/meter/meter"
UNIT = "meter.service"
EXTRA = "/usr/share/meter/table.dat"  # shipped by versions with `table`
USER = "meterd"  # made by versions with `user`
STATE = "/var/lib/meter"  # made by postinst, belongs to no package

#: What every format's script does once the files are there; ``fail`` may end it early.
SETUP = """\
mkdir -p {state}
echo {version} >>{state}/installed
{fail}if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl enable --quiet {unit}
    systemctl restart {unit}
fi
"""

POSTINST = """\
#!/bin/sh
set -e
if [ "$1" = configure ]; then
{user}{setup}fi
"""

PRERM = """\
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl disable --quiet --now {unit}
fi
"""


@dataclass(frozen=True)
class Meter:
    """One version of the package `meter`.

    `needs_codec`: depends on `meter-codec`, a package older versions did not need. `silent`: its service runs without
    answering. `postinst_fails`: dpkg is left with a half-configured package. `table`: ships `EXTRA`, so a version
    without it removes that file. `adds_user`: postinst makes the system user `USER` and gives it `STATE`.
    """

    version: str
    needs_codec: bool = False
    silent: bool = False
    postinst_fails: bool = False
    table: bool = True
    adds_user: bool = False


VERSIONS: Mapping[str, Meter] = {
    "1": Meter("1"),
    "2": Meter("2", needs_codec=True),
    "3-silent": Meter("3", needs_codec=True, silent=True),
    "4-postinst-fails": Meter("4", needs_codec=True, postinst_fails=True),
    "5-user-and-removal": Meter("5", needs_codec=True, silent=True, table=False, adds_user=True),
}


def setup(meter: Meter, say: str = "") -> str:
    """`SETUP` of a version; one that fails runs `say` before."""
    fail = f"{say}exit 3\n" if meter.postinst_fails else ""
    return SETUP.format(version=meter.version, unit=UNIT, state=STATE, fail=fail)


def content(meter: Meter, units: str) -> dict[str, tuple[int, str]]:
    """The files of a version, in whatever format: absolute path -> (mode, text).

    :param units: the folder above ``systemd/system``
    """
    files = {
        PROGRAM: (0o755, service.program(meter.version, silent=meter.silent, codec=meter.needs_codec)),
        SETTINGS: (0o644, service.settings(meter.version)),
        f"{units}/systemd/system/{UNIT}": (0o644, service.unit(PROGRAM, SETTINGS)),
    }
    if meter.table:
        files[EXTRA] = (0o640, f"table of version {meter.version}\n" * 100)
    return files


def codec(version: str = "1") -> dict[str, tuple[int, str]]:
    """The files of `meter-codec`: one Python module for Debian's interpreter."""
    module = f'"""A codec of the lab."""\n\nNAME = "codec {version}"\n'
    return {"/usr/lib/python3/dist-packages/meter_codec.py": (0o644, module)}


def build(meter: Meter, folder: Path) -> Path:
    """Build a version of `meter`; returns the .deb.

    :param folder: where to put it
    :raises LabError: when dpkg-deb fails
    """
    user = ""
    if meter.adds_user:
        user = (
            f"getent passwd {USER} >/dev/null || useradd --system --home-dir {STATE} --shell /usr/sbin/nologin {USER}\n"
        )
        user += f"mkdir -p {STATE}\nchown {USER}: {STATE}\n"
    postinst = POSTINST.format(user=user, setup=setup(meter, 'echo "meter: this version cannot be configured" >&2\n'))
    files = {**content(meter, "/lib"), "/usr/share/doc/meter/VERSION": (0o644, f"{meter.version}\n")}
    depends = "python3" + (", meter-codec (>= 1)" if meter.needs_codec else "")
    scripts = {"postinst": postinst, "prerm": PRERM.format(unit=UNIT), "conffiles": f"{SETTINGS}\n"}
    return package("meter", meter.version, depends, files, scripts, folder)


def build_codec(folder: Path, version: str = "1") -> Path:
    """Build `meter-codec`: one Python module for Debian's interpreter."""
    return package("meter-codec", version, "python3", codec(version), {}, folder)


def release(name: str, folder: Path) -> list[Path]:
    """Build what a release with version `name` (a key of `VERSIONS`) carries: the package and its new dependencies."""
    meter = VERSIONS[name]
    folder.mkdir(parents=True, exist_ok=True)
    return [*([build_codec(folder)] if meter.needs_codec else []), build(meter, folder)]


def package(
    name: str,
    version: str,
    depends: str,
    files: Mapping[str, tuple[int, str | bytes]],
    control: Mapping[str, str],
    folder: Path,
) -> Path:
    """Build any package for all architectures.

    :param files: absolute path on the device -> (mode, text or bytes)
    :param control: further control files (`postinst`, `conffiles`, ...) -> text
    :returns: ``FOLDER/NAME_VERSION_all.deb``
    :raises LabError: when dpkg-deb fails
    """
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / f"{name}_{version}_all.deb"
    work = Path(tempfile.mkdtemp(prefix="fleet-ota-lab-deb-"))
    try:
        for path, (mode, text) in files.items():
            target = work / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text if isinstance(text, bytes) else text.encode())
            target.chmod(mode)
        debian = work / "DEBIAN"
        debian.mkdir()
        size = sum(len(text) for _mode, text in files.values()) // 1024 + 1
        head = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: The lab <lab@example.invalid>\n"
        text = f"{head}Installed-Size: {size}\nDepends: {depends}\nSection: misc\nPriority: optional\n"
        (debian / "control").write_text(f"{text}Description: package of the fleet.ota lab\n")
        for file_name, content in control.items():
            (debian / file_name).write_text(content)
            (debian / file_name).chmod(0o644 if file_name == "conffiles" else 0o755)
        for directory in [work, *(path for path in work.rglob("*") if path.is_dir())]:
            directory.chmod(0o755)
        arguments = ["--root-owner-group", "-Zgzip", "-b", str(work), str(result)]
        host.run(["env", f"SOURCE_DATE_EPOCH={os.environ.get('SOURCE_DATE_EPOCH', EPOCH)}", "dpkg-deb", *arguments])
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return result


def main() -> None:
    """Write all packages, each release into a folder of its own."""
    for name in VERSIONS:
        for path in release(name, Path(sys.argv[1]) / name):
            print(path)


if __name__ == "__main__":
    main()
