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
import hashlib
import typing as t

from ..base import files
from ..base.errors import PlanError
from ..base.inventory import Inventory
from ..gate import conditions as gate_conditions
from ..gate import limits as gate_limits
from ..schedule import schedule
from . import budget, selection, text
from . import waves as wave_list
from .order import Graph, build, settle
from .selection import Chosen, Units
from .settings import Steering
from .waves import Groups

FORMAT = 2

Plan = dict[str, t.Any]

DEFAULT_WAVES = wave_list.DEFAULT

lines, detail = text.lines, text.detail

_RELEASE_KEYS = ("name", "version", "counter", "digest", "channel")


@dataclasses.dataclass(frozen=True)
class Planned:
    """A plan, and for every target in inventory order ``{host, wave, turn, reason}``; wave and turn None if skipped."""

    plan: Plan
    explain: list[dict[str, t.Any]]


def make(*, hosts: t.Sequence[str], groups: Groups, release: t.Mapping[str, t.Any], **given: t.Any) -> Plan:
    """The plan alone; see :func:`compute`."""
    return compute(hosts=hosts, groups=groups, release=release, **given).plan


def compute(
    *,
    hosts: t.Sequence[str],
    groups: Groups,
    release: t.Mapping[str, t.Any],
    waves: t.Sequence[t.Mapping[str, t.Any]] | None = None,
    limits: t.Mapping[str, t.Any] | None = None,
    conditions: t.Mapping[str, t.Any] | None = None,
    bytes_per_device: int = 0,
    inventory: Inventory | None = None,
    steering: Steering | None = None,
    unfit: t.Mapping[str, str] | None = None,
    read: t.Callable[[str], str] | None = None,
) -> Planned:
    """The plan for ``release`` on ``hosts``.

    ``hosts`` are the targets in inventory order, ``groups`` maps every inventory group to its hosts (``all`` tells
    which hosts exist), ``release`` has ``name``, ``version``, ``counter``, ``digest`` and ``channel``, ``waves``,
    ``limits``, ``conditions`` and ``steering`` are the variables of docs/reference/plan.md (None: the defaults),
    ``bytes_per_device`` is the sum of the payloads' lengths. ``inventory`` has the variables of each host, ``unfit``
    says of hosts why they cannot take the release, ``read`` gives the text of a calendar file. Raises
    :class:`PlanError` with every mistake at once.
    """
    inventory, steering, unfit = inventory or {}, steering or Steering(), dict(unfit or {})
    problems: list[str] = []
    if not hosts:
        problems.append("hosts: no device is targeted; check the hosts pattern and --limit")
    problems += [f"hosts: {name} is named twice; name it once" for name in wave_list.duplicates(hosts)]
    known = set(groups.get("all", ())) | set(hosts)
    wanted = wave_list.check(DEFAULT_WAVES if waves is None else waves, groups, known, problems)
    bounds = gate_limits.check(limits or {}, problems)
    gate = gate_conditions.check(conditions or {}, problems)
    missing = [key for key in _RELEASE_KEYS if key not in release]
    if missing:
        problems.append(f"release: {', '.join(missing)} is missing; give what fleet.ota.release returns")
    graph, dependencies = build(steering.order, hosts, groups, inventory, problems)
    units = Units.find(steering.together, hosts, inventory, problems)
    allowance = budget.check(steering.budget, hosts, inventory, problems)
    times = schedule.collect(
        hosts,
        inventory,
        default_windows=steering.windows,
        default_freezes=steering.freezes,
        read=read,
        minutes={"expected": steering.expected_minutes, "back": steering.back_minutes},
        problems=problems,
    )
    urgent = schedule.urgent(hosts, inventory, steering.urgent, problems)
    _refuse(problems)
    _whole(unfit, hosts, units)
    fit = [hosts[node] for node in graph.by_inventory() if node < len(hosts) and hosts[node] not in unfit]
    chosen, left, empty = selection.distribute(fit, groups, wanted, inventory, units, problems)
    _refuse(problems)
    found, explain = _place(graph, chosen, units, allowance)
    skipped = {name: unfit.get(name, "in no wave") for name in [*unfit, *left]}
    plan: Plan = {
        "format": FORMAT,
        "rollout": rollout_id(release),
        "release": {key: release[key] for key in _RELEASE_KEYS},
        "waves": found,
        "empty": [*empty, *(wave.name for wave in chosen if wave.name not in {one["name"] for one in found})],
        "skipped": [{"host": name, "reason": skipped[name]} for name in hosts if name in skipped],
        "limits": bounds,
        "conditions": gate,
        "targets": len(hosts),
        "bytes_per_device": bytes_per_device,
    }
    settings = {
        "order": list(steering.order or ()),
        "together": steering.together,
        "dependencies": dependencies,
        "budget": allowance,
        "schedules": times,
        "urgent": urgent,
    }
    plan.update({key: value for key, value in settings.items() if value})
    plan["digest"] = digest(plan)
    explain.update({name: {"wave": None, "turn": None, "reason": reason} for name, reason in skipped.items()})
    return Planned(plan, [{"host": name, **explain[name]} for name in hosts])


