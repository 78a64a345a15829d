# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Who is in which wave, before order and budget have their say (docs/reference/plan.md)."""

from __future__ import annotations

import collections
import dataclasses
import math
import typing as t

from ..base import expressions
from ..base.inventory import Inventory, values
from .waves import Extra, Groups, Wave


@dataclasses.dataclass
class Chosen:
    """A wave with its hosts; ``reasons`` has one sentence for each."""

    name: str
    hosts: list[str]
    extra: Extra
    reasons: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Units:
    """Hosts that go in the same wave because they share the value of the variable ``by``."""

    by: str | None
    members: t.Mapping[str, list[str]]
    of: t.Mapping[str, str]

    @classmethod
    def find(cls, by: object, hosts: t.Sequence[str], inventory: Inventory, problems: list[str]) -> Units:
        """``by`` is the variable ``fleet_ota_together`` or None; a host without that variable goes by itself."""
        if by is None:
            return cls(None, {}, {})
        if not isinstance(by, str) or not by:
            problems.append(f"together: must be the name of a host variable such as line, not {by!r}")
            return cls(None, {}, {})
        of = values(f"together: {by}", by, hosts, inventory, problems)
        members: dict[str, list[str]] = {}
        for name, value in of.items():
            members.setdefault(value, []).append(name)
        return cls(by, members, of)

    def whole(self, name: str) -> list[str]:
        """Everybody who goes with ``name``, it included, in inventory order."""
        return self.members[self.of[name]] if name in self.of else [name]


def distribute(
    hosts: t.Sequence[str],
    groups: Groups,
    wanted: t.Sequence[Wave],
    inventory: Inventory,
    units: Units,
    problems: list[str],
) -> tuple[list[Chosen], list[str], list[str]]:
    """Waves with their hosts, the hosts that none took, and the names of waves that got nobody.

    ``hosts`` are the targets in an order in which nobody stands before whom it comes after, so that the first few of
    them never need somebody later. Percentages are of all that a wave's own selectors match, taken already or not.
    """
    free = dict.fromkeys(hosts)
    chosen: list[Chosen] = []
    empty: list[str] = []
    for wave in wanted:
        pool = _pool(wave, hosts, groups, inventory, problems)
        before = len(chosen)
        if wave.grow is None:
            size = len(pool)
            if wave.count is not None:
                size = wave.count
            elif wave.percent is not None:
                size = math.ceil(len(pool) * wave.percent / 100)
            _take(wave, wave.name, collections.deque(pool), size, free, units, chosen)
        else:
            rest = collections.deque(pool)
            for number, size in enumerate(wave.grow.sizes(), 1):
                if not _take(wave, f"{wave.name}-{number}", rest, size, free, units, chosen):
                    break
        if len(chosen) == before:
            empty.append(wave.name)
            if not pool and not wave.may_be_empty and wave is not wanted[-1] and _is_nobody(wave, groups, inventory):
                problems.append(
                    f"wave {wave.name}: the inventory has no such device, and the waves after it would go without it; "
                    "correct the selector or the inventory, or say may_be_empty: true in the wave"
                )
    taken = collections.Counter(wave.name for wave in chosen)
    problems += [
        f"waves: {name!r} is the name of two waves after growth; name them otherwise"
        for name, count in taken.items()
        if count > 1
    ]
    return chosen, list(free), empty


def _is_nobody(wave: Wave, groups: Groups, inventory: Inventory) -> bool:
    """Whether no host of the inventory is meant, so that it is no narrower choice of targets that leaves none."""
    if wave.hosts is not None:
        return not wave.hosts
    names = groups[wave.group] if wave.group is not None else list(inventory)
    if wave.where is None:
        return not names
    where = wave.where
    return not any(_holds(where, inventory.get(name, {})) for name in names)


def _holds(where: str, variables: t.Mapping[str, t.Any]) -> bool:
    try:
        return expressions.holds(where, variables)
    except ValueError:
        return False


def _pool(
    wave: Wave, hosts: t.Sequence[str], groups: Groups, inventory: Inventory, problems: list[str]
) -> t.Sequence[str]:
    """The targets that the wave's selectors match, taken already or not."""
    if wave.hosts is not None:
        targets = set(hosts)
        return [name for name in wave.hosts if name in targets]
    pool = hosts
    if wave.group is not None:
        members = set(groups[wave.group])
        pool = [name for name in pool if name in members]
    if wave.where is None:
        return pool
    matching = []
    for name in pool:
        try:
            if expressions.holds(wave.where, inventory.get(name, {})):
                matching.append(name)
        except ValueError as error:
            problems.append(f"wave {wave.name}: where {wave.where!r} cannot be asked of {name} ({error}); correct it")
            return []
    return matching


def _take(
    wave: Wave,
    name: str,
    pool: collections.deque[str],
    size: int,
    free: dict[str, None],
    units: Units,
    chosen: list[Chosen],
) -> bool:
    """Take ``size`` of ``pool`` who are free, and whoever goes with them; whether there was anybody."""
    reasons: dict[str, str] = {}
    while pool and len(reasons) < size:
        first = pool.popleft()
        for other in units.whole(first) if first in free else ():
            if other in free:
                del free[other]
                reasons[other] = wave.reason if other == first else f"goes with {first} ({units.by} {units.of[other]})"
    if reasons:
        chosen.append(Chosen(name, list(reasons), wave.extra, reasons))
    return bool(reasons)
