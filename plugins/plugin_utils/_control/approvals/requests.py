# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Approval requests: approvals are asked for, shown, signed and denied (docs/reference/approval.md).

An approval is a proposal in an approvals role: signing, denying and putting in force are those of every proposal.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ....module_utils._device.documents import approval
from ..base.errors import PlanError, RepositoryError
from ..base.plan import Plan
from ..keys.ring import Ring
from ..policy.policy import TARGET, parse
from ..repository.metadata import store
from ..repository.metadata.store import in_force
from ..repository.proposals import proposals
from ..repository.proposals.proposal import Proposal, Request, moment
from . import approval as approvals
from .approval import Requester

if t.TYPE_CHECKING:
    from ..policy.policy import Policy
    from ..repository.metadata.store import State
    from ..repository.proposals.proposal import Change
    from ..repository.repository import Repository

#: How a proposal says that it is an approval.
KIND = "approval"
WAITING = ("open", "ready")


@dataclasses.dataclass(frozen=True)
class Case:
    """One approval that was asked for: its proposal, the bytes that would be signed, and those told to people."""

    proposal: Proposal
    content: bytes
    lines: list[str]

    @property
    def requester(self) -> dict[str, str]:
        """Who asked: ``by``, ``time``, and ``keyid`` and ``remark`` if they were given."""
        return t.cast("dict[str, str]", approval.parse(self.content)["requested"])

    def as_dict(self) -> dict[str, object]:
        """For results."""
        return {**self.proposal.as_dict(), "lines": self.lines}


