# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What of a wave is behind it: soak and analysis are not repeated for what passed them, approvals not asked twice."""

from __future__ import annotations

import typing as t

from ..base.plan import Plan, Wave
from ..journal.journal import Journal
from ..journal.state import State


def settled(state: State, wave: Wave) -> bool:
    """Whether ``wave`` was promoted under the plan in force and none of its devices was updated anew since."""
    return state.wave(wave).settled


def idle(state: State, wave: Wave) -> bool:
    """Whether nothing is to be done in ``wave``: then a run writes nothing there, and may come every hour for ever."""
    return settled(state, wave) and state.as_planned(wave["hosts"])


def soak(state: State, wave: Wave) -> float:
    """Seconds for which ``wave`` is left alone; 0 for one that soaked before and in which nothing is left to do."""
    return 0 if idle(state, wave) else wave.get("soak", state.plan.conditions["soak"])


def approved(state: State, plan: Plan) -> t.Mapping[str, t.Mapping[str, object]]:
    """Who approved which wave of this very plan: name to ``data`` of ``wave.approved``."""
    return state.approvals.get(plan.digest, {})


def unapproved(state: State, plan: Plan, wave: Wave) -> bool:
    """Whether ``wave`` still waits for somebody's approval. Not once all of its devices run the release."""
    waits = bool(wave.get("approval")) and wave["name"] not in approved(state, plan)
    return waits and not state.as_planned(wave["hosts"])


def approve(book: Journal, plan: Plan, name: str, *, how: str, by: str, **more: object) -> bool:
    """Record that ``by`` lets the wave ``name`` begin, ``how`` (signed, terminal, awx); False if it was said before."""
    if name in approved(State.of(book.read()), plan):
        return False
    index = next(wave["index"] for wave in plan.waves if wave["name"] == name)
    data = {"wave": index, "name": name, "plan": plan.digest, "how": how, "by": by, **more}
    book.append("wave.approved", data={key: value for key, value in data.items() if value is not None})
    return True
