# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What an archive payload is: the keys of its document, and the description of its tar file.

The signed document lists every member, and a device makes no other.
"""

from __future__ import annotations

import errno
import importlib
import itertools
import os
import pathlib
import re
import tarfile
import typing as t

from ...base import schema
from ...base.errors import lacking
from ...base.index import Index
from ...base.longlist import LongList
from ...base.typed import TypedDict
from ...system.files import hashing
from . import Description, Payload


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
    members: t.Sequence[Member]


class Listed:
    """The members of a signed document by their paths, however many they are."""

    def __init__(self, members: t.Sequence[Member]) -> None:
        self._members = members
        self._index = Index()
        for number, entry in enumerate(members):
            self._index.add(entry["path"], number)

    def number(self, path: str) -> int | None:
        """Which one ``path`` is; None if it is not listed."""
        return next((one for one in self._index.numbers(path) if self._members[one]["path"] == path), None)

    def get(self, path: str) -> Member | None:
        """The member ``path``; None if it is not listed."""
        number = self.number(path)
        return None if number is None else self._members[number]


REQUIRED = ("destination",)
SIGNED_REQUIRED = ("members",)
FILE_RULES: dict[str, schema.Rule] = {}
_MODE = schema.matching(re.compile(r"^[0-7]{4}$"))
#: Bytes of a name, and of a path, that every file system of a device takes.
_LONGEST_NAME, _LONGEST_PATH = 255, 3000
_COMPRESSED = {b"\x1f\x8b": "zlib", b"BZh": "bz2", b"\xfd7zXZ\0": "lzma"}
_ZSTD = b"\x28\xb5\x2f\xfd"
_MEMBERS: dict[str, tuple[dict[str, schema.Rule], tuple[str, ...]]] = {
    "file": ({"length": schema.whole(0), "sha256": schema.matching(schema.SHA256)}, ("length", "sha256")),
    "directory": ({}, ()),
    "symlink": ({"target": schema.text}, ("target",)),
}


def _members(value: object) -> str | None:
    """The rule for ``members``."""
    if not isinstance(value, (list, LongList)) or not value:
        return "must be a list of at least one member"
    before, seen = "", None
    for number, entry in enumerate(value):
        kind = entry.get("type") if isinstance(entry, dict) else None
        if kind not in _MEMBERS:
            return "every member needs a type of %s" % ", ".join(_MEMBERS)
        problems = schema.Problems()
        rules, required = _MEMBERS[kind]
        rules = dict(rules, path=schema.relative, type=schema.anything, mode=_MODE)
        problems.mapping(str(entry.get("path")), entry, rules, required=("path", "mode", *required))
        if problems.found:
            return problems.found[0]
        if seen is None and entry["path"] <= before:  # not sorted, as the ones that are described here are
            seen = {one["path"] for one in itertools.islice(value, number)}
        if seen is not None:
            if entry["path"] in seen:
                return "%r is listed twice" % entry["path"]
            seen.add(entry["path"])
        before = entry["path"]
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


def normal(name: str) -> str:
    """A member's path as the document writes it: without ``./`` in front and ``/`` behind."""
    return os.path.normpath(name)


def open_archive(path: str) -> tarfile.TarFile:
    """The tar file ``path`` for reading, compressed as it is. OtaError ``NO_PYTHON`` where this Python cannot."""
    with open(path, "rb") as handle:
        magic = handle.read(6)
    for begin, name in _COMPRESSED.items():
        if magic.startswith(begin):
            try:
                importlib.import_module(name)
            except ImportError as error:
                raise lacking(error, "an archive that is compressed this way") from None
    return tarfile.open(path, encoding="utf-8")


def walk(archive: tarfile.TarFile) -> t.Iterator[tarfile.TarInfo]:
    """The members of ``archive`` in its order; tarfile itself remembers every one it has seen, some 2 kB of each."""
    while True:
        try:
            info = archive.next()
        except OSError as error:
            if error.errno == errno.EINVAL and archive.offset == 0:
                return  # nothing but zeroes: Python 3.8 looks before its begin
            raise
        if info is None:
            return
        yield info
        archive.members = []  # type: ignore[attr-defined]


def describe(payload: Payload, files: list[pathlib.Path]) -> Description:
    """List the members of the one tar file, sorted by path, with what the device will make of each."""
    if len(files) != 1:
        raise ValueError("an archive payload has exactly one file, not %d" % len(files))
    members: dict[str, Member] = {}
    owners: set[int] = set()
    with files[0].open("rb") as handle:
        if handle.read(4) == _ZSTD:
            message = (
                "%s is compressed with zstd, which Python reads on few devices; compress it with gzip, xz or bzip2"
            )
            raise ValueError(message % files[0].name)
    try:
        with tarfile.open(str(files[0]), encoding="utf-8") as archive:
            for info in archive:
                path = normal(info.name)
                if path == ".":
                    continue
                _require_portable(files[0].name, path, info)
                owners.add(info.uid)
                entry: Member = {"path": path, "mode": "%04o" % (info.mode & 0o7777), "type": "directory"}
                if info.isfile() or info.islnk():
                    content = archive.extractfile(info)
                    if content is None:
                        raise ValueError("%s: member %s links to nothing in it" % (files[0].name, path))
                    digest, length = hashing.of_stream(content), content.tell()
                    entry.update({"type": "file", "length": length, "sha256": digest})
                elif info.issym():
                    entry.update({"type": "symlink", "target": info.linkname})
                elif not info.isdir():
                    raise ValueError("%s: member %s is neither file, directory nor link" % (files[0].name, info.name))
                if path in members:
                    raise ValueError("%s: member %s is there twice" % (files[0].name, path))
                members[path] = entry
    except (tarfile.TarError, KeyError) as error:
        raise ValueError("%s is not a tar file that can be read (%s)" % (files[0].name, error)) from None
    if len(owners) > 1:
        message = "%s: its members belong to several owners (%s), and all of them would be root's on a device; "
        names = ", ".join("uid %d" % owner for owner in sorted(owners))
        raise ValueError(message % (files[0].name, names) + "pack it with --owner=0 --group=0, or make it a package")
    return {"members": [members[path] for path in sorted(members)]}, [{}]


def _require_portable(name: str, path: str, info: tarfile.TarInfo) -> None:
    """ValueError for a member that devices would get otherwise than it is, or not at all."""
    try:
        sizes = [len(part.encode()) for part in path.split("/")]
    except UnicodeEncodeError:
        shown = path.encode("utf-8", "surrogateescape").decode("latin-1")
        raise ValueError("%s: the name of member %r is not UTF-8; rename it" % (name, shown)) from None
    if max(sizes) > _LONGEST_NAME or sum(sizes) + len(sizes) > _LONGEST_PATH:
        raise ValueError("%s: the name of member %s... is too long for a file system; shorten it" % (name, path[:60]))
    capabilities = [key for key in info.pax_headers if key.startswith("SCHILY.xattr.security.")]
    if capabilities:
        message = "%s: member %s has %s, which is not kept; set it in a package or by a unit (AmbientCapabilities=)"
        raise ValueError(message % (name, path, ", ".join(key[len("SCHILY.xattr.") :] for key in capabilities)))
