# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.
"""Who comes after whom: the variables ``fleet_ota_order`` and ``fleet_ota_after`` (docs/reference/plan.md).

The graph has the targets and, so that "every device after every gateway" costs no product of the two, nodes that stand
for "all of this group".
"""

from __future__ import annotations

import heapq
import typing as t

from ..base.inventory import Inventory
from ..base.plan import Dependencies
from .selection import Units
from .waves import Groups, duplicates

AFTER = "fleet_ota_after"


class Graph:
    """Targets and what each comes after. Nodes below ``len(hosts)`` are the hosts, by their place in the inventory."""

    def __init__(self, hosts: t.Sequence[str]) -> None:
        self.hosts = list(hosts)
        self.index = {name: number for number, name in enumerate(self.hosts)}
        self.labels: list[str] = []
        self.before: list[list[int]] = [[] for _name in self.hosts]
        self.following: list[list[int]] = [[] for _name in self.hosts]

    def barrier(self, label: str) -> int:
        """A new node that stands for many, named ``label`` where a person has to read of it."""
        self.labels.append(label)
        self.before.append([])
        self.following.append([])
        return len(self.before) - 1

    def edge(self, first: int, second: int) -> None:
        """``second`` comes after ``first``."""
        self.before[second].append(first)
        self.following[first].append(second)

    def name(self, node: int) -> str:
        """The host's name, or the label of what stands for many."""
        return self.hosts[node] if node < len(self.hosts) else self.labels[node - len(self.hosts)]

    def sorted(self, priority: t.Callable[[int], int | tuple[int, int]]) -> list[int]:
        """Every node, none before what it comes after; of those that could be next the one of least ``priority``.

        Nodes on a cycle and behind it are left out.
        """
        open_ = [len(nodes) for nodes in self.before]
        ready = [(priority(node), node) for node, count in enumerate(open_) if not count]
        heapq.heapify(ready)
        nodes = []
        while ready:
            _priority, node = heapq.heappop(ready)
            nodes.append(node)
            for other in self.following[node]:
                open_[other] -= 1
                if not open_[other]:
                    heapq.heappush(ready, (priority(other), other))
        return nodes

    def by_inventory(self) -> list[int]:
        """Every node as the inventory has them, as far as what comes after what allows it."""
        # what stands for many never waits: it is nobody
        return self.sorted(lambda node: node if node < len(self.hosts) else -1)

    def cycle(self, reached: t.Collection[int]) -> list[str]:
        """The names of one cycle among the nodes that are not ``reached``, each after the next."""
        stuck = set(range(len(self.before))).difference(reached)
        node, path = min(stuck), dict[int, None]()
        while node not in path:
            path[node] = None
            node = next(other for other in self.before[node] if other in stuck)
        around = list(path)
        around = around[around.index(node) :]
        return [self.name(other) for other in [*around, node]]


def build(
    order: object, hosts: t.Sequence[str], groups: Groups, inventory: Inventory, problems: list[str]
) -> tuple[Graph, Dependencies | None]:
    """The graph, and what a plan keeps of it.

    That is ``after``, host to the names of hosts and groups as its own variable gives them, and ``groups``, the hosts
    of each group named there; None without any such variable. ``order`` is a list of groups, earliest first, or None.
    Mistakes are added to ``problems``; a cycle is one.
    """
    graph = Graph(hosts)
    everybody = set(groups.get("all", ())).union(hosts)
    _stages(graph, order, groups, problems)
    after: dict[str, list[str]] = {}
    for name in hosts:
        wanted = inventory.get(name, {}).get(AFTER)
        if wanted is not None:
            after[name] = _names(name, wanted, everybody, groups, problems)
    barriers: dict[str, int] = {}
    for name, wanted in after.items():
        for other in wanted:
            node = graph.index.get(other)
            if node is None and other not in everybody:
                if other not in barriers:
                    barriers[other] = graph.barrier(f"group {other}")
                    for member in groups[other]:
                        if member in graph.index:
                            graph.edge(graph.index[member], barriers[other])
                node = barriers[other]
            if node is not None:  # a host that is no target is nobody to place; the gate asks after it
                graph.edge(node, graph.index[name])
    named = {name: list(groups[name]) for name in sorted(barriers)}
    kept: Dependencies | None = {"after": after, "groups": named} if after else None
    reached = graph.by_inventory()
    if len(reached) < len(graph.before):
        around = " after ".join(graph.cycle(reached))
        problems.append(f"order: {around} is a circle; take one of them out of order or {AFTER}")
    return graph, kept


def settle(graph: Graph, waves: t.Mapping[str, int], units: Units) -> dict[str, int]:
    """The wave of each host of ``waves``: never before whom it comes after, and the same for all of a unit.

    Hosts move to later waves only.
    """
    sequence = graph.by_inventory()
    settled = dict(waves)
    while True:
        moved = False
        least = [-1] * len(graph.before)
        for node in sequence:
            earliest = max((least[other] for other in graph.before[node]), default=-1)
            if node < len(graph.hosts) and (name := graph.hosts[node]) in settled:
                if settled[name] < earliest:
                    settled[name], moved = earliest, True
                earliest = settled[name]
            least[node] = earliest
        for members in units.members.values():
            latest = max((settled[name] for name in members if name in settled), default=-1)
            for name in members:
                if name in settled and settled[name] < latest:
                    settled[name], moved = latest, True
        if not moved:
            return settled


def _stages(graph: Graph, order: object, groups: Groups, problems: list[str]) -> None:
    """Everybody of a group of ``order`` after everybody of the groups before it; of several the first one counts."""
    if order is None:
        return
    if not isinstance(order, (list, tuple)) or not order or not all(isinstance(name, str) for name in order):
        problems.append(f"order: must be a list of groups such as [gateways, devices], not {order!r}")
        return
    problems += [f"order: {name} is named twice; name it once" for name in duplicates(order)]
    problems += [
        f"order: the inventory has no group {name!r}; correct the name" for name in order if name not in groups
    ]
    placed: set[str] = set()
    barrier: int | None = None
    for name in order:
        stage = [host for host in groups.get(name, ()) if host in graph.index and host not in placed]
        placed.update(stage)
        for host in stage if barrier is not None else ():
            graph.edge(t.cast(int, barrier), graph.index[host])
        done = graph.barrier(f"group {name} (order)")
        for host in stage:
            graph.edge(graph.index[host], done)
        if barrier is not None:
            graph.edge(barrier, done)
        barrier = done


def _names(host: str, wanted: object, everybody: set[str], groups: Groups, problems: list[str]) -> list[str]:
    names = [wanted] if isinstance(wanted, str) else wanted
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        problems.append(f"{AFTER} of {host}: must be a list of hosts or groups, not {wanted!r}")
        return []
    strangers = [name for name in names if name not in groups and name not in everybody]
    problems += [f"{AFTER} of {host}: the inventory has no host or group {name!r}; correct it" for name in strangers]
    return [name for name in names if name not in strangers]
