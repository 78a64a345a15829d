# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Where journals and what others say of them differ: a device's own word, its witnesses, the next rollout's begin.

A chain of hashes can be computed anew by whoever can write the file. What devices keep and what other journals say, he
cannot change with it.
"""

from __future__ import annotations

import pathlib
import typing as t

from ..base.errors import JournalError
from ..journal import checkpoints, journal, outcomes
from ..journal.journal import Journal
from ..journal.state import State

if t.TYPE_CHECKING:
    from .fleet import Answer, Place, Row

#: Outcomes in the journal that are no last word: the next run asks the device for its own.
_OPEN = frozenset({None, *outcomes.UNRESOLVED})


def differences(rows: t.Iterable[Row], infos: t.Mapping[str, Answer], places: t.Mapping[str, Place]) -> list[str]:
    """For people: which of the devices in ``rows`` tell another story than the journals of their rollouts."""
    told = []
    for row in rows:
        place = places.get(row["device"])
        if place:
            told += _own_word(row, place)
            told += _witnesses(row["device"], infos.get(row["device"], {}).get("witness"), place)
    return told


def predecessors(directory: pathlib.Path, rollouts: t.Iterable[str]) -> list[str]:
    """For people: which of the ``rollouts`` began after records that the journal before them has no more."""
    told = []
    for rollout in dict.fromkeys(rollouts):
        try:
            first = Journal(directory / rollout / journal.NAME).read()[0]
        except (JournalError, IndexError):
            continue  # whoever reads the journal itself says so
        before = first["data"].get("previous")
        if not isinstance(before, dict) or not isinstance(before.get("rollout"), str):
            continue
        if first["prev"] != before.get("head"):
            told.append(f"the journal of {rollout} names two ends of {before['rollout']}: its first record was changed")
            continue
        path = directory / pathlib.PurePath(before["rollout"]).name / journal.NAME
        try:
            holds = not path.exists() or State.of(Journal(path).read()).holds(t.cast(checkpoints.Checkpoint, before))
        except JournalError:
            continue
        if not holds:
            told.append(
                f"{rollout} began after {before['size']} records of {before['rollout']}, whose journal has others now: "
                f"{path} was changed, or is an older copy"
            )
    return told


def _own_word(row: Row, place: Place) -> list[str]:
    last = row["transaction"]
    if not last or last["rollout"] != place.rollout or last["outcome"] in (None, place.outcome):
        return []
    if place.outcome == "current" and last["outcome"] == "updated":
        return []  # a later run found it done
    where = f"{row['device']} says {last['outcome']} of {place.rollout}, and the journal {place.outcome or 'nothing'}"
    if place.outcome in _OPEN:
        return [f"{where}: the rollout's next run records it"]
    return [f"{where}: the journal or the device's record was changed; compare both with backups"]


def _witnesses(device: str, witnessed: object, place: Place) -> list[str]:
    kept = [one for one in (witnessed if isinstance(witnessed, list) else ()) if isinstance(one, dict)]
    about = [one for one in kept if one.get("rollout") == place.rollout]
    if not about or checkpoints.of_journal(place.state.checkpoint(), about):
        return []
    line = (
        f"{device} has witnessed a journal of {place.rollout} with another first record: this one was begun anew, or "
        "it was changed; compare it with a backup"
    )
    return [line]
