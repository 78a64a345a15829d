# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Payload type ``rpm``: local .rpm files with their dependency closure, by rpm itself, without network.

rpm and not a tool above it (dnf, microdnf, zypper): it is on every such system, takes files only, resolves against
the installed packages and these files alone, and goes up and down in version by the same call.
"""

from __future__ import annotations

import os
import pathlib
import re
import typing as t

from ...base import schema
from ...system import command
from ...system.overlay import REHEARSAL_TIMEOUT, Step
from .. import snapshots
from . import Description, Payload, Scope, _packages, _rpmdb, _rpmfile

REQUIRED = ()
SIGNED_REQUIRED = ()
RULES: dict[str, schema.Rule] = {}
SIGNED_RULES: dict[str, schema.Rule] = {}
FILE_RULES: dict[str, schema.Rule] = {
    "package": schema.matching(re.compile(r"^[A-Za-z0-9_][A-Za-z0-9+._-]{0,127}$")),
    "version": schema.matching(re.compile(r"^[A-Za-z0-9][A-Za-z0-9.+:~^_-]*$")),
    "architecture": schema.matching(re.compile(r"^[A-Za-z0-9_]+$")),
    "installed_size": schema.whole(0),
}

#: What package scripts keep besides their files; the database's place is asked of rpm.
STATE_TREES = ("/etc", "/var/lib/dnf", "/var/lib/alternatives", "/var/lib/authselect")
_VERSION = "%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}"
#: Seconds to wait for others who came by while rpm itself had the lock.
_AGAIN = 60.0
_MEND = "rpm --rebuilddb"
_SCRIPT_FAILED = re.compile(r"scriptlet failed")


def describe(payload: Payload, files: list[pathlib.Path]) -> Description:
    """Name, version, architecture and size of each package, from its header."""
    return _packages.describe(_read, files)


def _read(path: pathlib.Path) -> _packages.Addition:
    package = _rpmfile.read(path)
    return {
        "package": package.name,
        "version": package.version,
        "architecture": package.architecture,
        "installed_size": package.size,
    }


class Installer(_packages.PackageInstaller):
    """rpm packages on a device."""

    TOOL = "rpm"
    PROGRAMS = ("rpm",)
    SYSTEM = "a system of rpm packages"

    def architectures(self) -> set[str]:
        """What rpm calls compatible with this machine."""
        match = re.search(r"^compatible archs\s*:(.*)$", command.run(["rpm", "--showrc"]).out, re.M)
        return {"noarch", *(match.group(1).split() if match else ())}

    def locks(self) -> tuple[str, ...]:
        """The lock of the database; tools above rpm hold it too while they change something."""
        return (os.path.join(_rpmdb.place(), ".rpm.lock"),)

    def is_generated(self, path: str) -> bool:
        """Caches that file triggers make."""
        return path.startswith("/var/cache/") or path in ("/etc/ld.so.cache",)

    def rehearsal(self) -> list[Step]:
        """The same call of rpm that :meth:`put` makes."""
        return [Step(self._call(), {}, REHEARSAL_TIMEOUT)]

    def trouble(self) -> _packages.Trouble | None:
        """A database that cannot be read. (Two versions of a package, after an interrupted run, end with the next.)"""
        if not os.path.isdir(_rpmdb.place()):
            return None  # none yet: rpm makes one
        verified = command.run(["rpm", "--verifydb"], timeout=300)
        if verified.rc != 0:
            return _packages.Trouble("its database is damaged: %s" % verified.tail, _MEND)
        return None

    def mend(self) -> command.Result:
        """Rebuild the database's indexes from its packages."""
        return command.run(_MEND.split(), timeout=None)

    def simulate(self) -> command.Result:
        """Let rpm check it."""
        return self._rpm("--test")

    def intrusion(self, simulated: command.Result) -> str | None:
        """What these packages make obsolete and do not bring: rpm pushes that out without a word."""
        named = {entry["package"] for entry in self.packages}
        obsoletes = {name for entry in self.packages for name in _rpmfile.read(self.path(entry)).obsoletes}
        gone = sorted(_installed(sorted(obsoletes - named)))
        message = "rpm would remove %s, which the release makes obsolete but does not hold"
        return message % ", ".join(gone) if gone else None

    def contents(self, path: str) -> list[tuple[str, bool]]:
        """From the header."""
        return _rpmfile.read(path).files

    def state(self) -> Scope:
        """``/etc``, the package database, and what its helpers remember."""
        database = _rpmdb.place()
        volatile = frozenset(os.path.join(database, name) for name in _rpmdb.NOT_KEPT)
        files = (os.path.join(database, name) for name in (os.listdir(database) if os.path.isdir(database) else ()))
        return Scope(frozenset(files) - volatile, frozenset({database, *STATE_TREES}), volatile)

    def set_apart(self, snapshot: snapshots.Base) -> set[str]:
        """The database, if others have changed it since."""
        with self._before(snapshot) as before:
            others = before.others()
        if others:
            snapshot.apart = frozenset({*snapshot.apart, _rpmdb.place()})
        return others

    def put_back_apart(self, snapshot: snapshots.Base) -> None:
        """The records of these packages."""
        if _rpmdb.place() in snapshot.apart:
            with self._before(snapshot) as before:
                self.release()  # rpm takes its lock itself
                try:
                    before.put_back()
                finally:
                    self.hold(_AGAIN)

    def _before(self, snapshot: snapshots.Base) -> _rpmdb.Before:
        return _rpmdb.Before(snapshot, self.layout.file("rpmdb"))

    def foreign(self, paths: t.Sequence[str], packages: t.Collection[str]) -> set[str]:
        """From the database."""
        return _rpmdb.files_of(packages).intersection(paths)

    def installed(self) -> dict[str, list[str]]:
        """From the database."""
        paths: dict[str, list[str]] = {}
        for entry in self.packages:
            result = command.run(["rpm", "--query", "--qf", "[%{FILENAMES}\n]", entry["package"]])
            if result.rc == 0:
                paths[entry["package"]] = [line.rstrip("/") for line in result.out.splitlines() if line.strip("/")]
        return paths

    def shared(self, directories: set[str], mine: t.Collection[str]) -> set[str]:
        """From the files of all other packages, asked in one query."""
        lines = command.run(["rpm", "--query", "--all", "--qf", "[%{=NAME} %{FILENAMES}\n]"], timeout=300).out
        owned = (line.partition(" ") for line in lines.splitlines())
        return {path for name, _blank, path in owned if name not in mine} & directories

    def versions(self) -> dict[str, str]:
        """From the database; all of them where an interrupted run left several."""
        installed = _installed([entry["package"] for entry in self.packages])
        return {name: ", ".join(sorted(versions)) for name, versions in installed.items()}

    def put(self) -> command.Result:
        """By rpm; a script that failed once the files are there is an error here, where rpm only warns.

        rpm takes its lock itself, and cannot be told that it is held for it.
        """
        self.release()
        result = self._rpm()
        if result.rc == 0 and _SCRIPT_FAILED.search(result.err):
            return result._replace(rc=1)
        return result

    def _rpm(self, *options: str) -> command.Result:
        return self.run(self._call(*options), timeout=None)

    def _call(self, *options: str) -> list[str]:
        argv = ["rpm", "--upgrade", "--oldpackage", "--replacepkgs", *options]
        if os.path.exists("/etc/debian_version"):
            argv.append("--force-debian")  # Debian's rpm asks whether one means it
        return [*argv, *self.linked("rpm")]


def _installed(names: t.Sequence[str]) -> dict[str, set[str]]:
    """``{package: versions}`` of those of ``names`` that are installed."""
    versions: dict[str, set[str]] = {}
    if names:
        lines = command.run(["rpm", "--query", "--qf", "%%{NAME} %s\n" % _VERSION, *names]).out.splitlines()
        for name, _blank, version in (line.partition(" ") for line in lines):
            if name in names:
                versions.setdefault(name, set()).add(version)
    return versions
