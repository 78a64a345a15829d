# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What a sealed device holds its controller to: ``sealed.json``, written at enrolment and never by a request.

A device is sealed when this file is there. The login of the controller may then run one program and nothing else;
what a request may ask of that program is in :mod:`admission`.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..base import schema, urls
from ..base.errors import OtaError
from ..system import durable
from ..system.layout import Layout

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Settings:
    """What an administrator set at enrolment; the defaults allow least.

    ``login`` may run the program. ``require_approval``: a release needs an approved plan. ``rollback``: a confirmed
    release may be gone back from, which is a downgrade. ``retry_rejected``: what failed here may be offered again.
    ``protect``: absolute paths that a request may name under ``protect``. ``mirrors``: URLs of repositories from
    which payloads may be pulled. ``longest_deadline`` in seconds, ``inbox_bytes`` of staged payloads at most.
    """

    login: str
    require_approval: bool = True
    rollback: bool = False
    retry_rejected: bool = False
    protect: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()
    longest_deadline: int = 86400
    inbox_bytes: int = 4 << 30

    def as_dict(self) -> dict[str, object]:
        """The settings as ``sealed.json`` has them."""
        return {
            "format": FORMAT,
            **dataclasses.asdict(self),
            "protect": list(self.protect),
            "mirrors": list(self.mirrors),
        }

    def shown(self) -> dict[str, object]:
        """The settings as replies have them: without what addresses hold of credentials."""
        return {**self.as_dict(), "mirrors": [urls.shown(url) for url in self.mirrors]}


def _mirror(value: object) -> str | None:
    wrong = schema.text(value)
    if wrong is None and not str(value).startswith(("http://", "https://")):
        wrong = "%r must begin with http:// or https://" % value
    return wrong


_BOOLEAN = schema.choice(True, False)
_RULES: dict[str, schema.Rule] = {
    "format": schema.choice(FORMAT),
    "login": schema.matching(schema.LOGIN),
    "require_approval": _BOOLEAN,
    "rollback": _BOOLEAN,
    "retry_rejected": _BOOLEAN,
    "protect": schema.list_of(schema.absolute),
    "mirrors": schema.list_of(_mirror),
    "longest_deadline": schema.whole(5),
    "inbox_bytes": schema.whole(1),
}


def parse(value: object) -> Settings:
    """``value`` as settings; OtaError ``SEALED`` with every mistake otherwise."""
    problems = schema.Problems()
    problems.mapping("sealed", value, _RULES, required=("login",))
    if problems.found:
        raise OtaError("SEALED", "the settings of sealed mode have errors: %s" % "; ".join(problems.found))
    entries = t.cast("dict[str, object]", value).items()
    settings: dict[str, t.Any] = {key: tuple(entry) if isinstance(entry, list) else entry for key, entry in entries}
    settings.pop("format", None)
    return Settings(**settings)


def path(layout: Layout) -> str:
    """Where the settings lie, for root only."""
    return layout.file("sealed.json")


def load(layout: Layout) -> Settings | None:
    """The settings of a sealed device, None on any other; OtaError ``SEALED`` when they cannot be read.

    A file that is there but damaged never means that the device is not sealed.
    """
    try:
        value = durable.read_json(path(layout))
    except OtaError as error:
        message = "%s is damaged (%s); enroll the device again with admin rights"
        raise OtaError("SEALED", message % (path(layout), error.message)) from error
    return None if value is None else parse(value)


def required(layout: Layout) -> Settings:
    """:func:`load` for the program of a sealed device, where there must be settings."""
    settings = load(layout)
    if settings is None:
        message = "%s is gone; this device answers no request until it is enrolled again with admin rights"
        raise OtaError("SEALED", message % path(layout))
    return settings
