# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What of a wave is behind it: soak and analysis are not repeated for what passed them, approvals not asked twice."""

from __future__ import annotations

import typing as t

from ..gate import decision
from ..journal import outcomes
from ..journal.journal import Journal
from ..journal.record import Record
from ..planning.plan import Plan

Wave = t.Mapping[str, t.Any]


def settled(records: t.Sequence[Record], wave: Wave) -> bool:
    """Whether ``wave`` was promoted under the plan at hand and none of its devices was updated since."""
    done = False
    known: dict[str, t.Any] = {}
    for record in records:
        if record["event"] == "rollout.reset" or (record["event"] == "rollout.resumed" and "plan" in record["data"]):
            done = False
        elif record["event"] == "wave.ended" and record["data"]["wave"] == wave["index"]:
            done = record["data"]["decision"] == decision.PROMOTE
        elif record["event"] == "device.outcome" and record["device"] in wave["hosts"]:
            transaction = record["data"].get("transaction")
            # a later run may hear once more of the transaction that it knows
            heard = transaction is not None and transaction == known.get(record["device"])
            if record["outcome"] == "updated" and not heard:
                done = False
            known[record["device"]] = transaction
    return done


def idle(records: t.Sequence[Record], wave: Wave) -> bool:
    """Whether nothing is to be done in ``wave``: then a run writes nothing there, and may come every hour for ever."""
    return settled(records, wave) and _done(records, wave)


def soak(records: t.Sequence[Record], plan: Plan, wave: Wave) -> float:
    """Seconds for which ``wave`` is left alone; 0 for one that soaked before and in which nothing is left to do."""
    if idle(records, wave):
        return 0
    return t.cast("float", wave.get("soak", plan["conditions"]["soak"]))


def approved(records: t.Sequence[Record], plan: Plan) -> dict[str, dict[str, t.Any]]:
    """Who approved which wave of this very plan: name to ``data`` of ``wave.approved``."""
    said = (record["data"] for record in records if record["event"] == "wave.approved")
    return {data["name"]: data for data in said if data["plan"] == plan["digest"]}


def unapproved(records: t.Sequence[Record], plan: Plan, wave: Wave) -> bool:
    """Whether ``wave`` still waits for somebody's approval. Not once all of its devices run the release."""
    return bool(wave.get("approval")) and wave["name"] not in approved(records, plan) and not _done(records, wave)


def approve(book: Journal, plan: Plan, name: str, *, how: str, by: str, **more: t.Any) -> bool:
    """Record that ``by`` lets the wave ``name`` begin, ``how`` (signed, terminal, awx); False if it was said before."""
    if name in approved(book.read(), plan):
        return False
    index = next(wave["index"] for wave in plan["waves"] if wave["name"] == name)
    data = {"wave": index, "name": name, "plan": plan["digest"], "how": how, "by": by, **more}
    book.append("wave.approved", data={key: value for key, value in data.items() if value is not None})
    return True


def _done(records: t.Sequence[Record], wave: Wave) -> bool:
    known = outcomes.standings(records)
    return all(name in known and known[name].as_planned for name in wave["hosts"])
