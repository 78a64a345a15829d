# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The fleet in one table: what each device said of itself, and where a rollout has it. Who did not answer is a row too.

What is not known is ``None`` in rows and ``unknown`` in lines, never left out and never guessed.
"""

from __future__ import annotations

import collections
import pathlib
import typing as t

from ..base.errors import JournalError
from ..journal import checkpoints, journal, outcomes
from ..journal.journal import Journal
from ..journal.state import State

UNKNOWN = "unknown"
NONE = "no release"
#: Column titles, and the key of a row or what makes the text.
_TITLES = ("device", "reached", "release", "previous", "transaction", "healthy", "rollout")
Row = dict[str, t.Any]
#: What a module returned of a device.
Answer = t.Mapping[str, t.Any]


class Place(t.NamedTuple):
    """Where the newest rollout that has a device has it."""

    rollout: str
    wave: str
    outcome: str | None
    #: whether it was when last seen there, None if nobody knows
    healthy: bool | None
    #: what the rollout's journal says
    state: State


def places(directory: pathlib.Path, devices: t.Collection[str]) -> tuple[dict[str, Place], list[str]]:
    """Where rollouts below ``directory`` have ``devices``, and what cannot be read there.

    A way back has no place of its own: the rollout that it took a device back from has that device as ``rolled_back``.
    """
    places: dict[str, Place] = {}
    #: when a way back ended on a device, by the rollout that it is from and the device
    went: dict[tuple[str, str], str] = {}
    problems = []
    books = []
    for path in directory.glob("*/" + journal.NAME):
        try:
            books.append((Journal(path).last()["time"], path))
        except JournalError as error:
            problems.append(str(error))
    for _time, path in sorted(books, reverse=True):
        if len(places) == len(set(devices)):
            break
        try:
            state = State.of(Journal(path).read())
            plan = state.plan
        except JournalError as error:
            problems.append(str(error))
            continue
        if plan.back_from:  # newer than the rollout, so seen first
            for name, back in state.standings.items():
                if back.outcome in outcomes.AS_PLANNED:
                    went.setdefault((plan.back_from, name), state.heard[name])
            continue
        for wave in plan.waves:
            for name in set(wave["hosts"]).intersection(devices).difference(places):
                standing = state.standings.get(name)
                outcome = standing.outcome if standing else None
                if outcome in outcomes.AS_PLANNED and went.get((plan.rollout, name), "") > state.heard[name]:
                    outcome = "rolled_back"
                looked_at = standing and (outcome in outcomes.AS_PLANNED or not standing.healthy)
                healthy = standing.healthy if standing and looked_at else None
                places[name] = Place(plan.rollout, wave["name"], outcome, healthy, state)
    return places, problems


def rows(
    devices: t.Iterable[str],
    infos: t.Mapping[str, Answer],
    checked: t.Mapping[str, Answer],
    places: t.Mapping[str, Place],
) -> list[Row]:
    """One row for each of ``devices``.

    ``infos`` has what ``fleet.ota.info`` registered, ``checked`` what ``fleet.ota.health`` did, ``places`` is of
    :func:`places`. A row has ``device``, ``reached``, ``problem``, ``releases``, ``previous``, ``transaction``,
    ``waiting``, ``healthy``, ``rollout``, ``wave``, ``outcome``, ``ahead``.
    """
    return [_row(name, infos.get(name, {}), checked.get(name, {}), places.get(name)) for name in devices]


def totals(rows: t.Iterable[Row]) -> dict[str, int]:
    """How many devices run each release, have none, or are not known to; the most frequent first."""
    counted = collections.Counter(text for row in rows for text in _running(row))
    return dict(sorted(counted.items(), key=lambda entry: (entry[0] == UNKNOWN, -entry[1], entry[0])))


def lines(rows: t.Sequence[Row]) -> list[str]:
    """The table, its totals below it, for people and logs: plain text, one line for each device."""
    table = [_TITLES, *(_cells(row) for row in rows)]
    widths = [max(len(cells[index]) for cells in table) for index in range(len(_TITLES))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in table]
    reached = sum(row["reached"] for row in rows)
    text.append(f"{len(rows)} devices, {reached} reached")
    text += [f"{release}: {number}" for release, number in totals(rows).items()]
    text += [f"{row['device']}: {row['problem']}" for row in rows if row["problem"]]
    return text


def _row(device: str, info: Answer, checked: Answer, place: Place | None) -> Row:
    reached = not info.get("unreachable") and ("enrolled" in info or "code" in info)
    answered = reached and "releases" in info
    releases = info.get("releases") or {} if answered else None
    last = info.get("transaction") if answered else None
    healthy = checked.get("healthy")
    if healthy is None and answered and place:
        healthy = place.healthy
    return {
        "device": device,
        "reached": reached,
        "problem": None if answered else _problem(device, str(info.get("msg") or "was not asked")),
        "enrolled": info.get("enrolled") if answered else None,
        "releases": _versions(releases, "current"),
        "previous": _versions(releases, "previous"),
        "transaction": {key: last.get(key) for key in ("state", "outcome", "code", "rollout")} if last else None,
        "waiting": last["outcome"] is None if last else False if answered else None,
        "healthy": healthy,
        "rollout": place.rollout if place else None,
        "wave": place.wave if place else None,
        "outcome": place.outcome if place else None,
        "ahead": _ahead(place, info.get("witness") or []) if answered and place else None,
    }


def _problem(device: str, message: str) -> str:
    """In one line, and without what Ansible and the action say before it."""
    _before, named, after = message.partition(f"{device}: ")
    return " ".join((after if named else message).split())


def _ahead(place: Place, witnessed: object) -> bool:
    """Whether a device witnessed more of a journal than that has (docs/codes/AHEAD.md)."""
    own = checkpoints.of_journal(place.state.checkpoint(), witnessed)
    return any(not place.state.holds(one) for one in own)


def _versions(releases: Answer | None, which: str) -> list[str] | None:
    if releases is None:
        return None
    entries = (entry.get(which) for _name, entry in sorted(releases.items()))
    return [f"{one['name']} {one['version']}" for one in entries if one]


def _running(row: Row) -> list[str]:
    return [UNKNOWN] if row["releases"] is None else row["releases"] or [NONE]


def _cells(row: Row) -> tuple[str, ...]:
    last = row["transaction"]
    transaction = UNKNOWN if row["waiting"] is None else "none"
    if last:
        transaction = last["outcome"] or f"waits, {last['state']}"
        transaction += f" ({last['code']})" if last["code"] else ""
    place = " ".join(part for part in (row["rollout"], row["wave"], row["outcome"] or "untouched") if part)
    return (
        row["device"],
        "yes" if row["reached"] else "no",
        ", ".join(_running(row)),
        UNKNOWN if row["previous"] is None else ", ".join(row["previous"]) or "none",
        transaction,
        UNKNOWN if row["healthy"] is None else "yes" if row["healthy"] else "no",
        (place if row["rollout"] else "none") + (", ahead of the journal" if row["ahead"] else ""),
    )
