# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What the gate asks after a wave beside the outcomes: analysis and rules (docs/gates.md)."""

from __future__ import annotations

import typing as t

from ..base.plan import Plan, Wave
from ..gate import analysis, rules
from ..gate.decision import HALT, HOLD, Decision, Finding
from ..gate.sources import Subject
from ..journal import outcomes
from ..journal.outcomes import Standing
from ..journal.state import State

_DECISIONS = {analysis.FAILED: HALT, analysis.INCONCLUSIVE: HOLD}


def measure(plan: Plan, wave: Wave, standings: t.Mapping[str, Standing]) -> list[analysis.Result]:
    """Run the analysis of ``wave``: its devices that run the release against those that no wave updated yet."""
    if not plan.conditions["analysis"]:
        return []
    updated = [name for name in wave["hosts"] if name in standings and standings[name].outcome in outcomes.AS_PLANNED]
    # touched or not: what runs the release before is what the new one is compared with; of a lost device nobody knows
    before = ("deferred", "refused", "restored", "rolled_back")
    others = [
        name
        for entry in plan.waves
        for name in entry["hosts"]
        if name not in standings or standings[name].outcome in before
    ]
    baseline = _subject(plan, wave, others) if others else None
    return analysis.run(plan.conditions["analysis"], _subject(plan, wave, updated), baseline)


def newest(state: State, wave: Wave) -> list[analysis.Result]:
    """What the newest analysis of ``wave`` under the plan in force came to: rules ask for it after every run."""
    measured = state.wave(wave).analysis.values()
    return [analysis.Result(one.metric, one.verdict, one.reason, one.dry_run) for one in measured]


def findings(
    plan: Plan,
    wave: Wave,
    decision: Decision,
    standings: t.Mapping[str, Standing],
    results: t.Sequence[analysis.Result],
    sites: t.Mapping[str, str],
) -> list[Finding]:
    """What analysis and rules say; a metric on a dry run says nothing."""
    measured = [
        Finding(_DECISIONS[result.verdict], result.reason, f"analysis {result.metric}")
        for result in results
        if result.verdict in _DECISIONS and not result.dry_run
    ]
    verdicts = {result.metric: result.verdict for result in results}
    summary = rules.summary(plan, wave, decision, standings, sites=sites, analysis=verdicts)
    return measured + rules.judge(plan.conditions["rules"], summary)


def _subject(plan: Plan, wave: Wave, devices: t.Sequence[str]) -> Subject:
    release = plan.release
    return Subject(tuple(devices), wave["name"], plan.rollout, release["name"], release["version"])
