# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What the gate asks after a wave beside the outcomes: analysis and rules (docs/gates.md)."""

from __future__ import annotations

import typing as t

from ..gate import analysis, rules
from ..gate.decision import HALT, HOLD, Decision, Finding
from ..gate.sources import Subject
from ..journal import outcomes
from ..journal.outcomes import Standing
from ..journal.record import BEGINS, Record
from ..planning.plan import Plan

Wave = t.Mapping[str, t.Any]

_DECISIONS = {analysis.FAILED: HALT, analysis.INCONCLUSIVE: HOLD}


def measure(plan: Plan, wave: Wave, known: t.Mapping[str, Standing]) -> list[analysis.Result]:
    """Run the analysis of ``wave``: its devices that run the release against those that no wave updated yet."""
    if not plan["conditions"]["analysis"]:
        return []
    updated = [name for name in wave["hosts"] if name in known and known[name].outcome in outcomes.AS_PLANNED]
    # touched or not: what runs the release before is what the new one is compared with; of a lost device nobody knows
    before = ("deferred", "refused", "restored", "rolled_back")
    others = [
        name for entry in plan["waves"] for name in entry["hosts"] if name not in known or known[name].outcome in before
    ]
    baseline = _subject(plan, wave, others) if others else None
    return analysis.run(plan["conditions"]["analysis"], _subject(plan, wave, updated), baseline)


def remembered(records: t.Sequence[Record], wave: Wave) -> list[analysis.Result]:
    """What the newest analysis of ``wave`` under the plan at hand came to: rules ask for it after every run."""
    found: dict[str, analysis.Result] = {}
    for record in records:
        data = record["data"]
        if record["event"] in BEGINS and "plan" in data:
            found.clear()
        elif record["event"] == "wave.analysis" and data["wave"] == wave["index"]:
            found[data["metric"]] = analysis.Result(*(data[key] for key in ("metric", "verdict", "reason", "dry_run")))
    return list(found.values())


def findings(
    plan: Plan,
    wave: Wave,
    decision: Decision,
    known: t.Mapping[str, Standing],
    results: t.Sequence[analysis.Result],
    sites: t.Mapping[str, str],
) -> list[Finding]:
    """What analysis and rules say; a metric on a dry run says nothing."""
    found = [
        Finding(_DECISIONS[result.verdict], result.reason, f"analysis {result.metric}")
        for result in results
        if result.verdict in _DECISIONS and not result.dry_run
    ]
    verdicts = {result.metric: result.verdict for result in results}
    seen = rules.summary(plan, wave, decision, known, sites=sites, analysis=verdicts)
    return found + rules.judge(plan["conditions"]["rules"], seen)


def _subject(plan: Plan, wave: Wave, devices: t.Sequence[str]) -> Subject:
    release = plan["release"]
    return Subject(tuple(devices), wave["name"], plan["rollout"], release["name"], release["version"])
