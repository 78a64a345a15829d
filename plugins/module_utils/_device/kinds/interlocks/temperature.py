# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Interlock ``temperature``: held while the hottest zone is above a limit.

As the kernel has it (Documentation/driver-api/thermal/sysfs-api.rst), in thousandths of a degree Celsius.
"""

from __future__ import annotations

import re

from ...base import schema
from . import Context, Entry, Unknown, _sysfs

HARMLESS = True
REQUIRED = ("max",)
RULES: dict[str, schema.Rule] = {"max": schema.number(-273.15), "zone": schema.text}
FOLDER = "/sys/class/thermal"
_NUMBER = re.compile(r"^-?[0-9]+\Z")


def look(entry: Entry, context: Context) -> str | None:
    """``max`` in degrees Celsius, of all zones or of those of the type ``zone``; no zone says nothing."""
    zone = entry.get("zone")
    degrees: dict[str, float] = {}
    for path in _sysfs.folders(context.real(FOLDER)):
        one = _sysfs.texts(path, "type", "temp")
        if _NUMBER.match(one["temp"]) and zone in (None, one["type"]):
            degrees[one["type"]] = max(int(one["temp"]) / 1000, degrees.get(one["type"], -274.0))
    if not degrees:
        raise Unknown("there is no temperature of %s" % (zone or "any zone"))
    hottest = max(degrees, key=lambda name: degrees[name])
    if degrees[hottest] <= entry["max"]:
        return None
    return "%s has %.1f degrees, more than %s" % (hottest, degrees[hottest], entry["max"])
