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
import fractions
import hashlib
import math
import re
import typing as t

from . import conditions as condition_settings
from . import files
from . import limits as limit_settings
from .errors import PlanError
from .numbers import is_number, is_whole

FORMAT = 2

Plan = dict[str, t.Any]

DEFAULT_WAVES: tuple[t.Mapping[str, t.Any], ...] = ({"count": 1}, {"percent": 25}, {"percent": 100})

_WAVE_KEYS = frozenset({"name", "group", "hosts", "count", "percent"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
_RELEASE_KEYS = ("name", "version", "counter", "digest", "channel")


@dataclasses.dataclass(frozen=True)
class _Wave:
    """One checked entry of the variable ``fleet_ota_waves``."""

    name: str
    group: str | None
    hosts: list[str] | None
    count: int | None
    percent: fractions.Fraction | None


def make(
    *,
    hosts: t.Sequence[str],
    groups: t.Mapping[str, t.Sequence[str]],
    release: t.Mapping[str, t.Any],
    waves: t.Sequence[t.Mapping[str, t.Any]] | None = None,
    limits: t.Mapping[str, t.Any] | None = None,
    conditions: t.Mapping[str, t.Any] | None = None,
    bytes_per_device: int = 0,
) -> Plan:
    """The plan for ``release`` on ``hosts``.

    ``hosts`` are the targets in inventory order, ``groups`` maps every inventory group to its hosts (``all`` tells
    which hosts exist), ``release`` has ``name``, ``version``, ``counter``, ``digest`` and ``channel``, ``waves``,
    ``limits`` and ``conditions`` are the variables of docs/reference/plan.md (None: the defaults),
    ``bytes_per_device`` is the sum of the payloads' lengths. Raises :class:`PlanError` with every mistake at once.
    """
    problems: list[str] = []
    if not hosts:
        problems.append("hosts: no device is targeted; check the hosts pattern and --limit")
    problems += [f"hosts: {name} is named twice; name it once" for name in _duplicates(hosts)]
    known = set(groups.get("all", ())) | set(hosts)
    wanted = _check_waves(DEFAULT_WAVES if waves is None else waves, groups, known, problems)
    bounds = limit_settings.check(limits or {}, problems)
    gate = condition_settings.check(conditions or {}, problems)
    missing = [key for key in _RELEASE_KEYS if key not in release]
    if missing:
        problems.append(f"release: {', '.join(missing)} is missing; give what fleet.ota.release returns")
    if problems:
        raise PlanError("the rollout cannot be planned: " + "; ".join(problems), problems=problems)
    assigned, left, empty = _distribute(hosts, groups, wanted)
    plan: Plan = {
        "format": FORMAT,
        "rollout": rollout_id(release),
        "release": {key: release[key] for key in _RELEASE_KEYS},
        "waves": [
            {"index": index, "name": name, "hosts": taken, "turns": [len(taken)]}
            for index, (name, taken) in enumerate(assigned)
        ],
        "empty": empty,
        "skipped": [{"host": name, "reason": "in no wave"} for name in left],
        "limits": bounds,
        "conditions": gate,
        "targets": len(hosts),
        "bytes_per_device": bytes_per_device,
    }
    plan["digest"] = digest(plan)
    return plan


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


def turns(wave: t.Mapping[str, t.Any]) -> list[list[str]]:
    """The hosts of each turn of a wave, in order: those of one turn are touched at the same time."""
    found, begin = [], 0
    for size in wave["turns"]:
        found.append(wave["hosts"][begin : begin + size])
        begin += size
    return found


def lines(plan: Plan) -> list[str]:
    """The plan for people, one line each."""
    release = plan["release"]
    head = (
        f"release {release['name']} {release['version']} (counter {release['counter']}) from channel "
        f"{release['channel']}, digest {release['digest'][:12]}, {_size(plan['bytes_per_device'])} for each of "
        f"{len(order(plan))} devices"
    )
    text = [head]
    for wave in plan["waves"]:
        text.append(f"wave {wave['index'] + 1} {wave['name']}: {_some(wave['hosts'])}")
    text += [f"wave {name}: left out, no device is left for it" for name in plan["empty"]]
    if plan["skipped"]:
        text.append(f"skipped, in no wave: {_some([entry['host'] for entry in plan['skipped']])}")
    text.append(f"halts when {' or '.join([*limit_settings.lines(plan['limits']), 'one is broken'])}")
    text += condition_settings.lines(plan["conditions"])
    return text


def detail(plan: Plan | None) -> list[str]:
    """The plan with a line for each device, so that a difference shows who moved; empty for no plan."""
    if plan is None:
        return []
    devices = [f"{wave['name']}: {name}" for wave in plan["waves"] for name in wave["hosts"]]
    return [*lines(plan), *devices, *(f"skipped: {entry['host']}" for entry in plan["skipped"])]


def _size(count: int) -> str:
    value, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}" if value < 1000 else f"{value:.0f} {unit}"


def _some(names: list[str], most: int = 8) -> str:
    shown = ", ".join(names[:most]) + (", ..." if len(names) > most else "")
    return f"{len(names)} device{'' if len(names) == 1 else 's'}: {shown}"


def _distribute(
    hosts: t.Sequence[str], groups: t.Mapping[str, t.Sequence[str]], wanted: t.Sequence[_Wave]
) -> tuple[list[tuple[str, list[str]]], list[str], list[str]]:
    """Named waves with their hosts, the hosts that none took, and the names of waves that got nobody."""
    free = dict.fromkeys(hosts)
    assigned: list[tuple[str, list[str]]] = []
    empty: list[str] = []
    for wave in wanted:
        if wave.hosts is not None:
            pool = [name for name in wave.hosts if name in free]
            base = len(pool)
        elif wave.group is not None:
            members = set(groups[wave.group])
            pool = [name for name in free if name in members]
            base = sum(name in members for name in hosts)
        else:
            pool = list(free)
            base = len(hosts)
        size = len(pool)
        if wave.count is not None:
            size = wave.count
        elif wave.percent is not None:
            size = math.ceil(base * wave.percent / 100)
        taken = pool[:size]
        for name in taken:
            del free[name]
        if taken:
            assigned.append((wave.name, taken))
        else:
            empty.append(wave.name)
    return assigned, list(free), empty


def _check_waves(
    waves: t.Any, groups: t.Mapping[str, t.Sequence[str]], known: t.Collection[str], problems: list[str]
) -> list[_Wave]:
    if not isinstance(waves, (list, tuple)) or not waves:
        problems.append("waves: must be a list with at least one wave, for example [{count: 1}, {percent: 100}]")
        return []
    checked = []
    names: set[str] = set()
    for index, wave in enumerate(waves):
        where = f"waves[{index}]"
        if not isinstance(wave, dict):
            problems.append(f"{where}: must be a mapping such as {{percent: 25}}, not {wave!r}")
            continue
        found = _wave_problems(where, wave, groups, known)
        name = str(wave.get("name") or f"wave-{index + 1}")
        if name in names:
            found.append(f"{where}.name: {name!r} is taken by an earlier wave; names are unique")
        names.add(name)
        problems += found
        if not found:
            percent = wave.get("percent")
            checked.append(
                _Wave(
                    name=name,
                    group=wave.get("group"),
                    hosts=wave.get("hosts"),
                    count=wave.get("count"),
                    # through text, so that 0.1 is a tenth and not 0.1000000000000000055
                    percent=None if percent is None else fractions.Fraction(str(percent)),
                )
            )
    return checked


def _wave_problems(
    where: str, wave: dict[str, t.Any], groups: t.Mapping[str, t.Sequence[str]], known: t.Collection[str]
) -> list[str]:
    found = [f"{where}.{key}: unknown; a wave has {', '.join(sorted(_WAVE_KEYS))}" for key in set(wave) - _WAVE_KEYS]
    given = {key for key in _WAVE_KEYS if wave.get(key) is not None}
    if not given & {"group", "hosts", "count", "percent"}:
        found.append(f"{where}: selects nobody; give group, hosts, count or percent")
    for clash in ({"group", "hosts"}, {"count", "percent"}, {"hosts", "count"}, {"hosts", "percent"}):
        if clash <= given:
            found.append(f"{where}: {' and '.join(sorted(clash))} exclude each other; give one of them")
    if "name" in given and not (isinstance(wave["name"], str) and _NAME.fullmatch(wave["name"])):
        found.append(f"{where}.name: {wave['name']!r} is not a name; use letters, digits, blank, dot, dash, underscore")
    if "group" in given and wave["group"] not in groups:
        found.append(f"{where}.group: the inventory has no group {wave['group']!r}; correct the name")
    if "hosts" in given:
        if not isinstance(wave["hosts"], list) or not all(isinstance(name, str) for name in wave["hosts"]):
            found.append(f"{where}.hosts: must be a list of inventory names")
        else:
            strangers = [name for name in wave["hosts"] if name not in known]
            found += [f"{where}.hosts: the inventory has no host {name!r}; correct the name" for name in strangers]
            found += [f"{where}.hosts: {name} is named twice; name it once" for name in _duplicates(wave["hosts"])]
    if "count" in given and not is_whole(wave["count"], 1):
        found.append(f"{where}.count: must be a whole number of at least 1, not {wave['count']!r}")
    if "percent" in given and not (is_number(wave["percent"]) and 0 < wave["percent"] <= 100):
        found.append(f"{where}.percent: must be a number above 0 and up to 100, not {wave['percent']!r}")
    return found


def _duplicates(names: t.Iterable[str]) -> list[str]:
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for name in names:
        if name in seen:
            twice[name] = None
        seen.add(name)
    return list(twice)
