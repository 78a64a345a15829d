# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The plan of a way back: the devices that a recorded rollout brought to its release, in one wave."""

from __future__ import annotations

import hashlib
import pathlib
import typing as t

from ..base.errors import PlanError
from ..base.plan import Plan, Release, digest
from ..journal import journal, outcomes
from ..planning import plan
from .rollout import recorded

#: A device that could not go back must not keep the others from going back.
_LIMITS = {"max_failures": 1_000_000}


def make(
    *,
    directory: pathlib.Path,
    rollout: str,
    hosts: t.Sequence[str],
    groups: t.Mapping[str, t.Sequence[str]],
    wave: str | None,
) -> Plan:
    """The plan to take the devices of ``rollout`` back, a plan as :func:`plan.make` gives it.

    ``directory`` is the journal directory; of ``hosts`` those are taken that the rollout left on its release, with
    ``wave`` only those that one of its plans has in the wave with that name, in the order of the newest plan that has
    them. Going back from the same rollout gives the same plan id, so that running it again resumes it. Raises
    :class:`PlanError`, or JournalError if there is no such rollout.
    """
    state = journal.Journal(recorded(directory, rollout)).state()
    release = state.plan.release
    # the newest plan alone does not have whom a run with a limit, or an inventory from which hosts are gone, left out
    waves = [entry for followed in reversed(state.plans) for entry in followed.waves]
    names = list(dict.fromkeys(entry["name"] for entry in waves))
    if wave is not None and wave not in names:
        raise PlanError(f"rollout {rollout} has no wave {wave!r}; it has {', '.join(names)}")
    planned = dict.fromkeys(name for entry in waves if wave in (None, entry["name"]) for name in entry["hosts"])
    standings, here = state.standings, set(hosts)
    touched = [
        name
        for name in planned
        if name in here and name in standings and standings[name].outcome in outcomes.AS_PLANNED
    ]
    if not touched:
        raise PlanError(f"no device of these hosts runs what rollout {rollout} brought; nothing is to go back")
    back: Release = {
        **release,
        "version": f"{release['version']}.back",
        "digest": hashlib.sha256(f"back from {release['digest']}".encode()).hexdigest(),
    }
    document = plan.make(
        hosts=touched, groups=groups, release=back, waves=[{"name": "back", "percent": 100}], limits=_LIMITS
    ).document
    document["back_from"] = rollout
    document["digest"] = digest(document)
    return Plan(document)
