# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Kinds of health check: one file per kind beside this one, found by its name.

A kind's module has ``RULES`` and ``REQUIRED`` for its own keys, ``complete(check)`` if there is more to say about them
together, and ``look(check, context)`` which raises :class:`Unhealthy` with a sentence or returns what was measured.
A look runs in a thread of its own with a deadline over all: ``wait`` of the check, or ``WAIT`` of its kind, in seconds.
Anything else that goes wrong in it is unhealthy too: inconclusive is not healthy.
"""

from __future__ import annotations

import re
import types
import typing as t

from ... import kinds as registry
from ...base import schema
from ...base.typed import TypedDict
from ...system.layout import Layout


class Unhealthy(Exception):
    """A check that did not pass, with the reason for people."""


#: Seconds that a look may take where a check does not say, nor its kind (``WAIT``).
WAIT = 60.0
#: What a look measured; the keys are each kind's own.
Measured = t.Dict[str, t.Any]
#: A check of a release document: ``name``, ``type``, and each kind's own keys.
Check = t.Mapping[str, t.Any]


class Finding(TypedDict):
    """What a look at one check said; ``reason`` is for people, and empty where all is well."""

    ok: bool
    reason: str
    measured: Measured


class Section(TypedDict, total=False):
    """``health`` of a release document; times in seconds."""

    checks: t.Sequence[Check]
    passes: int
    interval: float
    timeout: float
    settle: float


class Context(t.NamedTuple):
    """What a check may compare with: whether the device is a whole machine, the baseline's measurements, its root."""

    is_real: bool
    baseline: Measured
    root: str = "/"

    def real(self, path: str) -> str:
        """The path in this process's file system of ``path`` as the device sees it."""
        return Layout(self.root).real(path)


def kinds() -> list[str]:
    """The kinds of check that this engine has."""
    return registry.names(__path__)


def module(kind: object) -> types.ModuleType | None:
    """The module of check ``kind``, or None."""
    return registry.module(__name__, __path__, kind)


#: What a dollar sign may be: one for itself, or the begin of a label.
_DOLLAR = re.compile(r"\$\$|\$\{[A-Za-z_][A-Za-z0-9_]*\}")
_TIMES: dict[str, schema.Rule] = {
    "passes": schema.whole(1),
    "interval": schema.number(0.05),
    "timeout": schema.number(0),
    "settle": schema.number(0),
}


def _stray_dollar(value: object) -> str | None:
    """The first text in ``value`` with a dollar sign that is neither ``$$`` nor the begin of ``${word}``."""
    if isinstance(value, str):
        return value if "$" in _DOLLAR.sub("", value) else None
    parts: t.Iterable[object] = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((text for part in parts for text in [_stray_dollar(part)] if text), None)


def validate(where: str, health: object, problems: schema.Problems, *, author: bool = False) -> None:
    """Add to ``problems`` every mistake of a ``health`` section; ``author``: also what only a publisher is refused."""
    if not problems.mapping(where, health, dict(_TIMES, checks=schema.list_of(schema.anything))):
        return
    names = set()
    checks = health.get("checks") if isinstance(health, dict) else None
    for index, check in enumerate(checks if isinstance(checks, list) else []):
        here = "%s.checks[%d]" % (where, index)
        if not isinstance(check, dict):
            problems.add(here, "must be a mapping, not %s" % schema.kind(check))
            continue
        implementation = module(check.get("type"))
        if implementation is None:
            problems.add(here + ".type", "%r is not a kind of check (%s)" % (check.get("type"), ", ".join(kinds())))
            continue
        rules = dict(implementation.RULES, name=schema.matching(schema.NAME), type=schema.anything)
        problems.mapping(here, check, rules, required=("name", "type", *implementation.REQUIRED))
        wrong = implementation.complete(check) if hasattr(implementation, "complete") else None
        if wrong:
            problems.add(here, wrong)
        stray = _stray_dollar(check) if author else None
        if stray:
            message = "%r has a $ that begins no label; write ${word} for a label of the device, $$ for a dollar sign"
            problems.add(here, message % stray)
        if check.get("name") in names:
            problems.add(here + ".name", "%r is taken by an earlier check; names are unique" % check.get("name"))
        names.add(check.get("name"))
