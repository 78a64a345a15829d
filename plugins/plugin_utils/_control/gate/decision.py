# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The decision before and after a wave: promote, hold or halt (docs/reference/plan.md)."""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ..base.plan import Limits, Plan, Wave
from ..journal import outcomes
from ..journal.outcomes import Standing
from ..journal.record import HALT, HOLD, PROMOTE
from . import limits as bounds

_STRICTNESS = {PROMOTE: 0, HOLD: 1, HALT: 2}


@dataclasses.dataclass(frozen=True)
class Decision:
    """What the gate says and what it counted.

    ``counts`` has one number per outcome that occurs, and ``success``, ``failure`` and ``executed`` (their sum);
    ``failures`` lists the devices that count as failed.
    """

    decision: str
    reason: str
    counts: dict[str, int]
    failures: list[Standing]

    @property
    def stop(self) -> bool:
        """Whether nothing more may be touched now."""
        return self.decision != PROMOTE


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a condition beside the limits asks for: a decision, why, and which condition it is (``analysis errors``)."""

    decision: str
    reason: str
    source: str


def weigh(decision: Decision, findings: t.Iterable[Finding]) -> Decision:
    """The decision of the records together with what the conditions say: the strictest counts, all of its reasons."""
    verdicts = [(decision.decision, decision.reason)]
    verdicts += [(finding.decision, f"{finding.source}: {finding.reason}") for finding in findings]
    strictest = max((verdict for verdict, _reason in verdicts), key=_STRICTNESS.__getitem__)
    if strictest == PROMOTE:
        return decision
    reasons = [reason for verdict, reason in verdicts if verdict == strictest]
    return dataclasses.replace(decision, decision=strictest, reason="; ".join(reasons))


def decide(
    plan: Plan,
    standings: t.Mapping[str, Standing],
    *,
    wave: int,
    before: bool = False,
    untouched: t.Collection[str] = (),
) -> Decision:
    """Whether the rollout may go on, from the recorded outcomes against the full list of targets.

    ``wave`` is the index of the wave that ended, or with ``before`` of the wave that is about to start. Devices
    of waves that should have ended and have no outcome count as ``lost``; failures recorded for later waves (by an
    earlier run of the same rollout) count too. ``untouched`` are devices whose turn never came because the gate
    stopped their wave (:class:`journal.gates.Gates`); nothing can have become of them.
    """
    finished = [entry for entry in plan.waves if entry["index"] < wave + (not before)]
    due = {name for entry in finished for name in entry["hosts"]}.difference(untouched)
    judged = []
    for entry in plan.waves:
        for name in entry["hosts"]:
            standing = standings.get(name)
            if name in due and (standing is None or standing.outcome == "pending"):
                why = "touched, but nothing came back" if standing else "nothing is recorded"
                standing = Standing(name, "lost", "UNREACHABLE", why)
            if standing is not None and standing.outcome != "pending":
                judged.append(standing)
    failures = [standing for standing in judged if _failed(standing)]
    success = sum(standing.outcome in outcomes.SUCCESS and standing.healthy for standing in judged)
    executed = success + len(failures)
    counts = dict(sorted(collections.Counter(standing.outcome for standing in judged).items()))
    counts.update(success=success, failure=len(failures), executed=executed)
    verdict, reason = _verdict(plan.limits, failures, executed)
    back = [standing.device for standing in judged if standing.taken_back]
    if verdict == PROMOTE and back:
        # or a job that runs every hour would bring and take back the same release for ever
        verdict, reason = (
            HALT,
            f"{_some(back)} taken back from this release; publish a better one, or reset the rollout",
        )
    ahead = [standing.device for standing in judged if standing.ahead]
    if verdict == PROMOTE and ahead:
        verdict = HOLD
        reason = (
            f"{_some(ahead)} witnessed more than this journal has, which is an older copy; bring the newer one back, "
            "or reset the rollout to go on with this one (docs/codes/AHEAD.md)"
        )
    unseen = [standing for standing in judged if standing.outcome in outcomes.AS_PLANNED and standing.unseen]
    if verdict == PROMOTE and unseen:
        verdict, reason = _with_unseen(plan.limits, failures, unseen, executed, reason)
    if verdict == PROMOTE and finished and not _has_evidence(finished[-1], standings):
        verdict = HOLD
        reason = (
            f"wave {finished[-1]['name']} brought no evidence: none of its {len(finished[-1]['hosts'])} devices runs "
            "the release; run the rollout again later"
        )
    return Decision(verdict, reason, counts, failures)


def _with_unseen(
    limits: Limits, failures: list[Standing], unseen: list[Standing], executed: int, reason: str
) -> tuple[str, str]:
    """Hold where the limits allow what is known to have failed, but not if ``unseen`` devices had failed too.

    Nobody is taken back because of them: a password or an engine that is missing says nothing of the release.
    """
    kinds = collections.Counter(map(_kind, failures))
    kinds["unhealthy"] += len(unseen)
    if not bounds.exceeded(limits, kinds, executed):
        return PROMOTE, reason
    named = "; ".join(f"{standing.device}: {standing.unseen}" for standing in unseen[:3])
    more = f"; and {len(unseen) - 3} more" if len(unseen) > 3 else ""
    return HOLD, f"{len(unseen)} could not be asked how they are, so that is unknown ({named}{more}); run again"


def _some(names: list[str]) -> str:
    return f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}:"


def _failed(standing: Standing) -> bool:
    # the health of one that was not updated is not of this rollout's making
    return standing.outcome in outcomes.FAILURE or (standing.outcome in outcomes.AS_PLANNED and not standing.healthy)


def _has_evidence(wave: Wave, standings: t.Mapping[str, Standing]) -> bool:
    return any(name in standings and standings[name].as_planned for name in wave["hosts"])


def _kind(standing: Standing) -> str:
    """The kind of a failure, as limits name it."""
    return standing.outcome if standing.outcome in outcomes.FAILURE else "unhealthy"


def _verdict(limits: Limits, failures: list[Standing], executed: int) -> tuple[str, str]:
    broken = [standing.device for standing in failures if standing.outcome == "broken"]
    if broken:
        return HALT, f"{_some(broken)} could not be restored and has to be repaired by hand"
    exceeded = bounds.exceeded(limits, collections.Counter(map(_kind, failures)), executed)
    if exceeded:
        named = ", ".join(f"{standing.device} {_kind(standing)}" for standing in failures[:5])
        return HALT, f"{exceeded}: {named}{', ...' if len(failures) > 5 else ''}"
    return PROMOTE, f"{len(failures)} failed of {executed} executed, within the limits"
