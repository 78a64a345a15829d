# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""A plan as it stands in journals and approvals (docs/reference/plan.md), and what can be asked of it.

:mod:`planning` makes plans; gates, journals and reports read them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import typing as t

from . import files
from .errors import PlanError

#: A JMESPath expression, or an operator with its number and perhaps ``of: baseline``.
Condition = str | t.Mapping[str, float | str]


class Release(t.TypedDict):
    """The release of a plan; ``digest`` is that of its document."""

    name: str
    version: str
    counter: int
    digest: str
    channel: str


class Wave(t.TypedDict):
    """A wave: ``turns`` has the size of each of its batches, in the order of ``hosts``."""

    index: int
    name: str
    hosts: list[str]
    turns: list[int]
    soak: t.NotRequired[float]
    approval: t.NotRequired[bool]


class Skipped(t.TypedDict):
    """A target that no wave has, and why."""

    host: str
    reason: str


class KindLimit(t.TypedDict):
    """How many failures of one kind a rollout bears."""

    max: int | None
    max_percent: float | None


class Limits(t.TypedDict):
    """How many failures a rollout bears in all, and of each kind."""

    max_failures: int | None
    max_failure_percent: float | None
    min_executed: int
    kinds: dict[str, KindLimit]


class Metric(t.TypedDict):
    """One metric of ``conditions.analysis``; the last keys belong to its source."""

    name: str
    source: str
    success: Condition | None
    failure: Condition | None
    interval: float
    count: int
    consecutive: int
    failure_limit: int
    inconclusive_limit: int
    initial_delay: float
    timeout: float
    dry_run: bool
    baseline: bool
    url: t.NotRequired[str]
    query: t.NotRequired[str]
    argv: t.NotRequired[list[str]]
    value: t.NotRequired[str]
    token_file: t.NotRequired[str]
    tls: t.NotRequired[dict[str, str]]


class Rule(t.TypedDict):
    """One rule of ``conditions.rules``."""

    when: str
    decision: str
    reason: str


class Breaker(t.TypedDict):
    """After how many halted rollouts of a channel nothing starts any more."""

    halts: int


class Conditions(t.TypedDict):
    """What the gate asks for beside the limits."""

    soak: float
    on_halt: str
    analysis: list[Metric]
    rules: list[Rule]
    breaker: Breaker | None


class Dependencies(t.TypedDict):
    """Host to the hosts and groups that it comes after, and the hosts of each group that is named there."""

    after: dict[str, list[str]]
    groups: dict[str, list[str]]


class BudgetGroup(t.TypedDict):
    """Hosts that share a value; ``hosts`` None stands for every target."""

    value: str | None
    most: int
    hosts: list[str] | None


class BudgetEntry(t.TypedDict):
    """How many devices of each group may be out of service at once; percentages are texts."""

    by: str | None
    max_unavailable: t.NotRequired[int | str]
    min_available: t.NotRequired[int | str]
    groups: list[BudgetGroup]


class WindowEntry(t.TypedDict, total=False):
    """A window: ``cron``, or ``days`` and ``start``, and its ``length``."""

    days: list[str]
    start: str
    cron: str
    length: str


class Windows(t.TypedDict, total=False):
    """When a device may be updated and sent payloads; empty for any time."""

    install: list[WindowEntry]
    download: list[WindowEntry]
    at_end: str


#: ``calendar``, ``from``, ``until``, ``reason`` and the like: ``from`` is no name in Python.
Freeze = dict[str, t.Any]


class Schedule(t.TypedDict):
    """Windows and freezes that ``hosts`` share; ``minutes`` has what is expected of an update and the way back."""

    timezone: str
    windows: Windows
    freezes: list[Freeze]
    hosts: list[str]
    minutes: dict[str, float]


class PlanDocument(t.TypedDict):
    """The plan as JSON; its digest and its signatures are over exactly this."""

    format: int
    rollout: str
    release: Release
    waves: list[Wave]
    empty: list[str]
    skipped: list[Skipped]
    limits: Limits
    conditions: Conditions
    targets: int
    bytes_per_device: int
    order: t.NotRequired[list[str]]
    together: t.NotRequired[str]
    dependencies: t.NotRequired[Dependencies]
    budget: t.NotRequired[list[BudgetEntry]]
    schedules: t.NotRequired[list[Schedule]]
    urgent: t.NotRequired[bool]
    back_from: t.NotRequired[str]
    digest: str


