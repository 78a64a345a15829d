# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Interlocks: a device says *not now* (docs/interlocks.md). One file per kind beside this one, found by its name.

A kind's module has ``RULES`` and ``REQUIRED`` for its own keys, ``HARMLESS`` if a sealed device takes it from a request
(it runs, asks and reads nothing that the request names), and ``look(entry, context)``: None to go, or why not now. It
raises :class:`Unknown` when it cannot tell; then the entry's ``unknown`` decides, and anything else that goes wrong in
it is that too.
"""

from __future__ import annotations

import json
import os
import stat
import types
import typing as t

from ... import kinds as registry
from ...base import schema
from ...base.errors import OtaError
from ...system.layout import Layout
from .. import checks
from ..checks import Context

#: Seconds that one interlock has by default, and at most: a device must not wait long to hear *not now*.
TIMEOUT, LONGEST = 5, 30
#: Interlocks of one source at most.
MOST = 32
FOLDER = "/etc/fleet-ota/interlocks.d"
#: Where an interlock of a request says that it comes from.
REQUEST = "the rollout"
#: An interlock: ``name``, ``type``, ``unknown``, ``timeout``, and each kind's own keys.
Entry = t.Mapping[str, t.Any]


class Unknown(Exception):
    """It cannot be told whether the device may go, with the reason for people."""


class Held(t.NamedTuple):
    """An interlock that says not now: its name, its kind, where it comes from, and why."""

    name: str
    type: str
    source: str
    reason: str


def kinds() -> list[str]:
    """The kinds of interlock that this engine has."""
    return registry.names(__path__)


def module(kind: object) -> types.ModuleType | None:
    """The module of interlock ``kind``, or None."""
    return registry.module(__name__, __path__, kind)


def is_harmless(kind: str) -> bool:
    """Whether a sealed device takes this kind from a request."""
    implementation = module(kind)
    return implementation is not None and bool(implementation.HARMLESS)


def _seconds(value: object) -> str | None:
    wrong = schema.number(0.1)(value)
    if wrong is None and isinstance(value, (int, float)) and value > LONGEST:
        wrong = "%s is more than %d s" % (value, LONGEST)
    return wrong


_COMMON: dict[str, schema.Rule] = {
    "name": schema.matching(schema.NAME),
    "type": schema.anything,
    "unknown": schema.choice("go", "hold"),
    "timeout": _seconds,
}


def validate(where: str, entries: object, problems: schema.Problems) -> None:
    """Add to ``problems`` every mistake of a list of interlocks."""
    if not isinstance(entries, list):
        problems.add(where, "must be a list, not %s" % schema.kind(entries))
        return
    if len(entries) > MOST:
        problems.add(where, "more than %d interlocks would take too long" % MOST)
        return
    names = set()
    for index, entry in enumerate(entries):
        here = "%s[%d]" % (where, index)
        if not isinstance(entry, dict):
            problems.add(here, "must be a mapping, not %s" % schema.kind(entry))
            continue
        implementation = module(entry.get("type"))
        if implementation is None:
            problems.add(here + ".type", "%r is not a kind of interlock (%s)" % (entry.get("type"), ", ".join(kinds())))
            continue
        problems.mapping(
            here, entry, dict(_COMMON, **implementation.RULES), required=("name", "type", *implementation.REQUIRED)
        )
        name = str(entry.get("name"))
        if name in names:
            problems.add(here + ".name", "%r is taken by an earlier interlock; names are unique" % name)
        names.add(name)


def held(layout: Layout, entries: t.Sequence[Entry], source: str) -> list[Held]:
    """Those of ``entries`` that say not now. They are asked side by side: all take as long as the slowest."""
    if not entries:
        return []
    import concurrent.futures  # only here: most updates have none, and it takes long to load

    context = checks.Context(layout.is_real, {}, layout.root)
    with concurrent.futures.ThreadPoolExecutor(len(entries)) as pool:
        reasons = list(pool.map(lambda entry: _reason(entry, context), entries))
    return [
        Held(entry["name"], entry["type"], source, reason)
        for entry, reason in zip(entries, reasons)
        if reason is not None
    ]


def _reason(entry: Entry, context: Context) -> str | None:
    implementation = module(entry["type"])
    try:
        return t.cast("str | None", implementation.look(entry, context)) if implementation else None
    except Unknown as error:
        reason = str(error)
    except Exception as error:  # a device in an unforeseen state: the interlock cannot tell
        reason = "%s: %s" % (type(error).__name__, error)
    return None if entry.get("unknown") == "go" else "cannot tell: %s" % reason


def require_free(holding: t.Sequence[Held]) -> None:
    """OtaError ``INTERLOCK`` if any of them holds."""
    if holding:
        texts = "; ".join("%s: %s" % (one.name, one.reason) for one in holding)
        message = "not now (%s); nothing was touched, the next run asks again"
        raise OtaError("INTERLOCK", message % texts, held=[one._asdict() for one in holding])


def ask(layout: Layout, requested: object) -> None:
    """OtaError ``INTERLOCK`` if one of the device's own or of ``requested`` (a list, or None) says not now.

    ``INTERLOCK_SPEC`` if any of them has mistakes: then it is unknown what it was meant to hold.
    """
    problems = schema.Problems()
    entries = requested or []
    validate("interlocks", entries, problems)
    sources = {path: _read(layout, path, problems) for path in _files(layout, problems)}
    if problems.found:
        message = "interlocks have errors: %s; nothing is done while it is not known what they hold"
        raise OtaError("INTERLOCK_SPEC", message % "; ".join(problems.found), problems=problems.found)
    sources[REQUEST] = entries if isinstance(entries, list) else []
    require_free([one for source, listed in sources.items() for one in held(layout, listed, source)])


def _files(layout: Layout, problems: schema.Problems) -> list[str]:
    """The device's own files, as the device sees their paths."""
    folder = layout.real(FOLDER)
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.add(FOLDER, "cannot be read (%s)" % error.strerror)
        return []
    _owned(FOLDER, os.stat(folder), problems)
    return ["%s/%s" % (FOLDER, name) for name in names if name.endswith(".json") and not name.startswith(".")]


def _read(layout: Layout, path: str, problems: schema.Problems) -> list[Entry]:
    try:
        with open(layout.real(path), encoding="utf-8") as handle:
            _owned(path, os.fstat(handle.fileno()), problems)
            entries = json.load(handle)
    except (OSError, ValueError) as error:
        problems.add(path, "cannot be read (%s)" % error)
        return []
    validate(path, entries, problems)
    return entries if isinstance(entries, list) else []


def _owned(path: str, info: os.stat_result, problems: schema.Problems) -> None:
    """Who may write here decides what root runs."""
    if info.st_uid not in (0, os.geteuid()) or info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        problems.add(path, "others than root may write to it; chown root and chmod go-w it")
