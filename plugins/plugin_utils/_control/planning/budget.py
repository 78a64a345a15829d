# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.
"""How many devices may be out of service at once: the variable ``fleet_ota_budget`` (docs/reference/plan.md).

``max_unavailable`` and ``min_available`` mean what they mean in Flight Control and Kubernetes.
"""

from __future__ import annotations

import math
import re
import typing as t

from ..base.inventory import Inventory, values
from ..base.numbers import is_whole
from ..base.plan import BudgetEntry, BudgetGroup
from ..journal.outcomes import Standing

#: An entry as it is given.
Given = t.Mapping[str, t.Any]

_KEYS = frozenset({"by", "max_unavailable", "min_available"})
_PERCENT = re.compile(r"([1-9][0-9]?|100)%")
#: Nobody knows whether such a device works, or it is known that it does not.
_CONSUMING = frozenset({"pending", "lost", "timed_out", "broken"})


def validate(budget: object, hosts: t.Sequence[str], inventory: Inventory, problems: list[str]) -> list[BudgetEntry]:
    """The budget as a plan keeps it: each entry with its ``groups``, entries of ``value``, ``most`` and ``hosts``.

    ``most`` is how many of the group may be out of service at once; an entry without ``by`` has one group whose
    ``hosts`` is None, which means every target. Mistakes are added to ``problems``, also a group of which nobody may
    ever go.
    """
    if budget is None:
        return []
    if not isinstance(budget, (list, tuple)):
        problems.append(f"budget: must be a list such as [{{by: site, max_unavailable: 1}}], not {budget!r}")
        return []
    entries = []
    for index, entry in enumerate(budget):
        where = f"budget[{index}]"
        mistakes = _problems(where, entry)
        problems += mistakes
        if not mistakes:
            entries.append(_resolved(where, entry, hosts, inventory, problems))
    return entries


class Ledger:
    """Who consumes how much of what, for one moment: a turn that is planned, or now."""

    def __init__(self, budget: t.Sequence[BudgetEntry]) -> None:
        self.most: list[int] = []
        self.titles: list[str] = []
        #: groups that bind everybody
        self._all: list[int] = []
        self._of: dict[str, list[int]] = {}
        #: variable and value -> the group of it
        self._by: dict[tuple[str, str | None], int] = {}
        for entry in budget:
            for group in entry["groups"]:
                number = len(self.most)
                if entry["by"] is not None:
                    self._by[entry["by"], group["value"]] = number
                self.most.append(group["most"])
                self.titles.append("the fleet" if entry["by"] is None else f"{entry['by']} {group['value']}")
                if group["hosts"] is None:
                    self._all.append(number)
                for name in group["hosts"] or ():
                    self._of.setdefault(name, []).append(number)

    def of(self, name: str) -> list[int]:
        """The numbers of the groups that ``name`` consumes of."""
        return [*self._all, *self._of.get(name, ())]

    def of_stranger(self, variables: t.Mapping[str, object]) -> list[int]:
        """The same for a device that the plan does not have, by its variables."""
        return [*self._all, *(group for (by, value), group in self._by.items() if str(variables.get(by)) == value)]


