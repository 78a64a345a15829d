# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.
"""Approvals of a rollout: what is asked for, what is signed, what an approved plan covers (docs/reference/approval.md).

An approval binds people's signatures to the bytes of a plan: it is a TUF target of an approval role.
"""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import typing as t

from ....module_utils._device.documents import approval, approved
from ..base.errors import PlanError
from ..base.plan import Plan, Wave
from ..planning import plan as planning
from ..planning import settings
from ..policy import policy as policies
from ..policy.policy import Policy

#: An approval as the device engine reads it.
Document = dict[str, t.Any]

#: Hours that an approval holds unless another time is asked for.
HOURS = 72


@dataclasses.dataclass(frozen=True)
class Requester:
    """Who asks: a name for people and, if they could sign themselves, the id of their key."""

    name: str
    keyid: str | None = None
    remark: str | None = None


@dataclasses.dataclass(frozen=True)
class Approved:
    """An approval that verified metadata lists, and what it says."""

    listed: approved.Listed
    value: approval.Approval

    @property
    def role(self) -> str:
        """The role that lists it."""
        return self.listed.role

    @property
    def path(self) -> str:
        """The TUF target path."""
        return self.listed.path

    @property
    def plan(self) -> Plan:
        """The plan that was approved."""
        return Plan.of(self.value["plan"])

    @property
    def wave(self) -> str | None:
        """The name of the one wave that it lets begin; None for an approval of the whole plan."""
        return self.value.get("wave")

    def expired(self, now: datetime.datetime) -> bool:
        """Whether it does not hold any more."""
        return approval.seconds(self.value["expires"]) <= now.timestamp()


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether a plan may begin: ``needed`` is role to number, ``paths`` are the approvals that hold and cover it.

    ``missing`` says what is not there and why what is there does not do; None when nothing is. ``ends`` says of each of
    ``paths`` until when it holds, in ISO 8601.
    """

    needed: dict[str, int]
    paths: list[str]
    missing: str | None
    ends: t.Mapping[str, str] = dataclasses.field(default_factory=dict)

    def lines(self) -> list[str]:
        """For people."""
        if self.missing:
            return [f"needs approval: {self.missing}; ask with fleet.ota.approve"]
        return [f"approved: {', '.join(self.paths)}"] if self.paths else []

    def require(self, plan: Plan) -> None:
        """Raise :class:`PlanError` with ``APPROVAL`` unless the plan may begin."""
        if self.missing:
            message = f"the rollout {plan.rollout} needs approval: {self.missing}; ask with fleet.ota.approve"
            raise PlanError(message, code="APPROVAL", needed=self.needed)


def judge(
    policy: Policy | None,
    listed: t.Sequence[Approved],
    plan: Plan,
    identities: t.Callable[[], t.Mapping[str, t.Mapping[str, str]]],
    now: datetime.datetime,
) -> Verdict:
    """What the fleet's ``policy`` asks for ``plan``, and what of it is ``listed``; see :func:`needed`."""
    if policy is None:
        return Verdict({}, [], None)
    asking = _asking(policy, plan, identities())
    wanted = {role: most for role, (most, _names) in asking.items()}
    eyes = approved.four_eyes(policy)
    best: list[Approved] = []
    missing = []
    for role, (count, names) in asking.items():
        mine = [one for one in listed if one.role == role and one.wave is None]
        demand = approved.Demand(role, count, eyes)
        release = plan.release
        about = approved.Wanted(release["digest"], release["channel"], names, now.timestamp(), plan.rollout)
        reasons = {
            one.path: _unfit(one, plan, now) or approved.problem(one.path, one.listed, demand, about) for one in mine
        }
        good = [one for one in mine if reasons[one.path] is None]
        if good:
            best.append(max(good, key=lambda one: str(one.value["expires"])))
            continue
        why = "; ".join(f"{path} {reason}" for path, reason in reasons.items()) or "no signatures yet"
        missing.append(f"{count} by {role} ({why})")
    ends = {one.path: str(one.value["expires"]) for one in best}
    return Verdict(wanted, list(ends), ", ".join(missing) or None, ends)


def waves(
    policy: Policy | None,
    needed: t.Mapping[str, int],
    listed: t.Sequence[Approved],
    plan: Plan,
    now: datetime.datetime,
) -> dict[str, list[str]]:
    """The waves of ``plan`` that signatures let begin, with the paths of their approvals.

    Each needs one by every role that the plan itself ``needed``, of as many people; where no policy asks for any, one
    by any such role.
    """
    begun = {}
    eyes = policy is not None and approved.four_eyes(policy)
    for wave in plan.waves:
        mine = [
            one for one in listed if one.wave == wave["name"] and set(wave["hosts"]) <= _hosts(one.plan, wave["name"])
        ]
        good = [one for one in mine if _unfit(one, plan, now) is None and _enough(one, needed, four_eyes=eyes)]
        if good and set(needed) <= {one.role for one in good}:
            begun[wave["name"]] = sorted(one.path for one in good)
    return begun


def _hosts(plan: Plan, wave: str) -> set[str]:
    return {name for entry in plan.waves if entry["name"] == wave for name in entry["hosts"]}


