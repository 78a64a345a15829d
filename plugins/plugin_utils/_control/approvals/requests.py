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

from ....module_utils._device.documents import approval, approved
from ..base.errors import PlanError, RepositoryError
from ..base.plan import Plan
from ..keys.ring import Ring
from ..policy import listing
from ..policy.policy import TARGET, parse, unknown_or_doubled
from ..repository.metadata import store
from ..repository.metadata.store import in_force
from ..repository.proposals import kinds, proposals
from ..repository.proposals.proposal import Proposal, Request, moment
from . import approval as approvals
from . import listed as listed_approvals
from .approval import Requester

if t.TYPE_CHECKING:
    import datetime

    from tuf.api.metadata import TargetFile

    from ..policy.policy import Policy
    from ..repository.metadata.store import State
    from ..repository.proposals.proposal import Change
    from ..repository.repository import Repository

#: How a proposal says for people that it is an approval.
KIND = "approval"
KIND_REVOCATION = "revocation"
WAITING = ("open", "ready")


@dataclasses.dataclass(frozen=True)
class Case:
    """One approval that was asked for, or is to be taken back: its proposal, and what would be signed, for people."""

    proposal: Proposal
    lines: list[str]
    rollout: str

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
        new: list[Case] = []
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
                listing.path_of(role, plan, wave),
                content,
                custom=listing.custom(content),
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
                new += filter(None, [self._case(change.proposal, state)])
        return new

    def cases(self, names: t.Collection[str] = (), rollout: str | None = None) -> list[Case]:
        """What waits for signatures or to be put in force: all, those with these ids, or of one rollout."""
        state, listed = self._load(), self.proposals.list()
        found = [self._case(one, state) for one in listed if one.state in WAITING]
        cases = [case for case in found if case is not None and rollout in (None, case.rollout)]
        cases = [case for case in cases if not names or case.proposal.id in names]
        missing = sorted(set(names) - {case.proposal.id for case in cases})
        if missing:
            why = "".join(f"; {line}" for line in self.unusable() if line.partition(":")[0] in missing)
            raise RepositoryError(
                f"no approval {', '.join(missing)} is waiting{why}; list them with fleet.ota.approval", code="PROPOSAL"
            )
        return cases

    def unusable(self) -> list[str]:
        """The proposals that nobody can sign and why, for people: half copied, damaged, or more than they may be."""
        state, lines = self._load(), []
        for one in self.proposals.list():
            if one.state in ("damaged", "refused"):
                lines.append(f"{one.id}: {one.state}: {one.reason}")
            elif one.state in WAITING and kinds.approval_of(one, state) and self._case(one, state) is None:
                lines.append(f"{one.id}: its content is missing or not what would be signed; copy it again")
        return lines

    def is_for(self, case: Case, ring: Ring) -> bool:
        """Whether a key in ``ring`` may sign ``case``, or put it in force."""
        return self.proposals.may_sign(case.proposal, ring) or (
            case.proposal.state == "ready" and self.proposals.online(case.proposal, ring)
        )

    def sign(self, case: Case, ring: Ring, remark: str = "", *, check: bool = False) -> tuple[Case, bool]:
        """Sign with those keys in ``ring`` that belong to the role, and put it in force if that can be done now.

        Returns the case as it is then and whether anything changed. Raises :class:`RepositoryError` (``APPROVAL`` when
        the policy does not let who asked sign).
        """
        done, changed = case.proposal, False
        if done.state != "ready" or self.proposals.may_sign(done, ring):
            before = done.signatures()
            done = self.proposals.sign(done.id, ring, remark, check=check)
            changed = done.signatures() != before
        if done.state == "ready" and self.proposals.online(done, ring):
            # a dry run has nothing on disk that could be put in force
            changed = check or self.proposals.apply(done.id, ring).changed or changed
            done = done if check else self.proposals.get(done.id)
        return dataclasses.replace(case, proposal=done), changed

    def deny(self, case: Case, by: str, remark: str, *, check: bool = False) -> Case:
        """Record that ``by`` does not want it, and why."""
        if not remark.strip():
            raise PlanError("a denial needs a remark: say why, so that the requester knows what to change")
        return dataclasses.replace(case, proposal=self.proposals.deny(case.proposal.id, by, remark, check=check))

    def revoke(self, rollout: str, requester: Requester, ring: Ring, *, check: bool = False) -> list[Case]:
        """Take back the approvals of ``rollout`` that are in force, of its plan and of its waves.

        As for every change of the role, its threshold of keys must sign; what lacks signatures waits, and others sign
        it as they sign an approval. Returns what is asked for, in force or waiting. Raises :class:`RepositoryError`.
        """
        if not (requester.remark or "").strip():
            raise PlanError("a revocation needs a remark: say why, so that others know whether to sign it")
        state, cases = self._load(), []
        for role in sorted(filter(store.is_approvals, state.channels)):
            listed = kinds.listed_now(state, role)
            paths = [path for path, one in listed.items() if (one.custom or {}).get("rollout") == rollout]
            if not paths:
                continue
            change = self.repository.propose_removal(
                role,
                paths,
                ring=ring,
                title=f"take back the approval of rollout {rollout}: {requester.remark}",
                requested_by=requester.name,
                check=check,
            )
            waits = change.proposal
            done = waits or Proposal("", kind=KIND_REVOCATION, title=f"{role}: {', '.join(paths)}", state="applied")
            cases.append(Case(done, [] if waits is None else self._lines_of_revocation(waits, state), rollout))
        if not cases:
            raise RepositoryError(f"no approval of {rollout} is in force; deny one that waits", code="PROPOSAL")
        return cases

    def publish(self, content: bytes, ring: Ring, *, propose: Request | None = None, check: bool = False) -> Change:
        """List a policy (:func:`policies.read`); with ``propose`` it may wait for further signatures of ``targets``.

        Raises :class:`RepositoryError` with ``POLICY`` when it asks for more than the repository's roles can give.
        """
        state = self._load()
        delegations = state.targets.signed.delegations
        roles = (delegations.roles or {}) if delegations else {}
        rules = parse(content)
        problems = unknown_or_doubled(rules, [name for name in roles if not store.is_approvals(name)])
        for rule in rules["rules"]:
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

    def _case(self, proposal: Proposal, state: State) -> Case | None:
        """What ``proposal`` is about, from what would be signed alone; None if it is about no approval."""
        if proposal.kind == KIND_REVOCATION:
            (role,) = proposal.roles
            listed = kinds.listed_now(state, role)
            first = min(set(listed) - set(proposal.roles[role].signed.targets))
            rollout = str((listed[first].custom or {}).get("rollout"))
            return Case(proposal, self._lines_of_revocation(proposal, state), rollout)
        subject = kinds.approval_of(proposal, state)
        content = kinds.content_of(proposal, *subject) if subject else None
        if subject is None or content is None:
            return None
        plan = Plan.of(t.cast("t.Mapping[str, object]", approval.parse(content)["plan"]))
        told = approvals.lines(content, self._last(state, subject[0], plan))
        exactly = f"the document itself: {content.decode('ascii').strip()}"
        return Case(proposal, [*map(_shown, told), exactly, *_also(proposal)], plan.rollout)

    def _lines_of_revocation(self, proposal: Proposal, state: State) -> list[str]:
        (role,) = proposal.roles
        gone = set(kinds.listed_now(state, role)) - set(proposal.roles[role].signed.targets)
        return [*(_shown(f"takes back the approval {path}") for path in sorted(gone)), *_also(proposal)]

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
        path = listing.path_of(role, plan, wave)
        listed = kinds.listed_now(state, role).get(path)
        if listed is not None and not _is_over(listed, self.repository.now) and self._has_people(state, role, path):
            return True
        return any(
            one.state in WAITING and kinds.approval_of(one, state) == (role, path) for one in self.proposals.list()
        )

    def _has_people(self, state: State, role: str, path: str) -> bool:
        """Whether the approval that ``role`` lists as ``path`` is by as many people as any rule of the policy asks."""
        rules = in_force(self.repository.store, state)
        if rules is None:
            return True
        metadata = state.channels[role]
        content = self.repository.store.content(path, metadata.signed.targets[path])
        one = listed_approvals.of(state.targets.signed, role, metadata, path, content)
        most = max([rule["approvals"].get(role, 0) for rule in rules["rules"]], default=0)
        demand = approved.Demand(role, most, approved.four_eyes(rules))
        return one is not None and approved.has_people(one, approval.parse(content), demand)

    def _expired(self, state: State, role: str) -> list[str]:
        listed = kinds.listed_now(state, role).items()
        return [path for path, one in listed if _is_over(one, self.repository.now)]


