# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The release document: parse, validate, describe, compare (docs/reference/release.md).

Serves device and controller alike; it is the one file of the device engine that the controller's engine imports.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import typing as t

from ..base import longlist, schema
from ..base.errors import OtaError
from ..base.typed import TypedDict
from ..kinds import checks
from ..kinds import payloads as installers
from . import data

FORMAT = 1


class Origin(TypedDict, total=False):
    """``from`` of a release: which releases it can be installed over."""

    counter: int
    versions: list[str]
    fresh: bool


class Requirements(TypedDict, total=False):
    """``requires`` of a release, in bytes."""

    free_space: int


class _Required(installers.Release):
    format: int
    counter: int


if t.TYPE_CHECKING:  # ``from`` cannot be the name of an attribute
    _From = TypedDict("_From", {"from": Origin}, total=False)
else:

    class _From(TypedDict):
        pass


class Document(_Required, _From, data.Release, total=False):
    """A release document, signed or as its author wrote it (docs/reference/release.md)."""

    description: str
    compatible: dict[str, list[str]]
    requires: Requirements
    protect: list[str]
    reboot: str
    health: checks.Section


class Installed(TypedDict):
    """As much of an installed release as decides which ones can follow."""

    version: str
    counter: int


class ReleaseError(OtaError):
    """A release document with mistakes: ``problems`` lists each as ``where: what; what to do``."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("RELEASE", "the release document has errors: %s" % "; ".join(problems), problems=problems)
        self.problems = problems


_RULES: dict[str, schema.Rule] = {
    "format": schema.choice(FORMAT),
    "name": schema.matching(schema.NAME),
    "version": schema.matching(schema.VERSION),
    "counter": schema.whole(1),
    "description": schema.text,
    "compatible": schema.anything,
    "requires": schema.anything,
    "from": schema.anything,
    "payloads": schema.list_of(schema.anything, least=1),
    "protect": schema.list_of(schema.absolute),
    "data": schema.anything,
    "quiesce": schema.anything,
    "resume": schema.anything,
    "reboot": schema.choice("never", "if_needed", "always"),
    "health": schema.anything,
}

_FROM: dict[str, schema.Rule] = {
    "counter": schema.whole(1),
    "versions": schema.list_of(schema.matching(schema.VERSION), least=1),
    "fresh": schema.choice(True, False),
}


def canonical(document: t.Mapping[str, object]) -> bytes:
    """The bytes that are signed: UTF-8 JSON, sorted keys, no blanks, one line feed at the end."""
    return (json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n").encode()


def digest(content: bytes) -> str:
    """The release's digest: SHA-256 of its canonical bytes, in hex."""
    return hashlib.sha256(content).hexdigest()


def parse(content: str | bytes) -> Document:
    """The signed form of a release document from its bytes.

    Raises :class:`ReleaseError` with every mistake.
    """
    return _checked(lambda: json.loads(content, object_pairs_hook=_unique))


def load(source: longlist.Source) -> Document:
    """:func:`parse` for a device: tens of thousands of members stay where the document is."""
    return _checked(lambda: longlist.load(source, "members", _unique))


def _checked(read: t.Callable[[], object]) -> Document:
    try:
        document = read()
        problems = validate(document, signed=True)
    except ValueError as error:
        raise ReleaseError(["document: is not JSON (%s); publish it again" % error]) from None
    if problems:
        raise ReleaseError(problems)
    return t.cast(Document, document)


def validate(document: object, *, signed: bool) -> list[str]:
    """Every mistake in ``document``, in its ``signed`` form or as its author wrote it."""
    problems = schema.Problems()
    required = ("format", "name", "version", "counter", "payloads")
    if not problems.mapping("", document, _RULES, required=required) or not isinstance(document, dict):
        return problems.found
    compatible = document.get("compatible", {})
    if not isinstance(compatible, dict):
        problems.add("compatible", "must be a mapping of identity keys to lists")
    else:
        rule = schema.list_of(schema.text, least=1)
        problems.mapping("compatible", compatible, dict.fromkeys(compatible, rule))
    problems.mapping("from", document.get("from", {}), _FROM)
    problems.mapping("requires", document.get("requires", {}), {"free_space": schema.whole(0)})
    names: list[str] = []
    payloads = document.get("payloads")
    for index, payload in enumerate(payloads if isinstance(payloads, list) else []):
        where = "payloads[%d]" % index
        installers.validate(where, payload, signed=signed, problems=problems)
        if isinstance(payload, dict) and isinstance(payload.get("name"), str):
            if payload["name"] in names:
                problems.add(where + ".name", "%r is taken by an earlier payload; names are unique" % payload["name"])
            names.append(payload["name"])
    data.validate(document, problems)
    if not signed:
        _validate_places(document, problems)
    checks.validate("health", document.get("health", {}), problems, author=not signed)
    return problems.found


