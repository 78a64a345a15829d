# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Data of a release: which paths go back and which stay, and the commands around a snapshot (docs/data.md)."""

from __future__ import annotations

import os
import typing as t

from ..base import schema
from ..base.errors import OtaError
from ..base.typed import TypedDict


class _Choice(TypedDict):
    path: str
    on_restore: str


class Choice(_Choice, total=False):
    """What a request says of a path: ``on_restore`` is ``keep`` or ``restore``."""

    backup: bool


class Migration(TypedDict, total=False):
    """Commands that migrate data to the new release, and back; ``timeout`` in seconds for each."""

    forward: list[str]
    back: list[str]
    timeout: int


class Entry(Choice, total=False):
    """What a release says of a path."""

    migrate: Migration


class Release(TypedDict, total=False):
    """The keys of a release document that are about data; ``quiesce`` and ``resume`` are commands."""

    data: list[Entry]
    quiesce: list[list[str]]
    resume: list[list[str]]


_CHOICE: dict[str, schema.Rule] = {
    "path": schema.absolute,
    "on_restore": schema.choice("keep", "restore"),
    "backup": schema.choice(True, False),
}
_ENTRY: dict[str, schema.Rule] = {**_CHOICE, "migrate": schema.anything}
_ARGV = schema.list_of(schema.text, least=1)
_MIGRATE: dict[str, schema.Rule] = {"forward": _ARGV, "back": _ARGV, "timeout": schema.whole(1, 86400)}


def validate(document: t.Mapping[str, object], problems: schema.Problems) -> None:
    """Add to ``problems`` what is wrong with the three keys of a release document."""
    _entries(document.get("data", []), _ENTRY, problems)
    for key, other in (("quiesce", "resume"), ("resume", "quiesce")):
        wrong = schema.list_of(_ARGV)(document.get(key, []))
        if wrong:
            problems.add(key, wrong)
        if document.get(key) and not document.get(other):
            problems.add(other, "is missing; %s needs its counterpart" % key)


def validate_choice(value: object, problems: schema.Problems) -> None:
    """Add to ``problems`` what is wrong with the ``data`` of a request, which names no commands."""
    _entries(value, _CHOICE, problems)


def _entries(value: object, rules: t.Mapping[str, schema.Rule], problems: schema.Problems) -> None:
    if not isinstance(value, list):
        problems.add("data", "must be a list, not %s" % schema.kind(value))
        return
    seen: set[str] = set()
    for index, entry in enumerate(value):
        where = "data[%d]" % index
        before = len(problems.found)
        if not problems.mapping(where, entry, rules, required=("path", "on_restore")) or len(problems.found) > before:
            continue
        path = os.path.normpath(entry["path"])
        if path in seen:
            problems.add(where + ".path", "%s has an entry already" % path)
        seen.add(path)
        if "migrate" in entry:
            _migrate(where + ".migrate", entry, problems)


def _migrate(where: str, entry: Entry, problems: schema.Problems) -> None:
    value = entry["migrate"]
    if not problems.mapping(where, value, _MIGRATE, required=("forward",)):
        return
    if entry["on_restore"] == "keep" and "back" not in value:
        problems.add(where, "'back' is missing: what stays must be readable by the release before")


def merged(document: Release, requested: object) -> list[Entry]:
    """The data entries of a release, each with what ``requested`` (or None) chooses for its path, and more paths of
    ``requested``. The inventory knows where this device's data is; how it is migrated only the release says.

    OtaError ``RELEASE`` for what is wrong with ``requested``, or with both together.
    """
    problems = schema.Problems()
    validate_choice(requested or [], problems)
    if problems.found:
        raise OtaError("RELEASE", "the data paths of the inventory have errors: %s" % "; ".join(problems.found))
    choices = {os.path.normpath(entry["path"]): entry for entry in t.cast("list[Choice]", requested or [])}
    entries: list[Entry] = []
    for entry in document.get("data", []):
        choice = choices.pop(os.path.normpath(entry["path"]), None)
        one: Entry = {**entry, **choice, "path": entry["path"]} if choice else entry
        if one["on_restore"] == "keep" and "back" not in one.get("migrate", {"back": None}):
            message = "%s cannot be kept: the release migrates it and has no command to migrate it back"
            raise OtaError("RELEASE", message % entry["path"])
        entries.append(one)
    return entries + [{**choice, "path": path} for path, choice in choices.items()]


def paths(entries: t.Iterable[Choice], on_restore: str) -> set[str]:
    """The paths of ``entries`` with this ``on_restore``."""
    return {entry["path"] for entry in entries if entry["on_restore"] == on_restore}


def require_spared(
    requested: t.Sequence[Choice], real: t.Callable[[str], str], single: t.Iterable[str], trees: t.Iterable[str]
) -> None:
    """OtaError ``RELEASE`` if the inventory would keep what the installers change: then nothing could go back.

    A directory that packages only ship, and whose content is data, may be kept.
    """
    for kept in sorted(os.path.normpath(path) for path in paths(requested, "keep")):
        below = kept + "/"
        touched = [path for path in trees if path == kept or path.startswith(below)]
        touched += [path for path in single if path.startswith(below) and not _is_directory(real(path))]
        touched += [
            path for path in single if path == kept and os.path.lexists(real(path)) and not _is_directory(real(path))
        ]
        if touched:
            message = (
                "%s cannot be kept: the release installs %s, which must be able to go back; name the data below it"
            )
            raise OtaError("RELEASE", message % (kept, sorted(touched)[0]))


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)
