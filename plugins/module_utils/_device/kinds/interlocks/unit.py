# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Interlock ``unit``: held while a systemd unit is at work."""

from __future__ import annotations

from ...base import schema
from ...system import command
from . import TIMEOUT, Context, Entry, Unknown

HARMLESS = False
REQUIRED = ("unit",)
RULES: dict[str, schema.Rule] = {"unit": schema.matching(schema.UNIT)}
#: What systemctl(1) ``is-active`` says of a unit that is not at work; ``unknown`` is one that is not installed.
_AT_REST = ("inactive", "failed", "unknown")


def look(entry: Entry, context: Context) -> str | None:
    """Starting, stopping and reloading are work too."""
    if not context.is_real or not command.has_systemd():
        raise Unknown("no systemd runs here that could be asked for %s" % entry["unit"])
    result = command.run(["systemctl", "is-active", "--", entry["unit"]], timeout=entry.get("timeout", TIMEOUT))
    state = result.out.strip()
    if not state or result.rc == 124:
        raise Unknown("systemctl is-active %s: %s" % (entry["unit"], result.tail or "ended with %d" % result.rc))
    return None if state in _AT_REST else "%s is %s" % (entry["unit"], state)