def _validate_places(document: t.Mapping[str, t.Any], problems: schema.Problems) -> None:
    """Add to ``problems`` destinations that get into each other's way, and data that covers one.

    Only of what is published from now on: a device goes on taking what was signed before.
    """
    places: dict[str, str] = {}
    for index, payload in enumerate(document["payloads"] if isinstance(document["payloads"], list) else []):
        value = payload.get("destination") if isinstance(payload, dict) else None
        if not isinstance(value, str):
            continue
        place, where = os.path.normpath(value), "payloads[%d].destination" % index
        if schema.kernels(place):
            problems.add(where, "%s is made by the kernel or at each boot; name a place that stays" % place)
        for other in places:
            if _covers(place, other) or _covers(other, place):
                problems.add(
                    where,
                    "%s and %s (%s) would overwrite each other; give each its own" % (place, other, places[other]),
                )
        places[place] = where
    protect = document.get("protect", [])
    for index, path in enumerate(protect if isinstance(protect, list) else []):
        if isinstance(path, str) and schema.kernels(path):
            problems.add("protect[%d]" % index, "%s is made by the kernel or at each boot; name files that stay" % path)
    for index, entry in enumerate(document.get("data", []) if isinstance(document.get("data"), list) else []):
        if not isinstance(entry, dict) or entry.get("on_restore") != "keep" or not isinstance(entry.get("path"), str):
            continue
        kept = os.path.normpath(entry["path"])
        for place in places:
            if any(_covers(kept, part) for part in (place + "/current", place + "/releases")):
                message = "%s holds what the release installs in %s, which must be able to go back; name the data in it"
                problems.add("data[%d].path" % index, message % (kept, place))


def _covers(tree: str, path: str) -> bool:
    return path == tree or path.startswith(tree.rstrip("/") + "/")


def describe(source: t.Mapping[str, object], folder: pathlib.Path) -> tuple[Document, dict[str, pathlib.Path]]:
    """The signed form of what an author wrote, and the payload files it binds.

    ``source`` is the author's form, ``folder`` is what its ``source`` paths are relative to. The second value maps
    each file's SHA-256 to the file. Raises :class:`ReleaseError` with every mistake, missing files included.
    """
    problems = validate(source, signed=False)
    if problems:
        raise ReleaseError(problems)
    author = t.cast(Document, source)
    document: Document = {**author, "payloads": []}
    files: dict[str, pathlib.Path] = {}
    for index, payload in enumerate(author["payloads"]):
        try:
            described, by_digest = installers.describe(payload, folder)
        except ValueError as error:
            problems.append("payloads[%d].source: %s" % (index, error))
            continue
        document["payloads"].append(described)
        files.update(by_digest)
    problems = problems or validate(document, signed=True)
    if problems:
        raise ReleaseError(problems)
    return document, files


def obstacle(document: Document, current: Installed | None) -> str | None:
    """Why a device whose confirmed release is ``current`` {version, counter} cannot take ``document`` directly.

    None if it can. What must be passed through on the way is what Cincinnati and OS vendors call barrier releases.
    """
    origin = document.get("from", {})
    if current is None:
        return None if origin.get("fresh", True) else "it is an update only, and nothing of that name is installed here"
    counter, versions = origin.get("counter", 0), origin.get("versions")
    if current["counter"] < counter:
        message = "it goes over counter %d or newer only, here is %s with counter %d"
        return message % (counter, current["version"], current["counter"])
    if versions is not None and current["version"] not in versions:
        return "it goes over %s only, here is %s" % (", ".join(versions), current["version"])
    return None


def payload_files(document: Document) -> list[installers.File]:
    """Every payload file of a signed document: ``{name, length, sha256}``, once per digest, in order."""
    seen: dict[str, installers.File] = {}
    for payload in document["payloads"]:
        for entry in payload["files"]:
            seen.setdefault(
                entry["sha256"], {"name": entry["name"], "length": entry["length"], "sha256": entry["sha256"]}
            )
    return list(seen.values())


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object whose keys are unique: two readers must never see two different values (parser differentials)."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object has the same key twice")
    return result
