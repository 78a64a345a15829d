# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.
"""Parts of an enrolment beside identity and trust root: the machine, TLS towards mirrors, and sealed mode."""

from __future__ import annotations

import typing as t

from ..base.errors import OtaError
from ..system.layout import Layout
from . import machine, seal, sealed, tls


class Change(t.NamedTuple):
    """A part of an enrolment: what people see of it before and after, and how it is done."""

    changed: bool
    before: dict[str, t.Any]
    after: dict[str, t.Any]
    apply: t.Callable[[], None]


def changes(layout: Layout, request: t.Mapping[str, t.Any]) -> list[Change]:
    """What the request asks for; checked, and not done yet. What it does not name stays as it is."""
    found = [_binding(layout)]
    if request.get("tls") is not None:
        found.append(_tls(layout, request["tls"]))
    if request.get("sealed") is not None:
        found.append(_sealed(layout, request["sealed"], bool(request.get("check"))))
    return found


def described(reply: dict[str, t.Any], more: list[Change]) -> dict[str, t.Any]:
    """``reply`` with ``before`` and ``after`` of every part."""
    for one in more:
        if one.before:
            reply["before"] = {**(reply["before"] or {}), **one.before}
        reply["after"] = {**reply["after"], **one.after}
    return reply


def _binding(layout: Layout) -> Change:
    """Which machine this is; the random instance is shown by ``info`` and not here, where a check would make it up."""
    found = machine.load(layout)
    wanted = machine.renewed(layout, found)
    is_copy = found is not None and wanted["instance"] != found["instance"]
    before, after = ({"machine": "another one"}, {"machine": "this one"}) if is_copy else ({}, {})
    return Change(wanted != found, before, after, lambda: machine.store(layout, wanted))


def _tls(layout: Layout, value: t.Any) -> Change:
    wanted, found = tls.check(layout, value), tls.load(layout)
    return Change(
        wanted != found, {"tls": tls.shown(found)}, {"tls": tls.shown(wanted)}, lambda: tls.store(layout, wanted)
    )


def _sealed(layout: Layout, value: t.Any, check: bool) -> Change:
    settings = sealed.check(value)
    if not check:  # the login may not be there yet
        seal.check(layout, settings)
    found = _found(layout)
    return Change(
        not seal.is_done(layout, settings),
        {"sealed": found.shown() if found else None},
        {"sealed": settings.shown()},
        lambda: seal.seal(layout, settings),
    )


def _found(layout: Layout) -> sealed.Settings | None:
    """The settings that are here; damaged ones are none, so that an administrator can put new ones in their place."""
    try:
        return sealed.load(layout)
    except OtaError:
        return None