def _is_over(entry: TargetFile, now: datetime.datetime) -> bool:
    return approval.seconds((entry.custom or {}).get("expires")) <= now.timestamp()


def _details(role: str, plan: Plan, wave: str | None) -> dict[str, str]:
    """How a proposal says which approval it is."""
    details = {"about": KIND, "role": role, "rollout": plan.rollout, "plan": plan.digest}
    return details if wave is None else {**details, "wave": wave}


def _also(proposal: Proposal) -> list[str]:
    """All that the same signature says: people sign the role's metadata, not this plan alone."""
    (role,) = proposal.roles
    # lines of the document begin with its path; it is told as a whole already
    after = [line for line in proposal.after if line.startswith((f"{role} ", f"{role}: "))]
    listed = {line.partition(": ")[0] for line in proposal.before if " lists " in line}
    lists = [line for line in after if line.partition(": ")[0] in listed]
    new = [line for line in after if line not in lists]
    kept = {line.partition(": ")[0] for line in after}
    gone = [line for line in proposal.before if line.partition(": ")[0] not in kept]
    return [
        *(f"stays approved: {line}" for line in lists),
        *(f"the signature covers: {line}" for line in new),
        *(f"and no longer: {line}" for line in gone),
    ]


def _shown(line: str) -> str:
    """One line for a terminal. A person's words keep their letters; elsewhere a letter may look like another."""
    if line.startswith("asked for by "):
        return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in line)
    return line if line.isascii() and line.isprintable() else ascii(line)[1:-1]