class ApprovalRequests:
    """The approvals of one repository on this machine."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.proposals = proposals.Proposals(repository)

    def request(
        self,
        plan: Plan,
        roles: t.Iterable[str],
        requester: Requester,
        *,
        hours: float,
        wave: str | None = None,
        check: bool = False,
    ) -> list[Case]:
        """Ask ``roles`` to approve ``plan``, or one ``wave`` of it; whoever was asked already is not asked again.

        Returns what is new.

        Raises :class:`RepositoryError` or :class:`PlanError`.
        """
        content = approvals.request(plan, requester, now=self.repository.now, hours=hours, wave=wave)
        state = self._load()
        expires = moment(approval.parse(content)["expires"])
        new = []
        for role in roles:
            if role not in state.channels:
                raise RepositoryError(
                    f"the policy asks for approvals by {role}, and the repository has no such role; add it with "
                    "fleet.ota.repository",
                    code="POLICY",
                )
            if self._is_requested(state, role, plan, wave):
                continue
            change = self.repository.propose_document(
                role,
                approvals.path_of(role, plan, wave),
                content,
                custom=approvals.custom(content),
                ring=Ring({}),
                title=f"rollout {plan.rollout}" + (f", wave {wave}" if wave is not None else ""),
                details=_details(role, plan, wave),
                requested_by=requester.name,
                expires=expires,
                remove=self._expired(state, role),
                apply=False,
                check=check,
            )
            if change.proposal:
                new.append(self._case(change.proposal, state, content))
        return new

    def cases(self, names: t.Collection[str] = (), rollout: str | None = None) -> list[Case]:
        """What waits for signatures or to be put in force: all, those with these ids, or of one rollout."""
        state = self._load()
        cases = []
        for one in self.proposals.list():
            mine = one.details.get("about") == KIND and one.state in WAITING
            if mine and (not names or one.id in names) and rollout in (None, one.details.get("rollout")):
                cases.append(self._case(one, state))
        missing = sorted(set(names) - {case.proposal.id for case in cases})
        if missing:
            raise RepositoryError(
                f"no approval {', '.join(missing)} is waiting; list them with fleet.ota.approval", code="PROPOSAL"
            )
        return cases

    def sign(self, case: Case, ring: Ring, remark: str = "", *, check: bool = False) -> tuple[Case, bool]:
        """Sign with those keys in ``ring`` that belong to the role, and put it in force if that can be done now.

        Returns the case as it is then and whether anything changed. Raises :class:`RepositoryError` (``APPROVAL`` when
        the policy does not let who asked sign).
        """
        asker = case.requester.get("keyid")
        rules = self.policy()
        if asker in ring.signers and not (rules and rules.get("requester_may_approve", False)):
            role = case.proposal.details.get("role")
            raise RepositoryError(
                f"{case.requester['by']} asked for it with this very key, and the fleet's policy wants other people; "
                f"have another holder of {role} sign",
                code="APPROVAL",
            )
        before = case.proposal.signatures()
        done = self.proposals.sign(case.proposal.id, ring, remark, check=check)
        changed = done.signatures() != before
        if done.state == "ready" and self.proposals.online(done, ring):
            changed = self.proposals.apply(done.id, ring, check=check).changed or changed
            done = done if check else self.proposals.get(done.id)
        return dataclasses.replace(case, proposal=done), changed

    def deny(self, case: Case, by: str, remark: str, *, check: bool = False) -> Case:
        """Record that ``by`` does not want it, and why."""
        if not remark.strip():
            raise PlanError("a denial needs a remark: say why, so that the requester knows what to change")
        return dataclasses.replace(case, proposal=self.proposals.deny(case.proposal.id, by, remark, check=check))

    def publish(self, content: bytes, ring: Ring, *, propose: Request | None = None, check: bool = False) -> Change:
        """List a policy (:func:`policies.read`); with ``propose`` it may wait for further signatures of ``targets``.

        Raises :class:`RepositoryError` with ``POLICY`` when it asks for more than the repository's roles can give.
        """
        state = self._load()
        delegations = state.targets.signed.delegations
        roles = (delegations.roles or {}) if delegations else {}
        problems = []
        for rule in parse(content)["rules"]:
            for role, count in rule["approvals"].items():
                if role not in roles:
                    problems.append(f"rule {rule['name']}: the repository has no role {role}; add it first")
                elif roles[role].threshold < count:
                    problems.append(
                        f"rule {rule['name']}: {role} has a threshold of {roles[role].threshold}, not {count}; raise it"
                    )
        if problems:
            raise RepositoryError(f"the policy cannot be kept: {'; '.join(problems)}", code="POLICY", problems=problems)

        def list_it(check: bool) -> Change:
            return self.repository.propose_document(
                store.TARGETS,
                TARGET,
                content,
                custom={},
                ring=ring,
                title=(propose.title if propose else "") or "the fleet's policy",
                details={"about": "policy"},
                requested_by=propose.requested_by if propose else "",
                expires=propose.expires if propose else None,
                check=check,
            )

        change = list_it(True)
        if change.proposal and not propose:
            raise RepositoryError(
                "the policy needs more signatures of targets, or the keys of snapshot and timestamp; give them, or "
                "propose it",
                code="THRESHOLD",
            )
        return change if check else list_it(False)

    def policy(self) -> Policy | None:
        """The policy in force, None if there is none."""
        return in_force(self.repository.store, self._load())

    # -- steps ---------------------------------------------------------------------------------------------------

    def _load(self) -> State:
        return self.repository.load()

    def _case(self, proposal: Proposal, state: State, content: bytes | None = None) -> Case:
        role = str(proposal.details.get("role"))
        if content is None:
            content = next((one for name, one in proposal.content.items() if name.startswith(f"targets/{role}/")), b"")
        value = approval.parse(content)
        plan = Plan.of(t.cast("t.Mapping[str, object]", value["plan"]))
        path = approvals.path_of(role, plan, value.get("wave"))
        last = self._last(state, role, plan)
        return Case(proposal, content, [*approvals.lines(content, last), *_also(proposal, path)])

    def _last(self, state: State, role: str, plan: Plan) -> Plan | None:
        """The plan for a release of this name that was approved before this one, the newest by its time."""
        earlier = []
        for path, entry in state.channels[role].signed.targets.items() if role in state.channels else ():
            value = approval.parse(self.repository.store.content(path, entry))
            same = value["plan"]["release"]["name"] == plan.release["name"]
            if same and "wave" not in value and value["plan"]["digest"] != plan.digest:
                earlier.append((value["requested"]["time"], Plan.of(value["plan"])))
        return max(earlier, key=lambda pair: str(pair[0]))[1] if earlier else None

    def _is_requested(self, state: State, role: str, plan: Plan, wave: str | None) -> bool:
        listed = state.channels[role].signed.targets.get(approvals.path_of(role, plan, wave))
        if (
            listed is not None
            and approval.seconds((listed.custom or {}).get("expires")) > self.repository.now.timestamp()
        ):
            return True
        asked = _details(role, plan, wave)
        return any(
            one.state in WAITING and {key: one.details.get(key) for key in ("wave", *asked)} == {"wave": None, **asked}
            for one in self.proposals.list()
        )

    def _expired(self, state: State, role: str) -> list[str]:
        now = self.repository.now.timestamp()
        listed = state.channels[role].signed.targets.items()
        return [path for path, one in listed if approval.seconds((one.custom or {}).get("expires")) <= now]


def _details(role: str, plan: Plan, wave: str | None) -> dict[str, str]:
    """How a proposal says which approval it is."""
    details = {"about": KIND, "role": role, "rollout": plan.rollout, "plan": plan.digest}
    return details if wave is None else {**details, "wave": wave}


def _also(proposal: Proposal, path: str) -> list[str]:
    """What else the same signature would say: people sign the role's metadata, not this plan alone."""
    before, after = (
        {line.partition(": ")[0]: line for line in lines if " lists " in line}
        for lines in (proposal.before, proposal.after)
    )
    stays = [f"stays approved: {line}" for line in after.values() if path not in line]
    return [*stays, *(f"is taken off: {before[name]}" for name in before if name not in after)]
