# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Rules of the team's own over what a wave came to (``conditions.rules``, docs/gates.md)."""

from __future__ import annotations

import collections
import typing as t

from ..base import expressions
from ..base.plan import Plan, Release, Rule, Wave
from ..journal import outcomes
from ..journal.outcomes import Standing
from .decision import HALT, HOLD, Decision, Finding


class DeviceRow(t.TypedDict):
    """A device of the wave as rules see it."""

    device: str
    site: str
    outcome: str
    code: str | None
    healthy: bool
    seconds: float | None


class WaveSummary(t.TypedDict):
    """The wave as rules see it."""

    index: int
    name: str
    size: int
    last: bool
    counts: dict[str, int]
    devices: list[DeviceRow]


class Summary(t.TypedDict):
    """What rules look at (docs/gates.md shows it)."""

    wave: WaveSummary
    counts: dict[str, int]
    failure_percent: float
    targets: int
    release: Release
    analysis: dict[str, str]


_KEYS = frozenset({"when", "decision", "reason"})


def validate(rules: object, problems: list[str]) -> list[Rule]:
    """The rules; what is wrong with them is added to ``problems``."""
    if not isinstance(rules, list):
        problems.append(f"conditions.rules: must be a list, not {rules!r}")
        return []
    valid: list[Rule] = []
    for index, rule in enumerate(rules):
        where = f"conditions.rules[{index}]"
        if not isinstance(rule, dict):
            problems.append(f"{where}: must be a mapping of when, decision and reason, not {rule!r}")
            continue
        problems += [f"{where}.{key}: unknown; a rule has {', '.join(sorted(_KEYS))}" for key in set(rule) - _KEYS]
        wrong = expressions.problem(rule.get("when"))
        if wrong:
            problems.append(f"{where}.when: {wrong}")
        if rule.get("decision") not in (HOLD, HALT):
            problems.append(f"{where}.decision: must be hold or halt, not {rule.get('decision')!r}")
        if not isinstance(rule.get("reason", ""), str):
            problems.append(f"{where}.reason: must be a text, not {rule['reason']!r}")
        valid.append(t.cast(Rule, {"reason": "", **rule}))
    return valid


def summary(
    plan: Plan,
    wave: Wave,
    decision: Decision,
    standings: t.Mapping[str, Standing],
    *,
    sites: t.Mapping[str, str],
    analysis: t.Mapping[str, str],
) -> Summary:
    """What rules look at (docs/gates.md shows it). ``sites`` is host to site, ``analysis`` metric to verdict."""
    counts = {**dict.fromkeys(sorted(outcomes.ALL), 0), **decision.counts}
    executed = counts["executed"]
    rows = [_row(name, standings.get(name), sites.get(name, "")) for name in wave["hosts"]]
    return {
        "wave": {
            "index": wave["index"],
            "name": wave["name"],
            "size": len(wave["hosts"]),
            "last": wave["index"] == len(plan.waves) - 1,
            "counts": {**dict.fromkeys(sorted(outcomes.ALL), 0), **collections.Counter(row["outcome"] for row in rows)},
            "devices": rows,
        },
        "counts": counts,
        "failure_percent": round(100 * counts["failure"] / executed, 3) if executed else 0,
        "targets": plan.document["targets"],
        "release": plan.release,
        "analysis": dict(analysis),
    }


def judge(rules: t.Sequence[Rule], summary: Summary) -> list[Finding]:
    """What the rules say; one that cannot be evaluated holds: nobody knows what it would have said."""
    findings = []
    for rule in rules:
        try:
            if expressions.holds(rule["when"], summary):
                findings.append(Finding(rule["decision"], rule["reason"] or rule["when"], "rule"))
        except ValueError as error:
            findings.append(Finding(HOLD, f"{error}; correct the expression", "rule"))
    return findings


def _row(name: str, standing: Standing | None, site: str) -> DeviceRow:
    outcome = "lost" if standing is None or standing.outcome == "pending" else standing.outcome
    return {
        "device": name,
        "site": site,
        "outcome": outcome,
        "code": standing.code if standing else None,
        "healthy": bool(standing and standing.healthy),
        "seconds": standing.data.get("seconds") if standing else None,
    }
