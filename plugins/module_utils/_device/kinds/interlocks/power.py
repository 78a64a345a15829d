# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Interlock ``power``: held on battery, or below a charge.

As the kernel has it (Documentation/ABI/testing/sysfs-class-power).
"""

from __future__ import annotations

from ...base import schema
from . import Context, Entry, Unknown, _sysfs

HARMLESS = True
REQUIRED = ()
RULES: dict[str, schema.Rule] = {"min_percent": schema.whole(0, 100)}
FOLDER = "/sys/class/power_supply"


def look(entry: Entry, context: Context) -> str | None:
    """Mains is go; on battery the fullest one must have ``min_percent``, without which only mains is go.

    A device without any power supply that could run it knows no battery: it is on mains.
    """
    supplies = [_sysfs.texts(path, "type", "scope", "online", "present", "status", "capacity")
                for path in _sysfs.folders(context.real(FOLDER))]  # fmt: skip
    supplies = [one for one in supplies if one["scope"] != "Device"]  # a mouse's
    lines = [one for one in supplies if one["type"] not in ("Battery", "UPS")]
    batteries = [one for one in supplies if one["type"] in ("Battery", "UPS") and one["present"] != "0"]
    if any(one["online"] in ("1", "2") for one in lines) or (not batteries and not lines):
        return None
    if any(one["status"] in ("Charging", "Full", "Not charging") for one in batteries):
        return None  # of boards that have no supply of their own for the mains
    if not batteries:
        raise Unknown("no power supply is online and there is no battery")
    charges = [int(one["capacity"]) for one in batteries if one["capacity"].isdigit()]
    least = entry.get("min_percent")
    if least is None:
        return "the device runs on battery"
    if not charges:
        raise Unknown("the device runs on battery, which does not say its charge")
    return None if max(charges) >= least else "the battery has %d %%, not %d %%" % (max(charges), least)
