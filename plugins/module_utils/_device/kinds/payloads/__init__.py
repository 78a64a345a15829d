# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Payload types: one file per type beside this one, found by its name.

A type's module has

* ``RULES``, ``SIGNED_RULES``, ``FILE_RULES``: rules for its own keys in the author's form, in the signed form, and of
  its ``files`` entries; ``REQUIRED`` and ``SIGNED_REQUIRED``: which of them must be there;
* ``describe(payload, files)``: the signed keys it adds, and what it adds to each ``files`` entry;
* ``Installer``, a subclass of :class:`Base`.
"""

from __future__ import annotations

import pathlib
import re
import types
import typing as t

from ... import kinds
from ...base import schema
from ...base.errors import OtaError
from ...base.typed import TypedDict
from ...system import command, units
from ...system.files import hashing
from ...system.layout import Layout
from ...system.overlay import Need, Step
from ...system.units import apart
from .. import snapshots
from ..snapshots import Terms

_COMMON: dict[str, schema.Rule] = {
    "name": schema.matching(schema.NAME),
    "type": schema.text,
    "units": schema.list_of(schema.matching(re.compile(r"^[A-Za-z0-9:_.@-]+\.(service|socket|timer|target|path)$"))),
}
_FILE: dict[str, schema.Rule] = {
    "name": schema.matching(schema.FILE_NAME),
    "length": schema.whole(0),
    "sha256": schema.matching(schema.SHA256),
}
Log = t.Callable[[str], None]


class File(TypedDict):
    """A payload file as the signed document binds it; ``length`` in bytes."""

    name: str
    length: int
    sha256: str


class _Payload(TypedDict):
    name: str
    type: str


class Payload(_Payload, total=False):
    """What every payload has in common; a type's own keys are added by a subclass in its module.

    ``source`` is of the author's form, ``files`` of the signed one.
    """

    units: list[str]
    source: str | list[str]
    files: list[File]


class Release(TypedDict):
    """As much of a release document as an installer needs; all of it is in :mod:`documents.release`."""

    name: str
    version: str
    payloads: list[Payload]


#: What is installed, in a form that can be compared and shown: JSON.
Shown = t.Union[None, str, t.Mapping[str, t.Optional[str]]]
#: What a type's ``describe`` gives: signed keys of the payload, and of each of its files.
Description = t.Tuple[t.Mapping[str, object], t.Sequence[t.Mapping[str, object]]]


class Scope(t.NamedTuple):
    """What a change touches: single ``paths`` (content, or a directory's own attributes) and whole ``trees``.

    ``volatile`` paths within them hold no state (caches of open databases): never kept, put back or compared.
    ``terms`` say what is special about some of them.
    """

    paths: frozenset[str]
    trees: frozenset[str]
    volatile: frozenset[str] = frozenset()
    terms: Terms = Terms()


class Base:
    """One payload on one device. ``files`` maps each SHA-256 of the payload to its verified file."""

    def __init__(self, layout: Layout, document: Release, payload: Payload, log: Log) -> None:
        self.layout = layout
        self.document = document
        self.payload = payload
        self.log = log
        self.files: dict[str, str] = {}
        #: The change that this is part of: daemons that the payload's programs start are known by it.
        self.change = ""

    def run(self, argv: t.Sequence[str], **options: t.Any) -> command.Result:
        """Run a program of the payload, or a tool that runs some; options as of :func:`apart.run`."""
        return apart.run(self.layout, self.change, argv, **options)

    def require_ready(self, *, repair: bool) -> None:
        """Raise OtaError if the device cannot take such a payload now, whatever its bytes; before they travel.

        With ``repair`` nothing is said of what :meth:`repair` may mend.
        """

    def repair(self) -> None:
        """Mend what others left broken, before anything else; OtaError if that fails. Can be run again."""

    def require_installable(self) -> None:
        """Raise OtaError (``REQUIREMENT``, ``UNSUPPORTED``, ``UNLISTED_FILE`` ...) if this cannot be installed here."""

    def hold(self, wait: float) -> None:
        """Keep other programs from changing what :meth:`install` changes, until :meth:`release` or this process ends.

        Waits ``wait`` seconds for one that is at it, and ends none. OtaError ``PACKAGE_LOCK`` after that.
        """

    def release(self) -> None:
        """Give up what :meth:`hold` took."""

    def rehearsal(self) -> list[Step]:
        """Programs that show in a copy of the device what :meth:`install` does; none if that is known without them."""
        return []

    def common_files(self) -> t.Collection[str]:
        """Files that :meth:`install` changes and of which others' records stay (``terms.forms`` of the scope)."""
        return ()

    def scope(self, touched: t.Collection[str] | None = None) -> Scope:
        """What :meth:`install` will touch; ``touched`` is what its rehearsal touched, None if there was none."""
        raise NotImplementedError

    def needs(self) -> dict[str, Need]:
        """What :meth:`install` will need, by a path on the file system that must have it."""
        raise NotImplementedError

    def observe(self) -> Shown:
        """What is installed now, for the diff: JSON-able."""
        raise NotImplementedError

    def wanted(self) -> Shown:
        """What will be installed, in the shape of :meth:`observe`."""
        raise NotImplementedError

    def install(self) -> None:
        """Install, units aside (:func:`restart`); can be run again from its start. Raises OtaError ``INSTALL``."""
        raise NotImplementedError

    def units(self) -> list[str]:
        """The systemd units that this payload concerns, before or after."""
        return list(self.payload.get("units", []))

    def to_restart(self) -> list[str]:
        """The systemd units that are restarted once all payloads are in place: those that the release names."""
        return list(self.payload.get("units", []))

    def brings_unit(self, name: str) -> bool:
        """Whether the payload has a unit of that name, or makes one."""
        return False

    def quiesce(self) -> None:
        """Stop what runs from the payload, before a way back changes its files."""

    def activate(self) -> None:
        """Make the device use what is installed now, units aside; called after install and after a way back."""

    def set_apart(self, snapshot: snapshots.Base) -> set[str]:
        """Packages of others that came or changed since ``snapshot``, where the type has a database of its own.

        Then the database's folder is set apart in ``snapshot``, and :meth:`put_back_apart` does what the snapshot does
        not.
        """
        return set()

    def put_back_apart(self, snapshot: snapshots.Base) -> None:
        """Put back what was set apart, after the files, and prove it; can be run again. OtaError ``RESTORE``."""

    def foreign(self, paths: t.Sequence[str], packages: t.Collection[str]) -> set[str]:
        """Those of ``paths`` that belong to ``packages``, which others installed, with the directories above them."""
        return set()

    def regenerate(self, paths: t.Sequence[str]) -> None:
        """Have files that are made of what several packages bring made anew, after a way back left ``paths`` alone."""

    def forget(self) -> None:
        """Remove what the engine wrote down of an installation that went back since; can be run again."""

    def prune(self, versions: t.Collection[str]) -> None:
        """Remove what no way back needs any more, given the ``versions`` that stay; called after a confirm."""


def types_known() -> list[str]:
    """The payload types that this engine has."""
    return kinds.names(__path__)


def module(kind: object) -> types.ModuleType | None:
    """The module of payload type ``kind``, or None."""
    return kinds.module(__name__, __path__, kind)


def validate(where: str, payload: object, *, signed: bool, problems: schema.Problems) -> None:
    """Add to ``problems`` every mistake of one payload."""
    if not isinstance(payload, dict):
        problems.add(where, "must be a mapping, not %s" % schema.kind(payload))
        return
    implementation = module(payload.get("type"))
    if implementation is None:
        problems.add(
            where + ".type",
            "%r is not a payload type this engine has (%s); correct the type or update the engine"
            % (payload.get("type"), ", ".join(types_known())),
        )
        return
    rules = dict(_COMMON, **implementation.RULES)
    if not signed:
        rules["source"] = schema.anything
        problems.mapping(where, payload, rules, required=["name", "type", "source", *implementation.REQUIRED])
        return
    rules.update(implementation.SIGNED_RULES, files=schema.list_of(schema.anything, least=1))
    required = ["name", "type", "files", *implementation.REQUIRED, *implementation.SIGNED_REQUIRED]
    problems.mapping(where, payload, rules, required=required)
    files = payload.get("files")
    for index, entry in enumerate(files if isinstance(files, list) else []):
        entry_rules = dict(_FILE, **implementation.FILE_RULES)
        problems.mapping("%s.files[%d]" % (where, index), entry, entry_rules, required=sorted(entry_rules))


def describe(payload: Payload, folder: pathlib.Path) -> tuple[Payload, dict[str, pathlib.Path]]:
    """The signed form of an author's payload and ``{sha256: file}``; ValueError for what is wrong with a file."""
    implementation = module(payload["type"])
    if implementation is None:  # validated before
        raise ValueError("unknown payload type")
    patterns = payload["source"] if isinstance(payload["source"], list) else [payload["source"]]
    paths: list[pathlib.Path] = []
    for pattern in patterns:
        matches = sorted(folder.glob(pattern)) if not pathlib.Path(pattern).is_absolute() else [pathlib.Path(pattern)]
        matches = [path for path in matches if path.is_file()]
        if not matches:
            raise ValueError("no file %s in %s; build it first or correct the path" % (pattern, folder))
        paths.extend(path for path in matches if path not in paths)
    extra, additions = implementation.describe(payload, paths)
    files: list[object] = []
    by_digest: dict[str, pathlib.Path] = {}
    for path, addition in zip(paths, additions):
        digest = hashing.of_file(path.resolve())
        files.append({"name": path.name, "length": path.stat().st_size, "sha256": digest, **addition})
        by_digest[digest] = path
    signed = {**{key: value for key, value in payload.items() if key != "source"}, **extra, "files": files}
    return t.cast(Payload, signed), by_digest


def create(layout: Layout, document: Release, log: Log) -> list[Base]:
    """The installers of a release, in its order."""
    result = []
    for payload in document["payloads"]:
        implementation = module(payload["type"])
        if implementation is None:
            raise OtaError("UNSUPPORTED", "payload type %r is unknown to this engine" % payload["type"])
        result.append(implementation.Installer(layout, document, payload, log))
    return result


def restart(several: t.Sequence[Base]) -> None:
    """Restart the units of the payloads (:meth:`Base.to_restart`), each once and in their order; wait until they run.

    Called when all of them are in place: a unit may come with another payload than the one that names it. One that does
    not start is for its health check to judge: systemd may try again. OtaError if systemd refuses.
    """
    names = list(dict.fromkeys(unit for one in several for unit in one.to_restart()))
    if names and several[0].layout.is_real:
        for name, reason in units.restart(names).items():
            several[0].log("%s did not restart: %s" % (name, reason))