def needed(policy: Policy | None, plan: Plan, identities: t.Mapping[str, t.Mapping[str, str]]) -> dict[str, int]:
    """The approvals that the devices of ``plan`` need together: role to number.

    ``identities`` has what the inventory says of each device (name, hardware, site, labels); the devices themselves
    go by their own identity file. Raises :class:`RepositoryError` with ``APPROVAL`` for a device that the policy
    does not know.
    """
    return {role: most for role, (most, _names) in _asking(policy, plan, identities).items()} if policy else {}


def _asking(
    policy: Policy, plan: Plan, identities: t.Mapping[str, t.Mapping[str, str]]
) -> dict[str, tuple[int, list[str]]]:
    """By role the most people that a device of ``plan`` asks for, and the devices that ask for any."""
    asking: dict[str, tuple[int, list[str]]] = {}
    for name in plan.order():
        words = {**identities.get(name, {}), "name": name}
        for demand in policies.demands(policy, words, plan.release["channel"]):
            most, names = asking.get(demand.role, (0, []))
            names.append(name)
            asking[demand.role] = (max(demand.people, most), names)
    return dict(sorted(asking.items()))


def request(
    plan: Plan, requester: Requester, *, now: datetime.datetime, hours: float = HOURS, wave: str | None = None
) -> bytes:
    """The bytes to sign for a rollout by ``plan``, or for one ``wave`` of it to begin. Raises :class:`PlanError`."""
    names = [entry["name"] for entry in plan.waves]
    if wave is not None and wave not in names:
        raise PlanError(f"the plan {plan.rollout} has no wave {wave!r}; it has {', '.join(names)}")
    if not 0 < hours <= 24 * 366:
        raise PlanError(f"an approval holds for more than 0 and up to 8784 hours, not {hours}")
    asked = {"by": requester.name, "keyid": requester.keyid, "remark": requester.remark, "time": _stamp(now)}
    value = {
        "format": approval.FORMAT,
        "plan": plan.document,
        "requested": {key: entry for key, entry in asked.items() if entry},
        "expires": _stamp(now + datetime.timedelta(hours=hours)),
        **({"wave": wave} if wave is not None else {}),
    }
    problems = approval.validate(value)
    if problems:
        raise PlanError(f"the approval cannot be asked for: {'; '.join(problems)}", problems=problems)
    return approval.canonical(value)


def covers(approved: Plan, plan: Plan) -> str | None:
    """None if ``plan`` does nothing that ``approved`` does not name, otherwise what it is.

    The same release under the same limits, conditions and settings, and each device in its own wave; fewer devices are
    fine (``--limit``, a device that left the inventory), another order of waves is not.
    """
    if approved.release != plan.release:
        return "is for another release"
    if approved.limits != plan.limits:
        return "was given under other limits"
    if approved.document.get("conditions") != plan.document.get("conditions"):
        return "was given under other conditions"
    place = {name: wave for wave in approved.waves for name in wave["hosts"]}
    strangers = [name for name in plan.order() if name not in place]
    if strangers:
        return f"does not name {', '.join(strangers[:5])}"
    waves = [{place[name]["index"] for name in wave["hosts"]} for wave in plan.waves]
    if any(len(places) > 1 for places in waves) or [*map(min, waves)] != sorted({*map(min, waves)}):
        return "has these devices in other waves"
    for wave in plan.waves:
        if _own(wave) != _own(place[wave["hosts"][0]]):
            return f"asks for something else before or after wave {wave['name']}"
    return settings.difference(approved, plan)


def lines(content: bytes, last: Plan | None) -> list[str]:
    """Exactly what somebody would sign, for people, with the difference to the ``last`` approved plan."""
    value = approval.parse(content)
    asked, plan = value["requested"], Plan.of(value["plan"])
    first = next((wave for wave in plan.waves if wave["name"] == value.get("wave")), None)
    text = [
        *([f"lets wave {first['name']} begin, {len(first['hosts'])} devices, of this plan:"] if first else []),
        *planning.lines(plan),
        *(f"  {wave['name']}: {', '.join(wave['hosts'])}" for wave in plan.waves),
        f"plan digest {plan.digest}",
        f"release digest {plan.release['digest']}",
        f"asked for by {asked['by']} at {asked['time']}" + (f": {asked['remark']}" if "remark" in asked else ""),
        f"holds until {value['expires']}",
    ]
    if last is None:
        return [*text, "no plan for this release's name was approved before"]
    before, after = planning.detail(last), planning.detail(plan)
    changed = [line for line in difflib.unified_diff(before, after, lineterm="", n=0) if line[:2] not in ("--", "++")]
    return [*text, f"compared with the plan approved before ({last.rollout}):", *(changed or ["the same"])]


def _own(wave: Wave) -> dict[str, object]:
    """What a wave has beside its place and its devices: what the gate reads of it."""
    return {key: value for key, value in wave.items() if key not in ("index", "name", "hosts", "turns")}


def _enough(one: Approved, needed: t.Mapping[str, int], *, four_eyes: bool) -> bool:
    demand = approved.Demand(one.role, needed.get(one.role, 1), four_eyes and one.role in needed)
    return approved.has_people(one.listed, one.value, demand)


def _unfit(one: Approved, plan: Plan, now: datetime.datetime) -> str | None:
    return f"expired at {one.value['expires']}" if one.expired(now) else covers(one.plan, plan)


def _stamp(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).strftime(approval.TIME)
