# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Payload type ``deb``: local .deb files with their dependency closure, by apt and dpkg, without network.

apt resolves against the installed packages and the given files only. What these packages touch, the package
database and ``/etc`` are the snapshot's scope, so that going back brings back packages, files and configuration.
"""

from __future__ import annotations

import os
import pathlib
import re
import typing as t

from .. import command, debfile, schema, units
from ..errors import OtaError
from . import Base, Scope

REQUIRED = ()
SIGNED_REQUIRED = ()
RULES: dict[str, schema.Rule] = {}
SIGNED_RULES: dict[str, schema.Rule] = {}
_PACKAGE = re.compile(r"^[a-z0-9][a-z0-9+.-]{1,127}$")
FILE_RULES: dict[str, schema.Rule] = {
    "package": schema.matching(_PACKAGE),
    "version": schema.matching(re.compile(r"^[A-Za-z0-9][A-Za-z0-9.+:~-]*$")),
    "architecture": schema.matching(re.compile(r"^[a-z0-9-]+$")),
    "installed_size": schema.whole(0),
}

#: Where package tools keep state: all of it belongs to "exactly what it was".
STATE_TREES = (
    "/etc",
    "/var/lib/dpkg",
    "/var/lib/systemd/deb-systemd-helper-enabled",
    "/var/lib/systemd/deb-systemd-helper-masked",
    "/var/lib/systemd/deb-systemd-user-helper-enabled",
    "/var/lib/ucf",
    "/var/lib/pam",
    "/var/cache/debconf",
)
STATE_PATHS = ("/var/lib/apt/extended_states",)
#: Below these a directory that belongs to the packages alone is code and goes back whole; elsewhere it may hold data.
_CODE = ("/usr/", "/opt/", "/lib/")
_SHARED_DEPTH = 3
_APT = (
    "-o=APT::Sandbox::User=root",
    "-o=Dir::Etc::SourceList=/dev/null",
    "-o=Dir::Etc::SourceParts=/dev/null",
    "-o=Dir::Cache::pkgcache=",
    "-o=Dir::Cache::srcpkgcache=",
    "-o=DPkg::Lock::Timeout=60",
    "-o=Dpkg::Use-Pty=0",
    "-o=Dpkg::Options::=--force-confdef",
    "-o=Dpkg::Options::=--force-confold",
    "-o=APT::Install-Recommends=false",
)
_ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "UCF_FORCE_CONFFOLD": "1", "NEEDRESTART_MODE": "a"}
_INFO = "/var/lib/dpkg/info"


def describe(payload: dict[str, t.Any], files: list[pathlib.Path]) -> tuple[dict[str, t.Any], list[dict[str, t.Any]]]:
    """Name, version, architecture and size of each package, from its control file."""
    additions: list[dict[str, t.Any]] = []
    for path in files:
        found = debfile.control(path)
        try:
            addition = {"package": found["Package"], "version": found["Version"], "architecture": found["Architecture"]}
        except KeyError as error:
            raise ValueError("%s has no %s in its control file" % (path.name, error)) from None
        if any(addition["package"] == other["package"] for other in additions):
            raise ValueError("package %s is there twice; keep one version" % addition["package"])
        additions.append(dict(addition, installed_size=int(found.get("Installed-Size", "0")) * 1024))
    return {}, additions


class Installer(Base):
    """Packages on a device."""

    def check(self) -> None:
        """Refuse what apt could not install from these files alone, before anything is touched."""
        if not self.layout.is_real:
            raise OtaError("UNSUPPORTED", "packages need a whole machine; a device that is a directory takes archives")
        for program in ("dpkg", "dpkg-deb", "apt-get"):
            if command.which(program) is None:
                raise OtaError("UNSUPPORTED", "this device has no %s; payload type deb needs a Debian system" % program)
        foreign = command.run(["dpkg", "--print-foreign-architectures"]).out.split()
        known = {"all", command.run(["dpkg", "--print-architecture"]).out.strip(), *foreign}
        for entry in self.payload["files"]:
            if entry["architecture"] not in known:
                text = "package %s is for %s, this device is %s"
                raise OtaError(
                    "INCOMPATIBLE", text % (entry["package"], entry["architecture"], ", ".join(sorted(known)))
                )
        audit = command.run(["dpkg", "--audit"])
        if audit.rc != 0 or audit.out.strip():
            message = "the package database is not consistent; run 'dpkg --configure -a' there first: %s" % audit.tail
            raise OtaError("REQUIREMENT", message)
        self._simulate()

    def _simulate(self) -> None:
        result = self._apt("--simulate")
        if result.rc != 0:
            message = "apt cannot install these packages without others; add their dependencies to the release: %s"
            raise OtaError("REQUIREMENT", message % result.tail)
        known = {entry["package"] for entry in self.payload["files"]}
        named = re.findall(r"^Inst (\S+)", result.out, re.M)
        others = sorted(name for name in named if name.split(":")[0] not in known)
        if others:
            raise OtaError("REQUIREMENT", "apt would install %s, which the release does not hold" % ", ".join(others))

    def scope(self) -> Scope:
        """Files of the old and the new packages, their directories, the package database and ``/etc``."""
        paths: dict[str, bool] = {}
        for entry in self.payload["files"]:
            paths.update(debfile.contents(self._path(entry)))
        installed = self._installed_lists()
        for names in installed.values():
            for name in names:
                paths[name] = paths.get(name, False)
        private = self._private(paths, set(installed))
        singles = {name for name in paths if not any(name.startswith(tree + "/") for tree in private)} - private
        return Scope(frozenset(singles | set(STATE_PATHS)), frozenset(private | set(STATE_TREES)))

    def _private(self, paths: t.Mapping[str, bool], lists: set[str]) -> set[str]:
        """Directories of code that no other package has a part in: their whole content comes and goes with these."""
        wanted = {
            name
            for name, directory in paths.items()
            if name.startswith(_CODE)
            and name.count("/") >= _SHARED_DEPTH
            and (directory or os.path.isdir(name))
            and not os.path.islink(name)
        }
        for file_name in os.listdir(_INFO):
            if not wanted:
                break
            if file_name.endswith(".list") and file_name not in lists:
                with open(os.path.join(_INFO, file_name), encoding="utf-8", errors="surrogateescape") as handle:
                    wanted.difference_update(handle.read().splitlines())
        return {name for name in wanted if not any(name.startswith(other + "/") for other in wanted)}

    def _installed_lists(self) -> dict[str, list[str]]:
        """``{list file: paths}`` of the packages of this payload that are installed now."""
        result = {}
        for entry in self.payload["files"]:
            for name in (entry["package"], "%s:%s" % (entry["package"], entry["architecture"])):
                try:
                    with open("%s/%s.list" % (_INFO, name), encoding="utf-8", errors="surrogateescape") as handle:
                        result[name + ".list"] = [line for line in handle.read().splitlines() if line not in ("/.", "")]
                except FileNotFoundError:
                    continue
        return result

    def space(self) -> int:
        """Installed sizes, once more for the backups dpkg keeps while it unpacks."""
        return 2 * sum(int(entry["installed_size"]) for entry in self.payload["files"])

    def observe(self) -> t.Any:
        """``{package: version}`` of this payload's packages, None where it is not installed."""
        names = [entry["package"] for entry in self.payload["files"]]
        found: dict[str, str | None] = dict.fromkeys(names)
        result = command.run(
            ["dpkg-query", "--show", "--showformat=${Package} ${Version} ${db:Status-Abbrev}\\n", *names]
        )
        for line in result.out.splitlines():
            parts = line.split()
            if len(parts) == 3 and parts[2].startswith("ii"):
                found[parts[0]] = parts[1]
        return found

    def wanted(self) -> t.Any:
        """``{package: version}`` of the release."""
        return {entry["package"]: entry["version"] for entry in self.payload["files"]}

    def install(self) -> None:
        """One apt run for all packages; maintainer scripts run without questions, edited conffiles stay."""
        result = self._apt("--yes", "--allow-downgrades", "--allow-change-held-packages", timeout=None)
        self.log(result.out)
        if result.rc != 0:
            raise OtaError("INSTALL", "apt failed with %d: %s" % (result.rc, result.tail))
        wrong = [name for name, version in self.wanted().items() if self.observe()[name] != version]
        if wrong:
            raise OtaError("INSTALL", "apt ended well but %s is not installed as signed" % ", ".join(wrong))
        self.activate()

    def activate(self) -> None:
        """Restart the units that the release names (packages restart their own)."""
        units.restart(self.payload.get("units", []))

    def units(self) -> list[str]:
        """The named units and every unit that an old or a new package brings."""
        names = set(self.payload.get("units", []))
        paths = [path for entry in self.payload["files"] for path, _directory in debfile.contents(self._path(entry))]
        paths.extend(path for found in self._installed_lists().values() for path in found)
        for path in paths:
            folder, name = os.path.split(path)
            if folder.endswith("/systemd/system") and re.match(r"^[^@]+\.(service|socket|timer|path)$", name):
                names.add(name)
        return sorted(names)

    def _path(self, entry: dict[str, t.Any]) -> str:
        return self.files[entry["sha256"]]

    def _apt(self, *options: str, timeout: float | None = 300) -> command.Result:
        folder = os.path.join(os.path.dirname(self._path(self.payload["files"][0])), "deb")
        empty = os.path.join(folder, "lists", "partial")
        os.makedirs(empty, exist_ok=True)
        files = []
        for entry in self.payload["files"]:  # apt wants the ending
            link = os.path.join(folder, "%s.deb" % entry["sha256"])
            if not os.path.exists(link):
                os.link(self._path(entry), link)
            files.append(link)
        argv = ["apt-get", "install", *options, *_APT, "-o=Dir::State::Lists=%s" % os.path.dirname(empty)]
        return command.run([*argv, "--no-remove", *files], timeout=timeout, environment=_ENVIRONMENT)
