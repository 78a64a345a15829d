# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.
"""Parts of an enrolment beside identity and trust root: the machine, TLS towards mirrors, and sealed mode."""

from __future__ import annotations

import typing as t

from ..base.errors import OtaError
from ..base.protocol import Request
from ..system.layout import Layout
from . import machine, seal, sealed, tls


class Change(t.NamedTuple):
    """A part of an enrolment: what people see of it before and after, and how it is done."""

    changed: bool
    before: t.Mapping[str, object]
    after: t.Mapping[str, object]
    apply: t.Callable[[], None]


def changes(layout: Layout, request: Request) -> list[Change]:
    """What the request asks for; checked, and not done yet. What it does not name stays as it is."""
    parts = [_binding(layout)]
    if request.get("tls") is not None:
        parts.append(_tls(layout, request["tls"]))
    if request.get("sealed") is not None:
        parts.append(_sealed(layout, request["sealed"], bool(request.get("check"))))
    return parts


def described(
    before: t.Mapping[str, object] | None, after: t.Mapping[str, object], parts: list[Change]
) -> tuple[t.Mapping[str, object] | None, t.Mapping[str, object]]:
    """``before`` and ``after`` of an identity, with those of every part."""
    for one in parts:
        if one.before:
            before = {**(before or {}), **one.before}
        after = {**after, **one.after}
    return before, after


def _binding(layout: Layout) -> Change:
    """Which machine this is; the random instance is shown by ``info`` and not here, where a check would make it up."""
    binding = machine.load(layout)
    renewed = machine.renewed(layout, binding)
    is_copy = binding is not None and renewed["instance"] != binding["instance"]
    before, after = ({"machine": "another one"}, {"machine": "this one"}) if is_copy else ({}, {})
    return Change(renewed != binding, before, after, lambda: machine.store(layout, renewed))


def _tls(layout: Layout, value: object) -> Change:
    texts, present = tls.parse(layout, value), tls.load(layout)
    return Change(
        texts != present, {"tls": tls.shown(present)}, {"tls": tls.shown(texts)}, lambda: tls.store(layout, texts)
    )


def _sealed(layout: Layout, value: object, check: bool) -> Change:
    settings = sealed.parse(value)
    if not check:  # the login may not be there yet
        seal.require_safe(layout, settings)
    present = _present(layout)
    return Change(
        not seal.is_done(layout, settings),
        {"sealed": present.shown() if present else None},
        {"sealed": settings.shown()},
        lambda: seal.seal(layout, settings),
    )


def _present(layout: Layout) -> sealed.Settings | None:
    """The settings that are here; damaged ones are none, so that an administrator can put new ones in their place."""
    try:
        return sealed.load(layout)
    except OtaError:
        return None
