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

from ...base import schema
from ...system import command
from . import Description, Payload, Scope, _debfile, _lockholder, _packages

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
_MEND = "dpkg --configure -a"
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


def describe(payload: Payload, files: list[pathlib.Path]) -> Description:
    """Name, version, architecture and size of each package, from its control file."""
    return _packages.describe(_read, files)


def _read(path: pathlib.Path) -> _packages.Addition:
    fields = _debfile.control(path)
    try:
        return {
            "package": fields["Package"],
            "version": fields["Version"],
            "architecture": fields["Architecture"],
            "installed_size": int(fields.get("Installed-Size", "0")) * 1024,
        }
    except KeyError as error:
        raise ValueError("%s has no %s in its control file" % (path.name, error)) from None


class Installer(_packages.PackageInstaller):
    """Debian packages on a device."""

    TOOL = "apt"
    PROGRAMS = ("apt-get", "dpkg", "dpkg-deb")
    SYSTEM = "a Debian system"

    def architectures(self) -> set[str]:
        """This machine's, the foreign ones it was told of, and ``all``."""
        foreign = command.run(["dpkg", "--print-foreign-architectures"]).out.split()
        return {"all", command.run(["dpkg", "--print-architecture"]).out.strip(), *foreign}

    def locked(self) -> str | None:
        """Held by an apt (frontend) or by a bare dpkg."""
        return _lockholder.of("/var/lib/dpkg/lock-frontend") or _lockholder.of("/var/lib/dpkg/lock")

    def trouble(self) -> _packages.Trouble | None:
        """A dpkg that was interrupted left ``updates/``; the audit names packages that are not wholly there."""
        if [name for name in os.listdir("/var/lib/dpkg/updates") if name.isdigit()]:
            return _packages.Trouble("dpkg was interrupted", _MEND)
        audit = command.run(["dpkg", "--audit"])
        if audit.rc == 0 and not audit.out.strip():
            return None
        names = re.findall(r"^ (\S+)", audit.out, re.M)
        return _packages.Trouble("%s not wholly installed" % (", ".join(names[:5]) or audit.tail), _MEND)

    def mend(self) -> command.Result:
        """Configure what was only unpacked."""
        options = ["--force-confdef", "--force-confold"]
        return command.run(["dpkg", *options, *_MEND.split()[1:]], timeout=None, environment=_ENVIRONMENT)

    def simulate(self) -> command.Result:
        """Let apt plan it."""
        return self._apt("--simulate")

    def intrusion(self, simulated: command.Result) -> str | None:
        """What apt's plan names besides."""
        listed = {entry["package"] for entry in self.packages}
        named = re.findall(r"^Inst (\S+)", simulated.out, re.M)
        others = sorted(name for name in named if name.split(":")[0] not in listed)
        return "apt would install %s, which the release does not hold" % ", ".join(others) if others else None

    def contents(self, path: str) -> list[tuple[str, bool]]:
        """By dpkg-deb."""
        return _debfile.contents(path)

    def state(self) -> Scope:
        """``/etc``, the package database, and what its helpers remember."""
        return Scope(frozenset(STATE_PATHS), frozenset(STATE_TREES))

    def installed(self) -> dict[str, list[str]]:
        """From dpkg's own lists, named ``PACKAGE`` or ``PACKAGE:ARCHITECTURE``."""
        result = {}
        for entry in self.packages:
            for name in (entry["package"], "%s:%s" % (entry["package"], entry["architecture"])):
                try:
                    with open("%s/%s.list" % (_INFO, name), encoding="utf-8", errors="surrogateescape") as handle:
                        result[name] = [line for line in handle.read().splitlines() if line not in ("/.", "")]
                except FileNotFoundError:
                    continue
        return result

    def shared(self, directories: set[str], mine: t.Collection[str]) -> set[str]:
        """From the lists of all other packages."""
        left = set(directories)
        for file_name in os.listdir(_INFO):
            if not left:
                break
            name, ending = os.path.splitext(file_name)
            if ending == ".list" and name not in mine:
                with open(os.path.join(_INFO, file_name), encoding="utf-8", errors="surrogateescape") as handle:
                    left.difference_update(handle.read().splitlines())
        return directories - left

    def versions(self) -> dict[str, str]:
        """By dpkg-query."""
        names = [entry["package"] for entry in self.packages]
        shown = "--showformat=${Package} ${Version} ${db:Status-Abbrev}\\n"
        lines = command.run(["dpkg-query", "--show", shown, *names]).out.splitlines()
        return {
            parts[0]: parts[1]
            for parts in (line.split() for line in lines)
            if len(parts) == 3 and parts[2].startswith("ii")
        }

    def put(self) -> command.Result:
        """By apt, without network."""
        return self._apt("--yes", "--allow-downgrades", "--allow-change-held-packages", timeout=None)

    def _apt(self, *options: str, timeout: float | None = 300) -> command.Result:
        files = self.linked("deb")
        lists = os.path.join(os.path.dirname(files[0]), "lists")
        os.makedirs(os.path.join(lists, "partial"), exist_ok=True)
        argv = ["apt-get", "install", *options, *_APT, "-o=Dir::State::Lists=%s" % lists]
        return command.run([*argv, "--no-remove", *files], timeout=timeout, environment=_ENVIRONMENT)
