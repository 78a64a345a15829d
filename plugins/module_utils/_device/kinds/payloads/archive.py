# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Payload type ``archive``: a versioned directory and an atomic link (blue/green).

``DESTINATION/releases/VERSION`` is filled from a tar file, then the link ``DESTINATION/current`` is renamed over the
old one. Extraction is driven by the members that the signed document lists, never by the archive: no ``extractall``
(CVE-2025-4517), and a file in the archive that the document does not list is a refusal (CVE-2025-67903).
"""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import tarfile
import typing as t

from ...base import schema
from ...base.errors import OtaError
from ...base.typed import TypedDict
from ...system import command, durable, hashing, units
from ...system.layout import Layout
from . import Base, Description, Log, Payload, Release, Scope


class _Member(TypedDict):
    path: str
    type: str
    mode: str


class Member(_Member, total=False):
    """A member as the signed document lists it; ``length`` and ``sha256`` of a file, ``target`` of a link."""

    length: int
    sha256: str
    target: str


class ArchivePayload(Payload, total=False):
    """The payload's own keys."""

    destination: str
    activate: list[str]
    deactivate: list[str]
    members: list[Member]


REQUIRED = ("destination",)
SIGNED_REQUIRED = ("members",)
FILE_RULES: dict[str, schema.Rule] = {}
#: What the link is called before it takes the old one's place; a killed run may leave it.
_NEW = ".new"
_MODE = schema.matching(re.compile(r"^0[0-7]{3}$"))
_MEMBERS: dict[str, tuple[dict[str, schema.Rule], tuple[str, ...]]] = {
    "file": ({"length": schema.whole(0), "sha256": schema.matching(schema.SHA256)}, ("length", "sha256")),
    "directory": ({}, ()),
    "symlink": ({"target": schema.text}, ("target",)),
}


def _members(value: object) -> str | None:
    """The rule for ``members``."""
    if not isinstance(value, list) or not value:
        return "must be a list of at least one member"
    seen = set()
    for entry in value:
        kind = entry.get("type") if isinstance(entry, dict) else None
        if kind not in _MEMBERS:
            return "every member needs a type of %s" % ", ".join(_MEMBERS)
        problems = schema.Problems()
        rules, required = _MEMBERS[kind]
        rules = dict(rules, path=schema.relative, type=schema.anything, mode=_MODE)
        problems.mapping(str(entry.get("path")), entry, rules, required=("path", "mode", *required))
        if problems.found:
            return problems.found[0]
        if entry["path"] in seen:
            return "%r is listed twice" % entry["path"]
        seen.add(entry["path"])
        if kind == "symlink" and _leaves(entry["path"], entry["target"]):
            return "the link %r points out of the release (%r)" % (entry["path"], entry["target"])
    return None


RULES: dict[str, schema.Rule] = {
    "destination": schema.absolute,
    "activate": schema.list_of(schema.text, least=1),
    "deactivate": schema.list_of(schema.text, least=1),
}
SIGNED_RULES: dict[str, schema.Rule] = {"members": _members}


def _leaves(path: str, target: str) -> bool:
    """Whether a link at ``path`` with ``target`` points outside the directory it is extracted to."""
    if target.startswith("/"):
        return True
    return os.path.normpath(os.path.join(os.path.dirname(path), target)).split("/")[0] == ".."


def _normal(name: str) -> str:
    """A member's path as the document writes it: without ``./`` in front and ``/`` behind."""
    return os.path.normpath(name)


def describe(payload: Payload, files: list[pathlib.Path]) -> Description:
    """List the members of the one tar file, sorted by path, with what the device will make of each."""
    if len(files) != 1:
        raise ValueError("an archive payload has exactly one file, not %d" % len(files))
    members: dict[str, Member] = {}
    try:
        with tarfile.open(str(files[0])) as archive:
            for info in archive:
                path = _normal(info.name)
                if path == ".":
                    continue
                entry: Member = {"path": path, "mode": "%04o" % (info.mode & 0o777), "type": "directory"}
                if info.isfile():
                    content = t.cast("t.IO[bytes]", archive.extractfile(info))
                    entry.update({"type": "file", "length": info.size, "sha256": hashing.of_stream(content)})
                elif info.issym():
                    entry.update({"type": "symlink", "target": info.linkname})
                elif not info.isdir():
                    raise ValueError("%s: member %s is neither file, directory nor link" % (files[0].name, info.name))
                if path in members:
                    raise ValueError("%s: member %s is there twice" % (files[0].name, path))
                members[path] = entry
    except tarfile.TarError as error:
        raise ValueError("%s is not a tar file that can be read (%s)" % (files[0].name, error)) from None
    return {"members": [members[path] for path in sorted(members)]}, [{}]