class Batches:
    """The batches of one wave, filled one device after the other: the first turn in which it fits."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        #: group -> how many of each turn are taken, and the first turn that has room
        self._taken: dict[int, list[int]] = {}
        self._open: dict[int, int] = {}

    def place(self, name: str, earliest: int) -> int:
        """The first turn from ``earliest`` on in which every group of ``name`` has room; it is taken."""
        mine = self._ledger.of(name)
        turn = max([earliest, *(self._open.get(group, 0) for group in mine)])
        while any(self._count(group, turn) >= self._ledger.most[group] for group in mine):
            turn += 1
        for group in mine:
            taken = self._taken.setdefault(group, [])
            taken += [0] * (turn + 1 - len(taken))
            taken[turn] += 1
            begin = self._open.get(group, 0)
            while begin < len(taken) and taken[begin] >= self._ledger.most[group]:
                begin += 1
            self._open[group] = begin
        return turn

    def _count(self, group: int, turn: int) -> int:
        taken = self._taken.get(group, ())
        return taken[turn] if turn < len(taken) else 0


def consumes(standing: Standing) -> bool:
    """Whether a device is out of service, or may be, because of what the rollout did."""
    return standing.outcome in _CONSUMING or not standing.healthy


def over(
    budget: t.Sequence[BudgetEntry],
    standings: t.Mapping[str, Standing],
    hosts: t.Sequence[str],
    inventory: Inventory,
    planned: t.Collection[str],
) -> dict[str, str]:
    """Those of ``hosts`` (one turn, in order) for whom the budget has no room now, and who consumes it.

    Devices that are not ``planned``, because of a limit, consume too; those that left the ``inventory`` do not.
    A device that consumes already may be touched again: it cannot be more out of service than it is. One that runs the
    release already will not be out of service.
    """
    if not budget:
        return {}
    ledger = Ledger(budget)
    consumers: dict[int, list[str]] = {}
    for name, standing in standings.items():
        if consumes(standing) and (name in planned or name in inventory):
            for group in ledger.of(name) if name in planned else ledger.of_stranger(inventory[name]):
                consumers.setdefault(group, []).append(f"{name} ({standing.outcome})")
    full_for: dict[str, str] = {}
    for name in hosts:
        own = standings.get(name)
        if own is not None and (consumes(own) or own.as_planned):
            continue
        full = [group for group in ledger.of(name) if len(consumers.get(group, ())) >= ledger.most[group]]
        if full:
            full_for[name] = "; ".join(_sentence(ledger, group, consumers[group]) for group in full)
            continue
        for group in ledger.of(name):
            consumers.setdefault(group, []).append(f"{name} (this turn)")
    return full_for


def _sentence(ledger: Ledger, group: int, consumers: list[str]) -> str:
    shown = ", ".join(consumers[:5]) + (", ..." if len(consumers) > 5 else "")
    return f"{ledger.titles[group]} has {len(consumers)} of {ledger.most[group]} out of service: {shown}"


def _resolved(
    where: str, entry: Given, hosts: t.Sequence[str], inventory: Inventory, problems: list[str]
) -> BudgetEntry:
    by = entry.get("by")
    members: dict[str | None, list[str]] = {}
    if by is None:
        members[None] = list(hosts)
    else:
        for name, text in values(f"{where}.by: {by}", by, hosts, inventory, problems).items():
            members.setdefault(text, []).append(name)
    groups: list[BudgetGroup] = []
    for value, names in members.items():
        most = _most(entry, len(names))
        if most < 1:
            title = "the fleet" if by is None else f"{by} {value}"
            problems.append(
                f"{where}.min_available: {title} has {len(names)} target{'' if len(names) == 1 else 's'}, so that none "
                f"may ever go with {entry['min_available']}; lower it, or target more of them"
            )
        groups.append({"value": value, "most": most, "hosts": None if by is None else names})
    kept = {key: entry[key] for key in ("max_unavailable", "min_available") if entry.get(key) is not None}
    return t.cast(BudgetEntry, {"by": by, **kept, "groups": groups})


def _most(entry: Given, size: int) -> int:
    """How many of ``size`` may be out of service; a percentage lets at least one go."""
    limit = entry.get("max_unavailable")
    if limit is not None:
        return limit if isinstance(limit, int) else max(1, size * int(limit[:-1]) // 100)
    least = entry["min_available"]
    return size - least if isinstance(least, int) else max(1, size - math.ceil(size * int(least[:-1]) / 100))


def _problems(where: str, entry: object) -> list[str]:
    if not isinstance(entry, dict):
        return [f"{where}: must be a mapping such as {{by: site, max_unavailable: 1}}, not {entry!r}"]
    names = ", ".join(sorted(_KEYS))
    problems = [f"{where}.{key}: unknown; an entry has {names}" for key in sorted(map(str, set(entry) - _KEYS))]
    given = [key for key in ("max_unavailable", "min_available") if entry.get(key) is not None]
    if len(given) != 1:
        problems.append(f"{where}: give either max_unavailable or min_available")
    for key in given:
        value = entry[key]
        if not is_whole(value, 1) and not (isinstance(value, str) and _PERCENT.fullmatch(value)):
            problems.append(
                f'{where}.{key}: must be a whole number of at least 1 or a text such as "10%", not {value!r}'
            )
    if entry.get("min_available") == "100%":
        problems.append(f"{where}.min_available: with 100% none may ever go; lower it")
    if entry.get("by") is not None and not (isinstance(entry["by"], str) and entry["by"]):
        problems.append(f"{where}.by: must be the name of a host variable, not {entry['by']!r}")
    return problems
