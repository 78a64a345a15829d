# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The packages of an rpm database, and going back by package where others have installed some since.

As long as nobody else was at it the database goes back with the other files, to the last byte. Otherwise that would
take away what others entered, so the database stays, and rpm itself takes the records of the change out and enters
those of before, which the snapshot's copy of the database has.
"""

from __future__ import annotations

import os
import shutil
import typing as t

from ...base.errors import OtaError
from ...system import command
from ...system.files.remove import remove_own
from ...system.mounts import within
from ..snapshots import Base

#: A package as it was installed once: its name, all of its version, and the transaction that brought it.
Installed = t.Tuple[str, str, str]
_QUERY = "%{NAME}\t%{NEVRA}\t%{INSTALLTID}\n"
#: Takes records out of a database and touches nothing else.
_FORGET = ("--erase", "--justdb", "--nodeps", "--noscripts", "--notriggers", "--allmatches")
_TIMEOUT = 300
_MOST_ARGUMENTS = 500
#: What SQLite makes anew by itself.
NOT_KEPT = ("rpmdb.sqlite-shm", ".rpm.lock")


def place() -> str:
    """Where rpm keeps its database: each distribution has another place."""
    result = command.run(["rpm", "--eval", "%_dbpath"])
    path = result.out.strip()
    if result.rc != 0 or not path.startswith("/"):
        raise OtaError("UNSUPPORTED", "rpm does not say where its database is: %s" % (result.tail or path))
    return os.path.realpath(path)


class Before:
    """The database of this device, and a copy of what it was when ``snapshot`` was taken, in ``folder``."""

    def __init__(self, snapshot: Base, folder: str) -> None:
        self._folder = folder
        self._mine = frozenset(snapshot.terms.packages)
        database = place()
        remove_own(folder)
        os.makedirs(folder, 0o700)
        self.is_kept = False
        for path, entry in snapshot.pairs():
            if entry["t"] == "f" and os.path.dirname(path) == database:
                self.is_kept = True
                with snapshot.content(path, entry) as source, open(self._file(path), "wb") as copy:
                    shutil.copyfileobj(source, copy)

    def __enter__(self) -> Before:
        return self

    def __exit__(self, *_: object) -> None:
        remove_own(self._folder)

    def others(self) -> set[str]:
        """The packages besides those of the change that somebody installed, changed or removed since."""
        if not self.is_kept:
            return set()
        return {name for name, _version, _when in self._then() ^ _packages() if name not in self._mine}

    def put_back(self) -> None:
        """Make the records of the change's packages what they were, and no others; can be run again.

        OtaError ``RESTORE`` if rpm does not do that.
        """
        then, now = self._mine_of(self._then()), self._mine_of(_packages())
        came = sorted({version for _name, version, _when in now - then})
        if came:
            _require(command.run(_rpm(*_FORGET, *came), timeout=_TIMEOUT), "taken out of")
        left = then - self._mine_of(_packages())
        if left:
            others = sorted({version for _name, version, _when in self._then() - left})
            for start in range(0, len(others), 500):
                argv = ["--erase", "--justdb", "--nodeps", "--noscripts", "--notriggers", "--allmatches"]
                _require(
                    command.run(_rpm(*self._at, *argv, *others[start : start + 500]), timeout=_TIMEOUT), "read from"
                )
            headers = os.path.join(self._folder, "headers")
            shell = 'rpmdb "$@" --exportdb >"$0" && exec rpmdb --importdb <"$0"'
            _require(command.run(["sh", "-c", shell, headers, *self._at], timeout=_TIMEOUT), "entered in")
        if self._mine_of(_packages()) != then:
            raise OtaError("RESTORE", "the rpm database does not have the packages of before: %s" % sorted(then))

    def _mine_of(self, packages: t.Iterable[Installed]) -> set[Installed]:
        return {package for package in packages if package[0] in self._mine}

    def _then(self) -> set[Installed]:
        return _packages(*self._at)

    @property
    def _at(self) -> tuple[str, ...]:
        return ("--dbpath", self._folder)

    def _file(self, path: str) -> str:
        return os.path.join(self._folder, os.path.basename(path))


def files_of(packages: t.Collection[str]) -> set[str]:
    """Every path that the installed ``packages`` brought."""
    if not packages:
        return set()
    return set(command.run(["rpm", "--query", "--list", *sorted(packages)], timeout=_TIMEOUT).out.splitlines())


def is_database(path: str) -> bool:
    """Whether ``path`` is a file of the database."""
    return within(path, place())


def _packages(*options: str) -> set[Installed]:
    result = command.run(["rpm", *options, "--query", "--all", "--qf", _QUERY], timeout=_TIMEOUT)
    if result.rc != 0:
        raise OtaError("RESTORE", "the packages of the rpm database cannot be read: %s" % result.tail)
    lines = (line.split("\t") for line in result.out.splitlines())
    return {(words[0], words[1], words[2]) for words in lines if len(words) == 3}


def _rpm(*options: str) -> list[str]:
    # Debian's rpm asks whether one means it
    return ["rpm", *options, *(["--force-debian"] if os.path.exists("/etc/debian_version") else [])]


def _require(result: command.Result, done: str) -> None:
    if result.rc != 0:
        raise OtaError("RESTORE", "packages could not be %s the rpm database: %s" % (done, result.tail))