class Installer(Base):
    """An archive on a device."""

    payload: ArchivePayload

    def __init__(self, layout: Layout, document: Release, payload: Payload, log: Log) -> None:
        super().__init__(layout, document, payload, log)
        self.base = self.payload["destination"].rstrip("/")
        self.link = self.base + "/current"
        self.directory = "%s/releases/%s" % (self.base, self.document["version"])
        if os.path.lexists(self.layout.real(self.directory)) and self.observe() == self.document["version"]:
            # Another document of the same version is what runs: never unpack over it.
            self.directory += "+" + self.payload["files"][0]["sha256"][:8]

    def require_installable(self) -> None:
        """Refuse an archive whose members are not exactly the listed ones, before anything is touched."""
        listed = {entry["path"]: entry for entry in self.payload["members"]}
        try:
            with self._open() as archive:
                for info in archive:
                    path = _normal(info.name)
                    if path != "." and path not in listed:
                        raise OtaError("UNLISTED_FILE", "the archive holds %r, which the release does not list" % path)
                    listed.pop(path, None)
        except (tarfile.TarError, EOFError) as error:
            raise OtaError(
                "RELEASE", "payload %s is not a readable tar file: %s" % (self.payload["name"], error)
            ) from None
        if listed:
            raise OtaError("RELEASE", "the archive lacks %r, which the release lists" % sorted(listed)[0])
        current = self.layout.real(self.link)
        if os.path.lexists(current) and not os.path.islink(current):
            raise OtaError(
                "REQUIREMENT", "%s is not a link; move it away, the release's link must go there" % self.link
            )

    def scope(self) -> Scope:
        """The link, the new directory, and the directories above them that may not exist yet."""
        above = set()
        parent = os.path.dirname(self.directory)
        while parent not in ("/", ""):
            above.add(parent)
            parent = os.path.dirname(parent)
        return Scope(frozenset(above | {self.link, self.link + _NEW}), frozenset({self.directory}))

    def space(self) -> int:
        """Bytes of the extracted files, with a block for each member."""
        return sum(entry.get("length", 0) + 4096 for entry in self.payload["members"])

    def observe(self) -> str | None:
        """The version that the link points to, or None."""
        try:
            target = os.readlink(self.layout.real(self.link))
        except OSError:
            return None
        return os.path.basename(target).split("+")[0]

    def wanted(self) -> str:
        """The version of the release."""
        return self.document["version"]

    def install(self) -> None:
        """Extract into a fresh directory, make it durable, switch the link, activate."""
        directory = self.layout.real(self.directory)
        if os.path.isdir(directory) and not os.path.islink(directory):
            shutil.rmtree(directory)  # an earlier attempt that did not come to its end
        durable.make_directory(os.path.dirname(directory), 0o755)
        try:
            self._extract(directory)
        except (OSError, tarfile.TarError) as error:
            raise OtaError(
                "INSTALL", "extracting %s to %s failed: %s" % (self.payload["name"], directory, error)
            ) from None
        durable.sync_tree(directory)
        self.quiesce()
        link = self.layout.real(self.link)
        temporary = link + _NEW
        if os.path.lexists(temporary):
            os.unlink(temporary)
        os.symlink(os.path.relpath(directory, os.path.dirname(link)), temporary)
        os.rename(temporary, link)
        durable.sync_directory(os.path.dirname(link))
        self.log("%s -> %s" % (self.link, os.readlink(link)))
        self.activate()

    def _open(self) -> tarfile.TarFile:
        return tarfile.open(self.files[self.payload["files"][0]["sha256"]])

    def _extract(self, directory: str) -> None:
        listed = {entry["path"]: entry for entry in self.payload["members"]}
        os.mkdir(directory, 0o755)
        modes: list[tuple[str, int]] = []
        with self._open() as archive:
            for info in archive:
                entry = listed.get(_normal(info.name))
                if entry is None:  # only "." gets here, see require_installable()
                    continue
                path = os.path.join(directory, entry["path"])
                os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
                if entry["type"] == "directory":
                    os.makedirs(path, exist_ok=True)
                    modes.append((path, int(entry["mode"], 8)))
                elif entry["type"] == "symlink":
                    os.symlink(entry["target"], path)
                else:
                    self._file(archive, info, entry, path)
        for path, mode in modes:
            os.chmod(path, mode)

    def _file(self, archive: tarfile.TarFile, info: tarfile.TarInfo, entry: Member, path: str) -> None:
        content = archive.extractfile(info) if info.isfile() else None
        if content is None:
            raise OtaError("UNLISTED_FILE", "%r is a file in the release but not in the archive" % entry["path"])
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as copy:
            digest = hashing.of_stream(content, copy)
            os.fchmod(copy.fileno(), int(entry["mode"], 8))
        if digest != entry["sha256"]:
            raise OtaError("HASH_MISMATCH", "%r in the archive is not what was signed" % entry["path"])

    def quiesce(self) -> None:
        """Stop what runs from the directory in use, by its own command; a release without one has nothing to stop."""
        argv = self.payload.get("deactivate")
        if argv and os.path.lexists(os.path.join(self._current(), argv[0])):
            self._own(argv)

    def activate(self) -> None:
        """Run the release's own command in the directory the link points to now, then restart its units."""
        argv = self.payload.get("activate")
        if argv and os.path.isdir(self._current()):
            self._own(argv)
        if self.layout.is_real:
            units.restart(self.payload.get("units", []))

    def _current(self) -> str:
        return os.path.realpath(self.layout.real(self.link))

    def _own(self, argv: list[str]) -> None:
        environment = {"FLEET_OTA_ROOT": self.layout.root, "FLEET_OTA_IDENTITY": self.layout.file("identity.json")}
        program = os.path.join(self._current(), argv[0])  # an absolute argv[0] stays itself
        result = command.run([program, *argv[1:]], cwd=self._current(), environment=environment, timeout=120)
        if result.rc != 0:
            raise OtaError("INSTALL", "%s failed with %d: %s" % (" ".join(argv), result.rc, result.tail))

    def prune(self, versions: t.Collection[str]) -> None:
        """Remove the directories of releases that are neither in use nor among ``versions``."""
        releases = self.layout.real(self.base + "/releases")
        if not os.path.isdir(releases):
            return
        for name in os.listdir(releases):
            path = os.path.join(releases, name)
            if path != self._current() and name.split("+")[0] not in versions:
                shutil.rmtree(path, ignore_errors=True)
