# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The variable ``fleet_ota_waves``: what a wave may ask for (docs/reference/plan.md)."""

from __future__ import annotations

import dataclasses
import fractions
import re
import typing as t

from ..base import expressions
from ..base.numbers import is_number, is_whole

Groups = t.Mapping[str, t.Sequence[str]]
#: What somebody wrote, before anything of it is known to be right.
Given = t.Mapping[str, t.Any]

DEFAULT: tuple[t.Mapping[str, object], ...] = ({"count": 1}, {"percent": 25}, {"percent": 100})

_KEYS = frozenset({"name", "group", "hosts", "where", "count", "percent", "grow", "soak", "approval", "may_be_empty"})
_SELECTING = frozenset({"group", "hosts", "where", "count", "percent", "grow"})
_CLASHES = (
    *({"hosts", key} for key in ("group", "where", "count", "percent", "grow")),
    {"count", "percent"},
    {"count", "grow"},
    {"percent", "grow"},
)
_GROW_KEYS = frozenset({"start", "factor", "most"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
#: Growth by more than this is no growth any more, it is everybody at once.
_STEEPEST = 1000


@dataclasses.dataclass(frozen=True)
class Growth:
    """Sizes of waves that grow: ``start``, then each ``factor`` times the one before, never above ``most``."""

    start: int
    factor: fractions.Fraction
    most: int | None

    def sizes(self) -> t.Iterator[int]:
        """The sizes, without end; each rounded up, from the exact one before."""
        exact = fractions.Fraction(self.start)
        while True:
            size = -(-exact.numerator // exact.denominator)
            if self.most is not None and size >= self.most:
                exact = fractions.Fraction(self.most)
                yield self.most
            else:
                yield size
                exact *= self.factor


class Extra(t.TypedDict, total=False):
    """What the gate reads of a wave."""

    soak: float
    approval: bool


@dataclasses.dataclass(frozen=True)
class Wave:
    """One checked entry.

    ``where`` is a JMESPath expression over a host's variables; ``extra`` is what the gate reads of the entry: ``soak``
    and ``approval``, where they are given.
    """

    name: str
    group: str | None
    hosts: list[str] | None
    where: str | None
    count: int | None
    percent: fractions.Fraction | None
    grow: Growth | None
    extra: Extra
    may_be_empty: bool = False

    @property
    def reason(self) -> str:
        """Why somebody is in this wave, for people."""
        parts = [f"in group {self.group}"] if self.group else []
        parts += ["named in hosts"] if self.hosts is not None else []
        parts += [f"matches {self.where}"] if self.where else []
        parts += [f"among the first {self.count}"] if self.count is not None else []
        parts += [f"among the first {float(self.percent):g} %"] if self.percent is not None else []
        return ", ".join([*parts, *(["by growth"] if self.grow else [])])


def validate(waves: object, groups: Groups, hosts: t.Collection[str], problems: list[str]) -> list[Wave]:
    """The waves that are in order; what is wrong is added to ``problems``, with the next step."""
    if not isinstance(waves, (list, tuple)) or not waves:
        problems.append("waves: must be a list with at least one wave, for example [{count: 1}, {percent: 100}]")
        return []
    valid = []
    names: set[str] = set()
    for index, wave in enumerate(waves):
        where = f"waves[{index}]"
        if not isinstance(wave, dict):
            problems.append(f"{where}: must be a mapping such as {{percent: 25}}, not {wave!r}")
            continue
        mistakes = _problems(where, wave, groups, hosts)
        name = str(wave.get("name") or f"wave-{index + 1}")
        if name in names:
            mistakes.append(f"{where}.name: {name!r} is taken by an earlier wave; names are unique")
        names.add(name)
        problems += mistakes
        if not mistakes:
            valid.append(_wave(name, wave))
    return valid


def _wave(name: str, wave: Given) -> Wave:
    percent, grow = wave.get("percent"), wave.get("grow")
    return Wave(
        name=name,
        group=wave.get("group"),
        hosts=wave.get("hosts"),
        where=wave.get("where"),
        count=wave.get("count"),
        # through text, so that 0.1 is a tenth and not 0.1000000000000000055
        percent=None if percent is None else fractions.Fraction(str(percent)),
        grow=None if grow is None else _growth(grow),
        extra=t.cast(Extra, {key: wave[key] for key in ("soak", "approval") if wave.get(key) is not None}),
        may_be_empty=bool(wave.get("may_be_empty")),
    )


def _growth(grow: Given) -> Growth:
    return Growth(grow.get("start", 1), fractions.Fraction(str(grow.get("factor", 2))), grow.get("most"))


def _problems(where: str, wave: Given, groups: Groups, hosts: t.Collection[str]) -> list[str]:
    names = ", ".join(sorted(_KEYS))
    problems = [f"{where}.{key}: unknown; a wave has {names}" for key in sorted(map(str, set(wave) - _KEYS))]
    given = {key for key in _KEYS if wave.get(key) is not None}
    if not given & _SELECTING:
        problems.append(f"{where}: selects no device; give group, hosts, where, count, percent or grow")
    for clash in _CLASHES:
        if clash <= given:
            problems.append(f"{where}: {' and '.join(sorted(clash))} exclude each other; give one of them")
    if "name" in given and not (isinstance(wave["name"], str) and _NAME.fullmatch(wave["name"])):
        problems.append(
            f"{where}.name: {wave['name']!r} is not a name; use letters, digits, blank, dot, dash, underscore"
        )
    if "group" in given and not isinstance(wave["group"], str):
        problems.append(f"{where}.group: must be the name of one group, not {wave['group']!r}; one wave for each group")
    elif "group" in given and wave["group"] not in groups:
        problems.append(f"{where}.group: the inventory has no group {wave['group']!r}; correct the name")
    if "hosts" in given:
        if not isinstance(wave["hosts"], list) or not all(isinstance(name, str) for name in wave["hosts"]):
            problems.append(f"{where}.hosts: must be a list of inventory names")
        else:
            strangers = [name for name in wave["hosts"] if name not in hosts]
            problems += [f"{where}.hosts: the inventory has no host {name!r}; correct the name" for name in strangers]
            problems += [f"{where}.hosts: {name} is named twice; name it once" for name in duplicates(wave["hosts"])]
    if "where" in given and (wrong := expressions.problem(wave["where"])):
        problems.append(f"{where}.where: {wrong}")
    if "count" in given and not is_whole(wave["count"], 1):
        problems.append(f"{where}.count: must be a whole number of at least 1, not {wave['count']!r}")
    if "percent" in given and not (is_number(wave["percent"]) and 0 < wave["percent"] <= 100):
        problems.append(f"{where}.percent: must be a number above 0 and up to 100, not {wave['percent']!r}")
    if "grow" in given:
        _validate_growth(f"{where}.grow", wave["grow"], problems)
    if "soak" in given and not is_whole(wave["soak"], 0):
        problems.append(f"{where}.soak: must be a whole number of seconds, not {wave['soak']!r}")
    for key in ("approval", "may_be_empty"):
        if key in given and not isinstance(wave[key], bool):
            problems.append(f"{where}.{key}: must be true or false, not {wave[key]!r}")
    return problems


def _validate_growth(where: str, grow: object, problems: list[str]) -> None:
    if not isinstance(grow, dict):
        problems.append(f"{where}: must be a mapping such as {{start: 1, factor: 2, most: 100}}, not {grow!r}")
        return
    unknown = sorted(map(str, set(grow) - _GROW_KEYS))
    problems += [f"{where}.{key}: unknown; growth has {', '.join(sorted(_GROW_KEYS))}" for key in unknown]
    start, factor, most = grow.get("start", 1), grow.get("factor", 2), grow.get("most")
    if not is_whole(start, 1):
        problems.append(f"{where}.start: must be a whole number of at least 1, not {start!r}")
    if not (is_number(factor) and 1 <= factor <= _STEEPEST):
        problems.append(f"{where}.factor: must be a number from 1 to {_STEEPEST}, not {factor!r}")
    if most is not None and not is_whole(most, 1):
        problems.append(f"{where}.most: must be a whole number of at least 1, not {most!r}")


def duplicates(names: t.Iterable[str]) -> list[str]:
    """Those that occur more than once, in order."""
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for name in names:
        if name in seen:
            twice[name] = None
        seen.add(name)
    return list(twice)