class Placed(t.TypedDict):
    """Where a target is in a plan and why; ``wave`` and ``turn`` are None for one that is skipped."""

    host: str
    wave: str | None
    turn: int | None
    reason: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """A plan: its document, and what follows from that."""

    document: PlanDocument

    @classmethod
    def of(cls, document: t.Mapping[str, object]) -> Plan:
        """The plan with this document, which is taken as it is (see :func:`rollout.path_of` for who checks it)."""
        return cls(t.cast(PlanDocument, document))

    @property
    def rollout(self) -> str:
        """The id of its rollout."""
        return self.document["rollout"]

    @property
    def release(self) -> Release:
        """The release that it brings."""
        return self.document["release"]

    @property
    def waves(self) -> list[Wave]:
        """Its waves, in their order."""
        return self.document["waves"]

    @property
    def limits(self) -> Limits:
        """How many failures it bears."""
        return self.document["limits"]

    @property
    def conditions(self) -> Conditions:
        """What its gates ask for beside the limits."""
        return self.document["conditions"]

    @property
    def digest(self) -> str:
        """The digest that its document names."""
        return self.document["digest"]

    @property
    def back_from(self) -> str | None:
        """For the plan of a rollback, the rollout whose release the devices leave."""
        return self.document.get("back_from")

    @property
    def schedules(self) -> list[Schedule]:
        """Windows and freezes; empty where devices may go at any time."""
        return self.document.get("schedules", [])

    @property
    def urgent(self) -> bool:
        """Whether windows and freezes do not hold it back."""
        return self.document.get("urgent", False)

    @property
    def budget(self) -> list[BudgetEntry]:
        """How many devices may be out of service at once; empty without such a bound."""
        return self.document.get("budget", [])

    def order(self) -> list[str]:
        """Every planned host in wave order."""
        return [name for wave in self.waves for name in wave["hosts"]]

    def serial(self) -> list[int]:
        """The sizes of the waves; never 0, which Ansible would take for "all at once"."""
        return [len(wave["hosts"]) for wave in self.waves]

    def wave(self, name: str) -> Wave | None:
        """The wave with this name; None if there is none."""
        return next((wave for wave in self.waves if wave["name"] == name), None)

    def wave_of(self, hosts: t.Collection[str]) -> int:
        """The index of the one wave that ``hosts`` belong to.

        Raises :class:`PlanError` when they belong to none or to several: then play and plan do not fit together.
        """
        indexes = {wave["index"] for wave in self.waves if not set(hosts).isdisjoint(wave["hosts"])}
        if len(indexes) != 1:
            what = "belong to several waves of" if indexes else "are not in"
            raise PlanError(
                f"{', '.join(sorted(hosts)[:3]) or 'no hosts'}: {what} the plan {self.rollout}; run the play with the "
                "plan's own order and serial"
            )
        return indexes.pop()

    @staticmethod
    def turns(wave: Wave) -> list[list[str]]:
        """The hosts of each batch of ``wave``, in order: those of one batch are touched at the same time."""
        batches, begin = [], 0
        for size in wave["turns"]:
            batches.append(wave["hosts"][begin : begin + size])
            begin += size
        return batches

    def placed(self) -> list[Placed]:
        """Where each target is and why, as far as the plan itself says it."""
        placed: list[Placed] = [
            {"host": name, "wave": wave["name"], "turn": turn, "reason": f"in wave {wave['name']}"}
            for wave in self.waves
            for turn, names in enumerate(self.turns(wave))
            for name in names
        ]
        skipped = self.document["skipped"]
        return placed + [{"host": one["host"], "wave": None, "turn": None, "reason": one["reason"]} for one in skipped]


def digest(document: t.Mapping[str, object]) -> str:
    """SHA-256 of the canonical JSON of a plan's document without its ``digest``."""
    content = {key: value for key, value in document.items() if key != "digest"}
    return hashlib.sha256(files.canonical(content)).hexdigest()


def rollout_id(release: Release) -> str:
    """The rollout's id, and the name of its folder: made of checked texts only, never of a host's name."""
    return f"{release['name']}-{release['version']}-{release['digest'][:8]}"
