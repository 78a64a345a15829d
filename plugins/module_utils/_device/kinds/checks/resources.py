# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Check ``resources``: memory, processor and disk space stay within limits."""

from __future__ import annotations

import os
import time
import typing as t

from ...base import schema
from ...system import command
from . import Check, Context, Measured, Unhealthy

REQUIRED = ()
_LIMITS = ("memory_available", "free_space", "load", "cpu", "unit_memory")
RULES: dict[str, schema.Rule] = {
    "memory_available": schema.whole(1),
    "free_space": schema.whole(1),
    "path": schema.absolute,
    "load": schema.number(0),
    "cpu": schema.number(0),
    "over": schema.number(0.1),
    "unit_memory": schema.whole(1),
    "unit": schema.matching(schema.UNIT),
}


def complete(check: Check) -> str | None:
    """What is missing in a check whose keys are right by themselves."""
    if not any(limit in check for limit in _LIMITS):
        return "needs a limit: one of %s" % ", ".join(_LIMITS)
    if ("unit_memory" in check) != ("unit" in check):
        return "unit and unit_memory belong together"
    return None


def look(check: Check, context: Context) -> Measured:
    """Measure what is limited, and only that.

    ``memory_available`` and ``free_space`` are at least so many bytes; ``load`` at most so much per processor over the
    last minute; ``cpu`` at most so many percent busy ``over`` seconds (1); ``unit_memory`` at most so many bytes.
    """
    measured: Measured = {}
    wrong = []
    for limit in _LIMITS:
        if limit not in check:
            continue
        measured[limit] = value = _MEASURES[limit](check, context)
        least = limit in ("memory_available", "free_space")
        kept = value >= check[limit] if least else value <= check[limit]
        if not kept:  # also what is no number
            wrong.append("%s is %s, %s %s" % (limit, value, "at least" if least else "at most", check[limit]))
    if wrong:
        raise Unhealthy("; ".join(wrong))
    return measured


def _memory(check: Check, context: Context) -> int:
    with open("/proc/meminfo", encoding="ascii") as handle:
        lines = dict(line.split(":", 1) for line in handle)
    return int(lines["MemAvailable"].split()[0]) * 1024


def _space(check: Check, context: Context) -> int:
    disk = os.statvfs(context.real(check.get("path", "/")))
    return disk.f_bavail * disk.f_frsize


def _load(check: Check, context: Context) -> float:
    return round(os.getloadavg()[0] / (os.cpu_count() or 1), 3)


def _cpu(check: Check, context: Context) -> float:
    before = _ticks()
    time.sleep(float(check.get("over", 1)))
    after = _ticks()
    total = sum(after) - sum(before)
    if total <= 0:
        raise Unhealthy("inconclusive: the kernel counted no processor time")
    idle = after[3] + after[4] - before[3] - before[4]
    return round(100.0 * (total - idle) / total, 1)


def _ticks() -> list[int]:
    with open("/proc/stat", encoding="ascii") as handle:
        return [int(word) for word in handle.readline().split()[1:9]]


def _unit_memory(check: Check, context: Context) -> int:
    if not context.is_real:
        raise Unhealthy("units can be checked on a whole machine only, not in a directory")
    result = command.run(["systemctl", "show", "--property=MemoryCurrent", "--value", "--", check["unit"]])
    if not result.out.strip().isdigit() or int(result.out) >= 1 << 63:
        raise Unhealthy("inconclusive: systemd does not account for the memory of %s" % check["unit"])
    return int(result.out)


_MEASURES: dict[str, t.Callable[[Check, Context], float]] = {
    "memory_available": _memory,
    "free_space": _space,
    "load": _load,
    "cpu": _cpu,
    "unit_memory": _unit_memory,
}