def digest(plan: Plan) -> str:
    """SHA-256 of the plan's canonical JSON without its ``digest``."""
    return hashlib.sha256(files.canonical({key: value for key, value in plan.items() if key != "digest"})).hexdigest()


def rollout_id(release: t.Mapping[str, t.Any]) -> str:
    """The rollout's id, and the name of its folder: made of checked texts only, never of a host's name."""
    return f"{release['name']}-{release['version']}-{release['digest'][:8]}"


def order(plan: Plan) -> list[str]:
    """Every planned host in wave order."""
    return [name for wave in plan["waves"] for name in wave["hosts"]]


def serial(plan: Plan) -> list[int]:
    """The sizes of the waves; never 0, which Ansible would take for "all at once"."""
    return [len(wave["hosts"]) for wave in plan["waves"]]


def wave_of(plan: Plan, hosts: t.Collection[str]) -> int:
    """The index of the one wave that ``hosts`` belong to.

    Raises :class:`PlanError` when they belong to none or to several: then play and plan do not fit together.
    """
    found = {wave["index"] for wave in plan["waves"] if not set(hosts).isdisjoint(wave["hosts"])}
    if len(found) != 1:
        what = "belong to several waves of" if found else "are not in"
        raise PlanError(
            f"{', '.join(sorted(hosts)[:3]) or 'no hosts'}: {what} the plan {plan['rollout']}; run the play with the "
            "plan's own order and serial"
        )
    return int(found.pop())


def placed(plan: Plan) -> list[dict[str, t.Any]]:
    """What :class:`Planned` explains, as far as the plan itself says it."""
    found = [
        {"host": name, "wave": wave["name"], "turn": turn, "reason": f"in wave {wave['name']}"}
        for wave in plan["waves"]
        for turn, names in enumerate(turns(wave))
        for name in names
    ]
    return [*found, *({**entry, "wave": None, "turn": None} for entry in plan["skipped"])]


def turns(wave: t.Mapping[str, t.Any]) -> list[list[str]]:
    """The hosts of each turn of a wave, in order: those of one turn are touched at the same time."""
    found, begin = [], 0
    for size in wave["turns"]:
        found.append(wave["hosts"][begin : begin + size])
        begin += size
    return found


def _refuse(problems: list[str]) -> None:
    if problems:
        raise PlanError("the rollout cannot be planned: " + "; ".join(problems), problems=problems)


def _whole(unfit: dict[str, str], hosts: t.Sequence[str], units: Units) -> None:
    """Add to ``unfit`` whoever would have to go with somebody who cannot."""
    for name in [name for name in hosts if name in unfit]:
        for other in units.whole(name):
            unfit.setdefault(other, f"goes with {name} ({units.by} {units.of.get(other)}), which cannot: {unfit[name]}")


def _place(
    graph: Graph, chosen: t.Sequence[Chosen], units: Units, allowance: t.Sequence[t.Mapping[str, t.Any]]
) -> tuple[list[dict[str, t.Any]], dict[str, dict[str, t.Any]]]:
    """The waves of the plan with their turns, and why each host is where it is."""
    first = {name: number for number, wave in enumerate(chosen) for name in wave.hosts}
    position = {name: number for number, name in enumerate(first)}
    wave_of_host = settle(graph, first, units)
    ledger = budget.Ledger(allowance)
    turns_of = [budget.Turns(ledger) for _wave in chosen]
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
    placed: list[dict[str, t.Any]] = []
    explain: dict[str, dict[str, t.Any]] = {}
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
            explain[name] = {"wave": wave.name, "turn": turn_of[name], "reason": reason}
        placed.append({"index": len(placed), "name": wave.name, "hosts": names, "turns": sizes, **wave.extra})
    return placed, explain
