# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Check ``command``: a program ends with an exit code."""

from __future__ import annotations

import typing as t

from ...base import schema
from ...system import command
from . import Context, Unhealthy

REQUIRED = ("argv",)
RULES: dict[str, schema.Rule] = {
    "argv": schema.list_of(schema.text, least=1),
    "rc": schema.whole(0, 255),
    "wait": schema.number(0.1),
}


def look(check: t.Mapping[str, t.Any], context: Context) -> dict[str, t.Any]:
    """Run it once, without a shell."""
    result = command.run(check["argv"], timeout=float(check.get("wait", 30)))
    wanted = check.get("rc", 0)
    if result.rc != wanted:
        raise Unhealthy("%s ended with %d, not %d: %s" % (" ".join(check["argv"]), result.rc, wanted, result.tail))
    return {"rc": result.rc}
