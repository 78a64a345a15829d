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

import errno
import hashlib
import os
import re
import stat
import tarfile
import typing as t

from ...base.errors import OtaError
from ...system import durable, units
from ...system.files import hashing
from ...system.files.descriptors import Files
from ...system.files.paths import resolve, unsafe_owner
from ...system.files.remove import remove, remove_members
from ...system.layout import Layout
from ...system.mounts import within
from ...system.overlay import Need
from . import Base, Log, Payload, Release, Scope, _placed
from ._tarfile import (
    FILE_RULES,
    REQUIRED,
    RULES,
    SIGNED_REQUIRED,
    SIGNED_RULES,
    ArchivePayload,
    Listed,
    Member,
    describe,
    normal,
    open_archive,
    walk,
)

__all__ = ["FILE_RULES", "REQUIRED", "RULES", "SIGNED_REQUIRED", "SIGNED_RULES", "Installer", "describe"]

#: What the link is called before it takes the old one's place; a killed run may leave it.
_NEW = ".new"
#: What a second document of one version gets behind it, while the first one runs.
_SUFFIX = re.compile(r"\+[0-9a-f]{8}$")


class Installer(Base):
    """An archive on a device. All of it is done by descriptor (:mod:`files.descriptors`)."""

    payload: ArchivePayload

    def __init__(self, layout: Layout, document: Release, payload: Payload, log: Log) -> None:
        super().__init__(layout, document, payload, log)
        base = os.path.normpath(self.payload["destination"])
        self.base = resolve(base) if layout.is_real else base
        self.link = self.base + "/current"
        self.directory = "%s/releases/%s" % (self.base, self.document["version"])
        if self._exists(self.directory) and self.observe() == self.document["version"]:
            # Another document of the same version is what runs: never unpack over it.
            self.directory += "+" + self.payload["files"][0]["sha256"][:8]

    def require_installable(self) -> None:
        """Refuse an archive whose members are not exactly the listed ones, before anything is touched."""
        self._require_place()
        listed = Listed(self.payload["members"])
        missing = bytearray(b"\1" * len(self.payload["members"]))
        try:
            with self._open() as archive:
                for info in walk(archive):
                    path = normal(info.name)
                    number = listed.number(path)
                    if number is not None and missing[number]:
                        missing[number] = 0
                    elif path != ".":
                        raise OtaError("UNLISTED_FILE", "the archive holds %r, which the release does not list" % path)
        except (tarfile.TarError, EOFError) as error:
            raise OtaError(
                "RELEASE", "payload %s is not a readable tar file: %s" % (self.payload["name"], error)
            ) from None
        first = missing.find(1)
        if first >= 0:
            path = self.payload["members"][first]["path"]
            raise OtaError("RELEASE", "the archive lacks %r, which the release lists" % path)

    def _require_place(self) -> None:
        """Refuse a destination that cannot be written to, is our own, or in which a user can exchange programs."""
        if within(self.base, self.layout.state_dir) or within(self.layout.state_dir, self.base):
            message = "destination %s of payload %s lies in the engine's state directory %s; name another"
            raise OtaError("RELEASE", message % (self.base, self.payload["name"], self.layout.state_dir))
        with self._device() as device:
            link = device.exists(self.link) and device.lstat(self.link)
        if link and not stat.S_ISLNK(link.st_mode):
            raise OtaError(
                "REQUIREMENT", "%s is not a link; move it away, the release's link must go there" % self.link
            )
        owned = unsafe_owner(self.layout.real(self.base))
        if owned and self.layout.is_real and (self.payload.get("activate") or self.payload.get("deactivate")):
            message = "%s belongs to others than root, who could exchange the programs of payload %s that root runs; "
            raise OtaError(
                "UNSAFE_PATH", message % (owned, self.payload["name"]) + "give it to root (chown, chmod go-w)"
            )

    def scope(self, touched: t.Collection[str] | None = None) -> Scope:
        """The link, the new directory, and the directories above them that may not exist yet."""
        above = set()
        parent = os.path.dirname(self.directory)
        while parent not in ("/", ""):
            above.add(parent)
            parent = os.path.dirname(parent)
        return Scope(frozenset(above | {self.link, self.link + _NEW}), frozenset({self.directory}))

    def needs(self) -> dict[str, Need]:
        """The extracted files, with a block and an inode for each member, where the destination is."""
        members = self.payload["members"]
        size = sum(entry.get("length", 0) + 4096 for entry in members)
        return {self.base: Need(size, len(members) + 4)}

    def observe(self) -> str | None:
        """The version that the link points to, or None."""
        try:
            with self._device() as device:
                name = os.path.basename(device.readlink(self.link))
        except OSError:
            return None
        version = self.document["version"]
        return version if _is_of(name, version) else _SUFFIX.sub("", name)

    def wanted(self) -> str:
        """The version of the release."""
        return self.document["version"]

    def install(self) -> None:
        """Extract into a fresh directory, make it durable, switch the link, activate."""
        with self._device() as device:
            try:
                remove(device, self.directory)  # an earlier attempt that did not come to its end
                self._make_directories(device, os.path.dirname(self.directory))
                self._extract(device)
            except (OSError, tarfile.TarError) as error:
                message = "extracting %s to %s failed: %s" % (self.payload["name"], self.directory, error)
                full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
                raise OtaError("NO_SPACE" if full else "INSTALL", message) from None
            device.sync(self.directory)
            durable.make_directory(self.layout.file("archives"))
            _placed.write(self._record(self.directory), (entry["path"] for entry in self.payload["members"]))
            self.quiesce()
            temporary = self.link + _NEW
            remove(device, temporary)
            device.symlink(os.path.relpath(self.directory, self.base), temporary)
            device.rename(temporary, self.link)
            device.sync(self.base)
            self.log("%s -> %s" % (self.link, device.readlink(self.link)))
        self.activate()

    def _open(self) -> tarfile.TarFile:
        return open_archive(self.files[self.payload["files"][0]["sha256"]])

    def _device(self) -> Files:
        return Files(self.layout.root, (self.base,))

    def _exists(self, path: str) -> bool:
        with self._device() as device:
            return device.exists(path)

    def _record(self, directory: str) -> str:
        """Where the engine keeps what it put into a directory: it removes nothing else there."""
        return self.layout.file("archives", hashlib.sha256(os.fsencode(directory)).hexdigest() + ".json")

    @staticmethod
    def _make_directories(device: Files, path: str) -> None:
        missing = []
        while path != "/" and not device.is_directory(path):
            missing.append(path)
            path = os.path.dirname(path)
        for folder in reversed(missing):
            device.mkdir(folder, 0o755)

    def _extract(self, device: Files) -> None:
        listed = Listed(self.payload["members"])
        device.mkdir(self.directory, 0o755)
        modes: list[tuple[str, int]] = []
        with self._open() as archive:
            for info in walk(archive):
                entry = listed.get(normal(info.name))
                if entry is None:  # only "." gets here, see require_installable()
                    continue
                path = os.path.join(self.directory, entry["path"])
                self._make_directories(device, os.path.dirname(path))
                if entry["type"] == "directory":
                    self._make_directories(device, path)
                    modes.append((path, int(entry["mode"], 8)))
                elif entry["type"] == "symlink":
                    device.symlink(entry["target"], path)
                elif info.islnk() and listed.number(normal(info.linkname)) is None:
                    raise OtaError("UNLISTED_FILE", "%r in the archive links to %r" % (info.name, info.linkname))
                else:
                    self._file(device, archive, info, entry)
        for path, mode in modes:
            device.chmod(path, mode)

    def _file(self, device: Files, archive: tarfile.TarFile, info: tarfile.TarInfo, entry: Member) -> None:
        with self._content(device, archive, info) as content:
            with os.fdopen(device.create(os.path.join(self.directory, entry["path"])), "wb") as copy:
                digest = hashing.of_stream(content, copy)
                os.fchmod(copy.fileno(), int(entry["mode"], 8))
        if digest != entry["sha256"]:
            raise OtaError("HASH_MISMATCH", "%r in the archive is not what was signed" % entry["path"])

    def _content(self, device: Files, archive: tarfile.TarFile, info: tarfile.TarInfo) -> t.IO[bytes]:
        """What a member holds; a hard link what it leads to, which the archive has before it."""
        if info.islnk():
            try:
                return device.open(os.path.join(self.directory, normal(info.linkname)))
            except OSError as error:
                message = "%r in the archive links to %r, which does not come before it: %s"
                raise OtaError("UNLISTED_FILE", message % (info.name, info.linkname, error.strerror)) from None
        content = archive.extractfile(info) if info.isfile() else None
        if content is None:
            raise OtaError("UNLISTED_FILE", "%r is a file in the release but not in the archive" % info.name)
        return content

    def quiesce(self) -> None:
        """Stop what runs from the directory in use, by its own command; a release without one has nothing to stop."""
        argv = self.payload.get("deactivate")
        directory = self._current()
        if argv and directory and os.path.lexists(os.path.join(self.layout.real(directory), argv[0])):
            self._own(directory, argv)

    def activate(self) -> None:
        """Run the release's own command in the directory the link points to now."""
        argv = self.payload.get("activate")
        directory = self._current()
        if argv and directory:
            self._own(directory, argv)

    def brings_unit(self, name: str) -> bool:
        """Whether a member is called so, or the program that activates the release speaks of it."""
        wanted = {name, units.template(name)}
        if any(os.path.basename(entry["path"]) in wanted for entry in self.payload["members"]):
            return True
        program = (self.payload.get("activate") or [""])[0]
        try:
            with self._open() as archive:
                found = next((info for info in archive if normal(info.name) == program and info.isfile()), None)
                content = archive.extractfile(found) if found else None
                text = content.read() if content else b""
        except (OSError, tarfile.TarError):
            return False
        return any(one.encode() in text for one in wanted)

    def _current(self) -> str | None:
        """The directory that the link leads to, if it is one of ours."""
        with self._device() as device:
            try:
                path = os.path.normpath(os.path.join(self.base, device.readlink(self.link)))
            except OSError:
                return None
            return path if within(path, self.base) and device.is_directory(path) else None

    def _own(self, directory: str, argv: list[str]) -> None:
        environment = {"FLEET_OTA_ROOT": self.layout.root, "FLEET_OTA_IDENTITY": self.layout.file("identity.json")}
        folder = self.layout.real(directory)
        program = os.path.join(folder, argv[0])  # an absolute argv[0] stays itself
        result = self.run([program, *argv[1:]], cwd=folder, environment=environment, timeout=120)
        if result.rc != 0:
            raise OtaError("INSTALL", "%s failed with %d: %s" % (" ".join(argv), result.rc, result.tail))

    def forget(self) -> None:
        """The list of what was put into a directory that is gone again."""
        if not self._exists(self.directory):
            durable.remove(self._record(self.directory))

    def prune(self, versions: t.Collection[str]) -> None:
        """Remove what was installed of releases that are neither in use nor among ``versions``.

        Files that came into their directories since are nobody's to delete: they stay, with the directories that hold
        them, and the log names them. The same goes for what is mounted there.
        """
        releases = self.base + "/releases"
        current = self._current()
        with self._device() as device:
            for name in device.names(releases) if device.is_directory(releases) else []:
                path = os.path.join(releases, name)
                if path != current and not any(_is_of(name, version) for version in versions):
                    self._remove_release(device, path)

    def _remove_release(self, device: Files, path: str) -> None:
        record = self._record(path)
        try:
            try:
                members = _placed.Placed(record)
            except FileNotFoundError:  # an older engine kept no record: all of it, but never through a mount
                remove(device, path)
                return
            left = remove_members(device, path, members)
            if left:
                self.log("%s stays: it holds %s, which no release brought" % (path, ", ".join(left[:5])))
                return
        except OSError as error:
            self.log("%s stays: %s" % (path, error))
            return
        durable.remove(record)


def _is_of(name: str, version: str) -> bool:
    """Whether a directory of that name holds ``version``: under its own name, or with the engine's suffix."""
    return name == version or (name.startswith(version) and bool(_SUFFIX.fullmatch(name[len(version) :])))
