# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Who this device is, by its own file: releases are compared with this, never with an inventory variable."""

from __future__ import annotations

import typing as t

from ..base import schema
from ..base.errors import OtaError
from ..base.typed import TypedDict
from ..system import kept
from ..system.layout import Layout

FORMAT = 1
NAME = "identity.json"
_RULES: dict[str, schema.Rule] = {
    "format": schema.choice(FORMAT),
    "name": schema.text,
    "hardware": schema.text,
    "site": lambda value: None if value == "" else schema.text(value),
    "labels": schema.anything,
}


class Document(TypedDict):
    """``identity.json``."""

    format: int
    name: str
    hardware: str
    site: str
    labels: dict[str, str]


def parse(value: object) -> Document:
    """``value`` as an identity; OtaError ``NO_IDENTITY`` otherwise."""
    problems = schema.Problems()
    if problems.mapping("identity", value, _RULES, required=("name", "hardware")) and isinstance(value, dict):
        labels = value.get("labels", {})
        if isinstance(labels, dict):
            problems.mapping("identity.labels", labels, dict.fromkeys(labels, schema.text))
        else:
            problems.add("identity.labels", "must be a mapping of texts")
    if problems.found:
        raise OtaError("NO_IDENTITY", "; ".join(problems.found))
    complete = {"format": FORMAT, "site": "", "labels": {}, **t.cast("dict[str, object]", value)}
    return t.cast(Document, complete)


def store(layout: Layout, document: Document) -> None:
    """Keep it; durable when this returns."""
    kept.write(layout, NAME, t.cast("t.Mapping[str, object]", document))


class Identity:
    """The identity of an enrolled device."""

    def __init__(self, layout: Layout) -> None:
        value = kept.read(layout, NAME)
        if value is None:
            message = "this device has no identity (%s); enroll it first" % layout.file("identity.json")
            raise OtaError("NO_IDENTITY", message)
        self.value = parse(value)

    @property
    def words(self) -> dict[str, str]:
        """What ``${word}`` in a release means here; labels never hide the fixed keys."""
        value = self.value
        fixed = {"name": value["name"], "hardware": value["hardware"], "site": value["site"]}
        return {**value["labels"], **{key: str(text) for key, text in fixed.items()}}

    def match(self, compatible: t.Mapping[str, t.Sequence[str]]) -> None:
        """OtaError ``INCOMPATIBLE`` unless every key of ``compatible`` holds this device's own value."""
        words = self.words
        for key, allowed in sorted(compatible.items()):
            if words.get(key) not in allowed:
                message = "the release is for %s %s; this device is %s"
                raise OtaError("INCOMPATIBLE", message % (key, " or ".join(allowed), words.get(key, "without " + key)))
