# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Data of a release: which paths go back and which stay, and the commands around a snapshot (docs/data.md)."""

from __future__ import annotations

import typing as t

from . import schema

_ENTRY: dict[str, schema.Rule] = {"path": schema.absolute, "on_restore": schema.choice("keep", "restore")}


def validate(document: t.Mapping[str, t.Any], problems: schema.Problems) -> None:
    """Add to ``problems`` what is wrong with the three keys of a release document."""
    entries = document.get("data", [])
    if not isinstance(entries, list):
        problems.add("data", "must be a list, not %s" % schema.kind(entries))
        entries = []
    for index, entry in enumerate(entries):
        problems.mapping("data[%d]" % index, entry, _ENTRY, required=("path", "on_restore"))
    for key, other in (("quiesce", "resume"), ("resume", "quiesce")):
        wrong = schema.list_of(schema.list_of(schema.text, least=1))(document.get(key, []))
        if wrong:
            problems.add(key, wrong)
        if document.get(key) and not document.get(other):
            problems.add(other, "is missing; %s needs its counterpart" % key)


def paths(document: t.Mapping[str, t.Any], on_restore: str) -> set[str]:
    """The data paths of a release with this ``on_restore``."""
    return {entry["path"] for entry in document.get("data", []) if entry["on_restore"] == on_restore}
