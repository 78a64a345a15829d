# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Reading .deb files: an ``ar`` of ``control.tar`` and ``data.tar`` (deb(5)).

On a device ``dpkg-deb`` reads them; on a controller that is not Debian the standard library does.
"""

from __future__ import annotations

import io
import pathlib
import subprocess
import tarfile
import typing as t

from ...system import command
from . import _tarfile

#: What a package may have run.
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")


def control(path: str | pathlib.Path) -> dict[str, str]:
    """The fields of the package's control file (folded lines joined); ValueError if it is not a package."""
    if command.which("dpkg-deb"):
        result = command.run(["dpkg-deb", "--field", str(path)])
        if result.rc != 0:
            raise ValueError("%s is not a Debian package: %s" % (path, result.tail))
        return fields(result.out)
    return fields(_control_member(pathlib.Path(path)))


def fields(text: str) -> dict[str, str]:
    """One paragraph of ``Name: value`` lines."""
    result: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line[:1] in (" ", "\t") and name:
            result[name] += "\n" + line.strip()
        elif ":" in line:
            name, _colon, value = line.partition(":")
            result[name] = value.strip()
    return result


def _control_member(path: pathlib.Path) -> str:
    for name, content in _ar(path):
        if name.startswith("control.tar"):
            if name.endswith(".zst"):
                raise ValueError("%s is compressed with zstd; install dpkg on the controller to read it" % path)
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                member = next(info for info in archive if info.name.lstrip("./") == "control")
                return t.cast("t.IO[bytes]", archive.extractfile(member)).read().decode()
    raise ValueError("%s is not a Debian package: it has no control file" % path)


def _ar(path: pathlib.Path) -> t.Iterator[tuple[str, bytes]]:
    """The small members of an ``ar`` file (data is not read)."""
    with path.open("rb") as handle:
        if handle.read(8) != b"!<arch>\n":
            raise ValueError("%s is not a Debian package" % path)
        while True:
            header = handle.read(60)
            if len(header) < 60:
                return
            name, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
            if name.startswith("data.tar"):
                return
            yield name, handle.read(size)
            handle.seek(size % 2, 1)


def contents(path: str) -> t.Iterator[tuple[str, bool]]:
    """Every path that the package brings, absolute, and whether it is a directory."""
    argv = ["dpkg-deb", "--fsys-tarfile", path]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env={"PATH": command.PATH}) as process:
        with tarfile.open(fileobj=process.stdout, mode="r|", encoding="utf-8") as archive:
            for info in _tarfile.walk(archive):
                name = "/" + info.name.lstrip("./")
                if name != "/":
                    yield name.rstrip("/"), info.isdir()


def replaced(path: str) -> set[str]:
    """The packages that this one declares to take the place of: both ``Replaces`` and ``Conflicts`` or ``Breaks``."""
    control_fields = control(path)
    names = {
        field: {word.split()[0].split(":")[0] for word in control_fields.get(field, "").split(",") if word.strip()}
        for field in ("Replaces", "Conflicts", "Breaks")
    }
    return names["Replaces"] & (names["Conflicts"] | names["Breaks"])


def has_scripts(path: str) -> bool:
    """Whether the package has anything to run when it is installed or removed."""
    return any(command.run(["dpkg-deb", "--info", path, name]).rc == 0 for name in SCRIPTS)


def sums(path: str) -> list[str]:
    """The lines of the package's ``md5sums``, sorted; none if it has no such file."""
    done = command.run(["dpkg-deb", "--info", path, "md5sums"])
    return sorted(done.out.splitlines()) if done.rc == 0 else []
