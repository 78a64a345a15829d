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

import functools
import os
import pathlib
import re
import typing as t

from ...base import schema
from ...base.errors import OtaError
from ...system import command, mounts
from ...system.mounts import within
from ...system.overlay import REHEARSAL_TIMEOUT, Step
from ..snapshots import Form, Terms
from . import Description, Payload, Scope, _debfile, _locks, _packages

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
STATE_PATHS = ()
#: dpkg's lock of frontends, and its own.
LOCKS = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock")
_DEBCONF = "/var/cache/debconf/%s.dat"
_BY_PACKAGE = Form("stanzas", ("Package", "Architecture"))
#: Files of which the records of other packages, and of other people, stay as they are.
FORMS: dict[str, Form] = {
    "/var/lib/dpkg/status": _BY_PACKAGE._replace(pending="/var/lib/dpkg/updates"),
    "/var/lib/apt/extended_states": _BY_PACKAGE,
    "/var/lib/dpkg/diversions": Form("groups", size=3),
    "/var/lib/dpkg/statoverride": Form("lines", (-1,)),
    "/var/lib/dpkg/triggers/File": Form("lines"),
    "/var/lib/ucf/hashfile": Form("lines", (-1,)),
    "/var/lib/ucf/registry": Form("lines", (-1,)),
    "/etc/shells": Form("lines"),
    **{_DEBCONF % name: Form("stanzas", ("Name",)) for name in ("config", "passwords", "templates")},
    **{"/etc/" + name: Form("accounts") for name in ("passwd", "group", "shadow", "gshadow")},
    **{"/etc/" + name: Form("lines") for name in ("subuid", "subgid")},  # an account may have several ranges
}
#: Locks, and what the tools write whenever they run.
VOLATILE = (*LOCKS, "/var/lib/dpkg/triggers/Lock", "/var/cache/apt/archives/lock", "/etc/.pwd.lock")
#: What an interrupted dpkg leaves beside the files of packages.
_LEFTOVERS = (".dpkg-new", ".dpkg-tmp")
_MEND = "dpkg --configure -a"
_APT = (
    "-o=APT::Sandbox::User=root",
    "-o=Dir::Etc::SourceList=/dev/null",
    "-o=Dir::Etc::SourceParts=/dev/null",
    "-o=Dir::Cache::pkgcache=",
    "-o=Dir::Cache::srcpkgcache=",
    "-o=Debug::NoLocking=true",  # the locks are held by us
    "-o=Dpkg::Use-Pty=0",
    "-o=Dpkg::Options::=--force-confdef",
    "-o=Dpkg::Options::=--force-confold",
    "-o=APT::Install-Recommends=false",
)
_PUT = ("--yes", "--allow-downgrades", "--allow-change-held-packages")
_ENVIRONMENT = {
    "DPKG_FRONTEND_LOCKED": "true",
    "DEBIAN_FRONTEND": "noninteractive",
    "UCF_FORCE_CONFFOLD": "1",
    "NEEDRESTART_MODE": "a",
}
_INFO = "/var/lib/dpkg/info"


def describe(payload: Payload, files: list[pathlib.Path]) -> Description:
    """Name, version, architecture and size of each package, from its control file."""
    return _packages.describe(_read, files, _coinstallable)


