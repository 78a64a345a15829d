# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What payloads of packages have in common, whatever their format: scope, space, order of steps, units.

What a format's own file adds: how its tools are asked, and where they keep their state.
"""

from __future__ import annotations

import functools
import os
import pathlib
import re
import typing as t

from ...base.errors import OtaError
from ...base.typed import TypedDict
from ...system import command, units
from ...system.files import tree
from ...system.overlay import Need
from . import Base, Description, File, Scope, _locks

#: Below these a directory that belongs to the packages alone is code and goes back whole; elsewhere it may hold data.
_CODE = ("/usr/", "/opt/", "/lib/")
_SHARED_DEPTH = 3
#: What package tools say when the disk is the reason; their exit code does not.
_FULL = re.compile("No space left on device|Disk quota exceeded")
#: What a rehearsal touches below these is no state that anybody would have back.
_NOT_KEPT = ("/var/log/", "/var/cache/apt/", "/var/lib/apt/lists/", "/var/tmp/", "/var/lib/fleet-ota/")  # noqa: S108
_UNIT_FOLDER = "/systemd/system"
_UNIT = re.compile(r"\.(service|socket|timer|path|target)$")
#: What deb-systemd-invoke says of units that a policy-rc.d(8) of the device keeps as they are.
_DENIED = re.compile(r"policy-rc\.d returned 101, not running '\S+ ([^']*)'")


class Addition(TypedDict):
    """What a package says of itself; ``installed_size`` in bytes."""

    package: str
    version: str
    architecture: str
    installed_size: int


class Package(File, Addition):
    """A package file of a signed document."""


class Trouble(t.NamedTuple):
    """What others left broken in the package database, for people, and the command that mends it."""

    reason: str
    command: str


def describe(
    read: t.Callable[[pathlib.Path], Addition],
    files: list[pathlib.Path],
    goes_with: t.Callable[[pathlib.Path, pathlib.Path], str | None] = lambda one, other: "keep one version",
) -> Description:
    """What ``describe`` of a payload type returns. ``goes_with`` says why two files of one package cannot both be
    installed; None if they can."""
    additions: list[Addition] = []
    for path, addition in zip(files, map(read, files)):
        for other_path, other in zip(files, additions):
            reason = goes_with(path, other_path) if addition["package"] == other["package"] else None
            if reason:
                raise ValueError("package %s is there twice; %s" % (addition["package"], reason))
        additions.append(addition)
    return {}, additions


class PackageInstaller(Base):
    """Packages on a device. ``files`` entries of the payload have ``package``, ``version`` and ``architecture``."""

    #: Who installs, for people.
    TOOL: t.ClassVar[str] = ""
    #: The programs that this format needs, first the one that installs.
    PROGRAMS: t.ClassVar[tuple[str, ...]] = ()
    #: The kind of system that has them, for people.
    SYSTEM: t.ClassVar[str] = ""
    #: Units that run and that packages were kept from restarting, once :meth:`install` has run.
    denied: t.Sequence[str] = ()

    # -- what a format implements ---------------------------------------------------------------------------------

    def architectures(self) -> set[str]:
        """The architectures whose packages can be installed here."""
        raise NotImplementedError

    def locks(self) -> tuple[str, ...]:
        """The lock files by which the package tools keep each other out."""
        raise NotImplementedError

    def trouble(self) -> Trouble | None:
        """What others left broken in the package database; None if it is sound."""
        raise NotImplementedError

    def mend(self) -> command.Result:
        """Run what :meth:`trouble` names."""
        raise NotImplementedError

    def simulate(self) -> command.Result:
        """What :meth:`put` would do, without doing it; fails if these files alone cannot be installed."""
        raise NotImplementedError

    def intrusion(self, simulated: command.Result) -> str | None:
        """Which packages besides these :meth:`put` would install or remove, as a sentence; None if none."""
        raise NotImplementedError

    def contents(self, path: str) -> t.Iterable[tuple[str, bool]]:
        """Every absolute path that a package file brings, and whether it is a directory."""
        raise NotImplementedError

    def installed(self) -> dict[str, list[str]]:
        """``{name: paths}`` of this payload's packages that are installed now, and of those that they replace, by the
        names that the database uses."""
        raise NotImplementedError

    def shared(self, directories: set[str], mine: t.Collection[str]) -> set[str]:
        """Which of ``directories`` a package has a part in that is not ``mine``, by the names of :meth:`installed`."""
        raise NotImplementedError

    def versions(self) -> dict[str, str]:
        """``{name: version}`` of this payload's packages that are wholly installed, by :meth:`name`."""
        raise NotImplementedError

    def put(self) -> command.Result:
        """Install all files in one run; must be possible over any older, newer or half-installed version."""
        raise NotImplementedError

    def state(self) -> Scope:
        """Where the package tools keep their state: all of it belongs to "exactly what it was".

        Its ``trees`` are what has to be kept where nothing was rehearsed; then they are ``wide``.
        """
        raise NotImplementedError

    def is_generated(self, path: str) -> bool:
        """Whether ``path`` is made anew by triggers of the package tools, out of what several packages bring."""
        raise NotImplementedError

    @property
    def packages(self) -> list[Package]:
        """The package files of the signed document."""
        return t.cast("list[Package]", self.payload["files"])

    def name(self, entry: Package) -> str:
        """A package of this payload, with its architecture where the payload has it for several."""
        others = [one for one in self.packages if one["package"] == entry["package"]]
        return entry["package"] if len(others) == 1 else "%s:%s" % (entry["package"], entry["architecture"])

    # -- the same for all ---------------------------------------------------------------------------------------

    def require_ready(self, *, repair: bool) -> None:
        """Refuse a device whose package manager others hold (``PACKAGE_LOCK``) or left broken (``PACKAGE_STATE``)."""
        self._supported()
        holder = _locks.holder(self.locks())
        if holder:
            raise OtaError("PACKAGE_LOCK", "the package database is held by %s; the next run retries it" % holder)
        trouble = self.trouble()
        if trouble and not repair:
            message = "the package database was left broken: %s; run '%s' there, or set repair"
            raise OtaError("PACKAGE_STATE", message % trouble, command=trouble.command)

    def repair(self) -> None:
        """Finish what others left half done; OtaError ``PACKAGE_STATE`` if it is broken even then."""
        trouble = self.trouble()
        if trouble is None:
            return
        self.log("repair: %s: %s" % (trouble.command, trouble.reason))
        result = self.mend()
        self.log(result.out)
        left = self.trouble()
        if left:
            message = "the package database is broken and '%s' did not repair it: %s"
            raise OtaError(
                "PACKAGE_STATE", message % (trouble.command, result.tail or left.reason), command=left.command
            )

    def hold(self, wait: float) -> None:
        """Take the package tools' own locks: nobody else installs anything until they are given up."""
        holder = _locks.take(self.locks(), wait)
        if holder:
            message = "the package database was held by %s for more than %d s; the next run retries it"
            raise OtaError("PACKAGE_LOCK", message % (holder, wait))

    def release(self) -> None:
        """Give the locks up."""
        _locks.release(self.locks())

    def require_installable(self) -> None:
        """Refuse what could not be installed from these files alone, before anything is touched."""
        self.require_ready(repair=False)
        architectures = self.architectures()
        for entry in self.packages:
            if entry["architecture"] not in architectures:
                text = "package %s is for %s, this device is %s"
                raise OtaError(
                    "INCOMPATIBLE", text % (entry["package"], entry["architecture"], ", ".join(sorted(architectures)))
                )
        simulated = self.simulate()
        others = self.intrusion(simulated)
        if others:
            raise OtaError("REQUIREMENT", others)
        if simulated.rc != 0:
            message = "%s cannot install these packages without others; add their dependencies to the release: %s"
            raise OtaError("REQUIREMENT", message % (self.TOOL, simulated.tail))

    def _supported(self) -> None:
        if not self.layout.is_real:
            raise OtaError("UNSUPPORTED", "packages need a whole machine; a device that is a directory takes archives")
        for program in self.PROGRAMS:
            if command.which(program) is None:
                message = "this device has no %s; payload type %s needs %s"
                raise OtaError("UNSUPPORTED", message % (program, self.payload["type"], self.SYSTEM))

    def scope(self, touched: t.Collection[str] | None = None) -> Scope:
        """Files of the old and the new packages, their directories, what the rehearsal touched besides, and the state
        of the package tools; without a rehearsal everything that scripts may be expected to touch."""
        installed = self.installed()
        private = self._private(installed)
        state = self.state()
        singles = {path for path, _directory in self._paths(installed) if not tree.covers(private, path)}
        named = (*(entry["package"] for entry in self.packages), *(name.split(":")[0] for name in installed))
        terms = state.terms._replace(packages=tuple(dict.fromkeys(named)))
        trees = set(private)
        if touched is None:
            trees |= state.trees
            terms = terms._replace(wide=tuple(sorted(state.trees)))
        else:
            beside = [path for path in touched if not path.startswith(_NOT_KEPT)]
            made = set(beside)  # also in directories that go back whole
            made.difference_update(path for path, _directory in self._paths(installed))
            terms = terms._replace(generated=tuple(sorted(filter(self.is_generated, made))))
            singles.update(path for path in beside if not tree.covers(private, path))
        singles |= {path for path in state.paths if not tree.covers(private, path)}
        return Scope(frozenset(singles), frozenset(trees), state.volatile | frozenset(terms.forms), terms)

    def _paths(self, installed: t.Mapping[str, list[str]]) -> t.Iterator[tuple[str, bool]]:
        """Every path of the old and the new packages, and whether the new ones have a directory there."""
        yield from self._brought
        for names in installed.values():
            for name in names:
                yield name, False

    @functools.cached_property
    def _brought(self) -> list[tuple[str, bool]]:
        """What all package files bring (:meth:`contents`): they are read once, their digests keep them as they are."""
        return [one for entry in self.packages for one in self.contents(self.path(entry))]

    def _private(self, installed: t.Mapping[str, list[str]]) -> set[str]:
        """Directories of code that no other package has a part in: their whole content comes and goes with these."""
        folders = {
            name
            for name, directory in self._paths(installed)
            if name.startswith(_CODE)
            and name.count("/") >= _SHARED_DEPTH
            and (directory or os.path.isdir(name))
            and not os.path.islink(name)
        }
        if folders:
            folders -= self.shared(folders, installed)
        return {name for name in folders if not tree.covers(folders - {name}, os.path.dirname(name))}

    def needs(self) -> dict[str, Need]:
        """Installed sizes, once more for the backups that package tools keep while they unpack."""
        return {"/usr": Need(2 * sum(int(entry["installed_size"]) for entry in self.packages), 0)}

    def observe(self) -> dict[str, str | None]:
        """``{package: version}`` of this payload's packages, None where it is not installed."""
        versions: dict[str, str | None] = {self.name(entry): None for entry in self.packages}
        versions.update(self.versions())
        return versions

    def wanted(self) -> dict[str, str | None]:
        """``{package: version}`` of the release."""
        return {self.name(entry): entry["version"] for entry in self.packages}

    def install(self) -> None:
        """One run for all packages; their scripts run without questions, edited configuration stays."""
        result = self.put()
        self.log("%s\n%s" % (result.out, result.err))
        program = self.PROGRAMS[0]
        if result.rc != 0:
            full = _FULL.search(result.out + result.err)
            raise OtaError(
                "NO_SPACE" if full else "INSTALL", "%s failed with %d: %s" % (program, result.rc, result.tail)
            )
        now = self.observe()
        wrong = [name for name, version in self.wanted().items() if now[name] != version]
        if wrong:
            raise OtaError("INSTALL", "%s ended well but %s is not installed as signed" % (program, ", ".join(wrong)))
        self.denied = self._denied(result)

    def to_restart(self) -> list[str]:
        """Also what packages would have restarted, had this device's policy-rc.d let them."""
        return [*super().to_restart(), *self.denied]

    def _denied(self, result: command.Result) -> list[str]:
        """The running units that policy-rc.d kept the packages from restarting."""
        denied = {unit for words in _DENIED.findall(result.out + result.err) for unit in words.split()}
        if not denied:
            return []
        denied = {unit if "." in unit else unit + ".service" for unit in denied} & set(self.units())
        running = units.active(sorted(denied))
        message = "the device's policy-rc.d kept packages from starting or restarting %s"
        self.log(message % ", ".join(sorted(denied)))
        if running:
            self.log("restarting %s, which ran before: it would go on from files that are gone" % ", ".join(running))
        return running

    def brings_unit(self, name: str) -> bool:
        """Whether a package has a unit, or an init script, of that name."""
        wanted = {name, units.template(name)}
        script = "/etc/init.d/" + name.rpartition(".")[0]
        paths = (path for path, _directory in self._brought)
        return any(path == script or ("/systemd/" in path and os.path.basename(path) in wanted) for path in paths)

    def units(self) -> list[str]:
        """The named units and every unit that an old or a new package brings."""
        names = set(self.payload.get("units", []))
        for path, _directory in self._paths(self.installed()):
            folder, name = os.path.split(path)
            if folder.endswith(_UNIT_FOLDER) and _UNIT.search(name):
                names.add(name)
        return sorted(names)

    def path(self, entry: File) -> str:
        """The verified file of one package."""
        return self.files[entry["sha256"]]

    def linked(self, ending: str) -> list[str]:
        """Every package file under a name with ``ending``, which tools want, beside the verified ones."""
        folder = os.path.join(os.path.dirname(self.path(self.packages[0])), ending)
        os.makedirs(folder, exist_ok=True)
        links = []
        for entry in self.packages:
            link = os.path.join(folder, "%s.%s" % (entry["sha256"], ending))
            if not os.path.exists(link):
                os.link(self.path(entry), link)
            links.append(link)
        return links
