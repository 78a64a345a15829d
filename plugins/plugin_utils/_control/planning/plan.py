# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.
"""Who is updated, in which wave and order, who is skipped and why (docs/reference/plan.md).

Pure and deterministic: same inventory, same variables, same bytes.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..base.errors import PlanError
from ..base.inventory import Inventory
from ..base.plan import BudgetEntry, Placed, Plan, PlanDocument, Release, Wave, digest, rollout_id
from ..gate import conditions as gate_conditions
from ..gate import limits as gate_limits
from ..schedule import schedule
from . import budget, selection, text
from . import waves as wave_list
from .order import Graph, build, settle
from .selection import Chosen, Units
from .settings import Options
from .waves import Groups

FORMAT = 2

DEFAULT_WAVES = wave_list.DEFAULT

lines, detail = text.lines, text.detail

_RELEASE_KEYS = ("name", "version", "counter", "digest", "channel")


@dataclasses.dataclass(frozen=True)
class Planned:
    """A plan, and for every target in inventory order where it is and why."""

    plan: Plan
    explain: list[Placed]


def make(*, hosts: t.Sequence[str], groups: Groups, release: t.Mapping[str, object], **given: t.Any) -> Plan:
    """The plan alone; see :func:`compute`."""
    return compute(hosts=hosts, groups=groups, release=release, **given).plan


def compute(
    *,
    hosts: t.Sequence[str],
    groups: Groups,
    release: t.Mapping[str, object],
    waves: t.Sequence[t.Mapping[str, object]] | None = None,
    limits: t.Mapping[str, object] | None = None,
    conditions: t.Mapping[str, object] | None = None,
    bytes_per_device: int = 0,
    inventory: Inventory | None = None,
    options: Options | None = None,
    unfit: t.Mapping[str, str] | None = None,
    read: t.Callable[[str], str] | None = None,
) -> Planned:
    """The plan for ``release`` on ``hosts``.

    ``hosts`` are the targets in inventory order, ``groups`` maps every inventory group to its hosts (``all`` tells
    which hosts exist), ``release`` has ``name``, ``version``, ``counter``, ``digest`` and ``channel``, ``waves``,
    ``limits``, ``conditions`` and ``options`` are the variables of docs/reference/plan.md (None: the defaults),
    ``bytes_per_device`` is the sum of the payloads' lengths. ``inventory`` has the variables of each host, ``unfit``
    says of hosts why they cannot take the release, ``read`` gives the text of a calendar file. Raises
    :class:`PlanError` with every mistake at once.
    """
    inventory, options, unfit = inventory or {}, options or Options(), dict(unfit or {})
    problems: list[str] = []
    if not hosts:
        problems.append("hosts: no device is targeted; check the hosts pattern and --limit")
    problems += [f"hosts: {name} is named twice; name it once" for name in wave_list.duplicates(hosts)]
    everybody = set(groups.get("all", ())) | set(hosts)
    wanted = wave_list.validate(DEFAULT_WAVES if waves is None else waves, groups, everybody, problems)
    bounds = gate_limits.validate(limits or {}, problems)
    gate = gate_conditions.validate(conditions or {}, problems)
    missing = [key for key in _RELEASE_KEYS if key not in release]
    if missing:
        problems.append(f"release: {', '.join(missing)} is missing; give what fleet.ota.release returns")
    graph, dependencies = build(options.order, hosts, groups, inventory, problems)
    units = Units.find(options.together, hosts, inventory, problems)
    allowance = budget.validate(options.budget, hosts, inventory, problems)
    times = schedule.collect(
        hosts,
        inventory,
        default_windows=options.windows,
        default_freezes=options.freezes,
        read=read,
        minutes={"expected": options.expected_minutes, "back": options.back_minutes},
        problems=problems,
    )
    urgent = schedule.urgent(hosts, inventory, options.urgent, problems)
    _refuse(problems)
    _whole(unfit, hosts, units)
    fit = [hosts[node] for node in graph.by_inventory() if node < len(hosts) and hosts[node] not in unfit]
    chosen, left, empty = selection.distribute(fit, groups, wanted, inventory, units, problems)
    _refuse(problems)
    placed, explain = _place(graph, chosen, units, allowance)
    skipped = {name: unfit.get(name, "in no wave") for name in [*unfit, *left]}
    wanted_release = t.cast(Release, {key: release[key] for key in _RELEASE_KEYS})
    document: PlanDocument = {
        "format": FORMAT,
        "rollout": rollout_id(wanted_release),
        "release": wanted_release,
        "waves": placed,
        "empty": [*empty, *(wave.name for wave in chosen if wave.name not in {one["name"] for one in placed})],
        "skipped": [{"host": name, "reason": skipped[name]} for name in hosts if name in skipped],
        "limits": bounds,
        "conditions": gate,
        "targets": len(hosts),
        "bytes_per_device": bytes_per_device,
        "digest": "",
    }
    settings: dict[str, object] = {
        "order": list(t.cast("list[str] | None", options.order) or ()),
        "together": options.together,
        "dependencies": dependencies,
        "budget": allowance,
        "schedules": times,
        "urgent": urgent,
    }
    document.update(t.cast(PlanDocument, {key: value for key, value in settings.items() if value}))
    document["digest"] = digest(document)
    for name, reason in skipped.items():
        explain[name] = {"host": name, "wave": None, "turn": None, "reason": reason}
    return Planned(Plan(document), [explain[name] for name in hosts])


def _refuse(problems: list[str]) -> None:
    if problems:
        raise PlanError("the rollout cannot be planned: " + "; ".join(problems), problems=problems)


def _whole(unfit: dict[str, str], hosts: t.Sequence[str], units: Units) -> None:
    """Add to ``unfit`` whoever would have to go with somebody who cannot."""
    for name in [name for name in hosts if name in unfit]:
        for other in units.whole(name):
            unfit.setdefault(other, f"goes with {name} ({units.by} {units.of.get(other)}), which cannot: {unfit[name]}")


def _place(
    graph: Graph, chosen: t.Sequence[Chosen], units: Units, allowance: t.Sequence[BudgetEntry]
) -> tuple[list[Wave], dict[str, Placed]]:
    """The waves of the plan with their turns, and why each host is where it is."""
    first = {name: number for number, wave in enumerate(chosen) for name in wave.hosts}
    position = {name: number for number, name in enumerate(first)}
    wave_of_host = settle(graph, first, units)
    ledger = budget.Ledger(allowance)
    turns_of = [budget.Batches(ledger) for _wave in chosen]
    turn_of: dict[str, int] = {}
    #: per node: the wave and turn in which the last of what it stands for is touched
    ends: list[tuple[int, int]] = [(-1, -1)] * len(graph.before)

    def priority(node: int) -> tuple[int, int]:
        if node >= len(graph.hosts):
            return (-1, node)
        name = graph.hosts[node]
        return (wave_of_host[name], position[name]) if name in first else (-1, node)

    for node in graph.sorted(priority):
        last = max((ends[other] for other in graph.before[node]), default=(-1, -1))
        if node < len(graph.hosts) and (name := graph.hosts[node]) in first:
            number = wave_of_host[name]
            turn_of[name] = turns_of[number].place(name, last[1] + 1 if last[0] == number else 0)
            last = (number, turn_of[name])
        ends[node] = last
    members: list[list[str]] = [[] for _wave in chosen]
    for name in turn_of:
        members[wave_of_host[name]].append(name)
    placed: list[Wave] = []
    explain: dict[str, Placed] = {}
    for wave, names in zip(chosen, members, strict=True):
        if not names:
            continue
        names.sort(key=turn_of.__getitem__)  # stable: within a turn they stay in the order in which they were taken
        sizes = [0] * (1 + turn_of[names[-1]])
        for name in names:
            sizes[turn_of[name]] += 1
            origin = chosen[first[name]]
            reason = origin.reasons[name]
            if origin is not wave:
                reason += f", but not in {origin.name}: what it comes after is in {wave.name}"
            explain[name] = {"host": name, "wave": wave.name, "turn": turn_of[name], "reason": reason}
        entry: Wave = {"index": len(placed), "name": wave.name, "hosts": names, "turns": sizes, **wave.extra}
        placed.append(entry)
    return placed, explain