def _coinstallable(one: pathlib.Path, other: pathlib.Path) -> str | None:
    """Two architectures of a package go together if it says so, and in one version (Debian's Multi-Arch)."""
    first, second = _debfile.control(one), _debfile.control(other)
    if first["Architecture"] == second["Architecture"] or first["Version"] != second["Version"]:
        return "keep one version"
    if {first.get("Multi-Arch"), second.get("Multi-Arch")} != {"same"}:
        return "its architectures %s and %s cannot be installed side by side (Multi-Arch: same is missing)" % (
            first["Architecture"],
            second["Architecture"],
        )
    return None


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
    #: Packages of other names that these replace, as :meth:`simulate` has it.
    replaced: frozenset[str] = frozenset()

    def architectures(self) -> set[str]:
        """This machine's, the foreign ones it was told of, and ``all``."""
        foreign = command.run(["dpkg", "--print-foreign-architectures"]).out.split()
        return {"all", command.run(["dpkg", "--print-architecture"]).out.strip(), *foreign}

    def locks(self) -> tuple[str, ...]:
        """Of apt and its like, and of dpkg. dpkg takes the second one itself: :meth:`put` gives it up for that."""
        return LOCKS

    def is_generated(self, path: str) -> bool:
        """Caches, what lies where packages have an interest in files (deb-triggers(5)), and the images of kernels."""
        if path.startswith(("/var/cache/", "/boot/initrd", "/etc/ld.so.cache")):
            return True
        return any(within(path, folder) for folder in _interests())

    def foreign(self, paths: t.Sequence[str], packages: t.Collection[str]) -> set[str]:
        """From dpkg's lists."""
        left, others = set(paths) if packages else set(), set()
        for file_name in os.listdir(_INFO) if left else []:
            name, ending = os.path.splitext(file_name)
            if ending == ".list" and name.split(":")[0] in packages:
                with open(os.path.join(_INFO, file_name), encoding="utf-8", errors="surrogateescape") as handle:
                    others.update(left.intersection(handle.read().splitlines()))
        return others

    def regenerate(self, paths: t.Sequence[str]) -> None:
        """Trigger those packages that have an interest in ``paths``, as dpkg itself would."""
        folders = sorted({folder for folder in _interests() for path in paths if within(path, folder)})
        for folder in folders:
            command.run(["dpkg-trigger", "--by-package=dpkg", "--no-await", folder])
        if "/etc/ld.so.cache" in paths:
            command.run(["ldconfig"], timeout=300)
        if any(path.startswith("/boot/initrd") for path in paths):
            command.run(["dpkg-trigger", "--by-package=dpkg", "--no-await", "update-initramfs"])
        _locks.release(LOCKS[1:])
        result = command.run(["dpkg", "--triggers-only", "--pending"], timeout=900, environment=_ENVIRONMENT)
        self.log("made anew: %s\n%s" % (", ".join(paths), result.tail))

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

    def require_installable(self) -> None:
        """Also that scripts of packages can run: none does where ``/var`` is ``noexec`` and apt does not remount it."""
        super().require_installable()
        mount = mounts.of(_INFO)
        if "noexec" not in mount.options or "remount" in command.run(["apt-config", "dump"]).out:
            return
        old = ("%s/%s.%s" % (_INFO, name, script) for name in self.installed() for script in _debfile.SCRIPTS)
        if any(map(os.path.exists, old)) or any(_debfile.has_scripts(self.path(entry)) for entry in self.packages):
            message = (
                "%s is mounted noexec, so the scripts of these packages cannot run; mount it without, or have apt "
            )
            raise OtaError("REQUIREMENT", (message + "remount it (DPkg::Pre-Invoke)") % mount.point)

    def simulate(self) -> command.Result:
        """Let apt plan it; packages that these declare to replace may go, and no others."""
        self.replaced = frozenset()
        simulated = self._plan()
        if simulated.rc == 0 or "REMOVED" not in simulated.out:
            return simulated
        self.replaced = declared = frozenset().union(*(_debfile.replaced(self.path(one)) for one in self.packages))
        freely = self._plan()
        self.replaced = frozenset(name.split(":")[0] for name in re.findall(r"^Remv (\S+)", freely.out, re.M))
        if freely.rc == 0 and self.replaced <= declared:
            return freely
        self.replaced = frozenset()
        return simulated

    def _plan(self) -> command.Result:
        return command.run(self._call("--simulate"), timeout=300, environment=_ENVIRONMENT)

    def intrusion(self, simulated: command.Result) -> str | None:
        """What apt's plan names besides."""
        gone = re.search(r"will be REMOVED:\n((?: .*\n?)+)", simulated.out) if simulated.rc != 0 else None
        if gone:
            message = "apt would remove %s, which no package of the release replaces (fields Replaces and Conflicts)"
            return message % ", ".join(gone.group(1).split())
        listed = {entry["package"] for entry in self.packages}
        named = re.findall(r"^Inst (\S+)", simulated.out, re.M)
        others = sorted(name for name in named if name.split(":")[0] not in listed)
        return "apt would install %s, which the release does not hold" % ", ".join(others) if others else None

    def contents(self, path: str) -> t.Iterable[tuple[str, bool]]:
        """By dpkg-deb."""
        return _debfile.contents(path)

    def common_files(self) -> t.Collection[str]:
        """The package database, the accounts, and what helpers remember."""
        return FORMS

    def state(self) -> Scope:
        """The package database and what its helpers remember; without a rehearsal all of ``/etc`` as well."""
        terms = Terms(endings=_LEFTOVERS, forms=FORMS)
        return Scope(frozenset(STATE_PATHS), frozenset(STATE_TREES), frozenset(VOLATILE), terms)

    def installed(self) -> dict[str, list[str]]:
        """From dpkg's own lists, named ``PACKAGE`` or ``PACKAGE:ARCHITECTURE``."""
        result = {}
        listed = [(entry["package"], entry["architecture"]) for entry in self.packages]
        native = command.run(["dpkg", "--print-architecture"]).out.strip() if self.replaced else ""
        for package, architecture in (*listed, *((name, native) for name in self.replaced)):
            for name in (package, "%s:%s" % (package, architecture)):
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
        """By dpkg-query; a package that became independent of the architecture, or was, counts in either."""
        names = [entry["package"] for entry in self.packages]
        shown = "--showformat=${Package}\\t${Architecture}\\t${Version}\\t${db:Status-Abbrev}\\n"
        lines = command.run(["dpkg-query", "--show", shown, *names]).out.splitlines()
        found: dict[str, dict[str, str]] = {}
        for package, architecture, version, status in (line.split("\t") for line in lines if line.count("\t") == 3):
            if status[1:2] == "i":  # wholly installed, whether it is held or not
                found.setdefault(package, {})[architecture] = version
        versions = {}
        for entry in self.packages:
            here = found.get(entry["package"], {})
            either = entry["architecture"] == "all" and min(here.values(), default=None)
            now = here.get(entry["architecture"]) or here.get("all") or either
            if now:
                versions[self.name(entry)] = now
        return versions

    def put(self) -> command.Result:
        """By apt, without network; what an administrator holds at its version is held again afterwards.

        apt would take the frontend's lock, which is held here, and is told so; dpkg takes its own.
        """
        allowed = self.replaced
        if allowed:  # nothing held the database when that was planned
            planned = self.simulate()
            if planned.rc != 0 or not self.replaced <= allowed:
                return planned._replace(rc=planned.rc or 100)
        held = command.run(["dpkg-query", "--show", "--showformat=${db:Status-Want} ${binary:Package}\\n"]).out
        _locks.release(LOCKS[1:])
        result = self.run(self._call(*self._options), timeout=None, environment=_ENVIRONMENT)
        names = {entry["package"] for entry in self.packages}
        lines = (words for words in map(str.split, held.splitlines()) if words[:1] == ["hold"])
        again = [name for _hold, name in lines if name.split(":")[0] in names]
        if again:
            text = "".join("%s hold\n" % name for name in again)
            command.run(["dpkg", "--set-selections"], data=text.encode())
            self.log("still on hold: %s" % ", ".join(again))
        return result

    def rehearsal(self) -> list[Step]:
        """The same call of apt that :meth:`put` makes."""
        return [Step(self._call(*self._options), _ENVIRONMENT, REHEARSAL_TIMEOUT)]

    @functools.cached_property
    def _options(self) -> tuple[str, ...]:
        """For apt, which takes a package that is here in its version with other content for the newest already.
        Looked at once: from then on the locks are held."""
        versions = self.versions()
        is_rebuilt = any(
            versions.get(self.name(entry)) == entry["version"] and self._sums(entry) != _debfile.sums(self.path(entry))
            for entry in self.packages
        )
        return (*_PUT, "--reinstall") if is_rebuilt else _PUT

    @staticmethod
    def _sums(entry: _packages.Package) -> list[str]:
        for name in (entry["package"], "%s:%s" % (entry["package"], entry["architecture"])):
            try:
                with open("%s/%s.md5sums" % (_INFO, name), encoding="utf-8", errors="surrogateescape") as handle:
                    return sorted(handle.read().splitlines())
            except FileNotFoundError:
                continue
        return []

    def _call(self, *options: str) -> list[str]:
        files = self.linked("deb")
        lists = os.path.join(os.path.dirname(files[0]), "lists")
        os.makedirs(os.path.join(lists, "partial"), exist_ok=True)
        argv = ["apt-get", "install", *options, *_APT, "-o=Dir::State::Lists=%s" % lists]
        return [*argv, *([] if self.replaced else ["--no-remove"]), *files]


def _interests() -> set[str]:
    """The paths in whose files some package has an interest."""
    try:
        with open("/var/lib/dpkg/triggers/File", encoding="utf-8", errors="surrogateescape") as handle:
            return {line.rpartition(" ")[0] for line in handle.read().splitlines() if line.startswith("/")}
    except OSError:
        return set()
