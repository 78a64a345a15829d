# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Signing in steps: a change waits in the repository until enough people signed it, each on their own machine."""

from __future__ import annotations

import copy
import dataclasses
import typing as t

from .....module_utils._device.documents import approval
from ...base.errors import RepositoryError
from ..metadata import changes
from ..metadata.session import Session
from ..metadata.signing import sign
from ..metadata.store import content_name, in_force
from .folder import Folder
from .kinds import approval_of, content_of, new_targets
from .proposal import Change, Proposal, Remark, Request, identify, same, stamp
from .review import edit_of, judge

try:
    from tuf.api.exceptions import LengthOrHashMismatchError
except ImportError:  # libraries.require() tells
    pass

if t.TYPE_CHECKING:
    from ...keys.ring import Ring
    from ..metadata.edit import Edit
    from ..metadata.store import State


class Proposals:
    """The proposed changes of one repository, which need not exist yet: its making can be proposed too.

    Signing and denying need neither the repository's lock nor any other key than one's own.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.folder = Folder(session.store.directory)

    def list(self) -> t.List[Proposal]:  # noqa: UP006 - `list` is this method
        """Every proposal, also those that ended; what cannot be read has the state ``damaged`` and a reason."""
        state = self.session.load_if_exists()
        proposals = []
        for name in self.folder.ids():
            try:
                proposals.append(self._judged(name, state))
            except RepositoryError as error:  # told, and no reason why others could not be signed
                proposals.append(Proposal(name, reason=error.message))
        return proposals

    def get(self, name: str) -> Proposal:
        """The proposal with the id ``name``. Raises :class:`RepositoryError` when it is not there or damaged."""
        state = self.session.load_if_exists()  # a repository that cannot be trusted is told of first
        return self._judged(name, state)

    def _judged(self, name: str, state: State | None) -> Proposal:
        raw = self.folder.read(name)
        try:
            return judge(self.session, raw, state)
        except (ValueError, KeyError, TypeError, AttributeError) as error:  # metadata may say anything
            raise RepositoryError(
                f"the proposal {name} cannot be understood ({error}); propose the change again"
            ) from error

    def sign(self, name: str, ring: Ring, remark: str | None = None, *, check: bool = False) -> Proposal:
        """Add the signatures of the keys in ``ring`` that belong to the roles; those that signed already stay.

        Everything is verified first: the repository from its trust root, the signatures that are there, the content.
        Raises :class:`RepositoryError` (``PROPOSAL`` when it can no longer be signed, ``THRESHOLD`` when none of the
        keys may sign it, ``SIGNATURE`` when a signature that is there is wrong).
        """
        proposal = self.get(name)
        self._usable(proposal, "signed")
        self._viewable(proposal)
        return self._sign(proposal, ring, remark or "", check=check)

    def deny(self, name: str, by: str, remark: str | None = None, *, check: bool = False) -> Proposal:
        """Record that ``by`` does not want it; it can no longer be signed or applied."""
        return self._close(name, "denied", by, remark or "", check=check)

    def withdraw(self, name: str, by: str = "", remark: str | None = None, *, check: bool = False) -> Proposal:
        """Take it back; the record stays."""
        return self._close(name, "withdrawn", by, remark or "", check=check)

    def apply(self, name: str, ring: Ring, *, check: bool = False) -> Change:
        """Put it in force; ``ring`` must hold the snapshot's and timestamp's keys.

        Raises :class:`RepositoryError` (``THRESHOLD`` while signatures are missing).
        """
        if check:
            return self.apply_locked(name, ring, check=True)
        self.folder.read(name)  # raises where there is nothing to lock
        with self.session.locked():
            return self.apply_locked(name, ring)

    def online(self, proposal: Proposal, ring: Ring) -> bool:
        """Whether ``ring`` holds the snapshot's and timestamp's keys, as they are with ``proposal``."""
        return edit_of(self.session, self.session.load_if_exists(), proposal, ring).online()

    def may_sign(self, proposal: Proposal, ring: Ring) -> bool:
        """Whether a key in ``ring`` belongs to a role of ``proposal``."""
        return bool(_belonging(edit_of(self.session, self.session.load_if_exists(), proposal, ring), proposal, ring))

    def waiting(self, edit: Edit, expiry_days: t.Mapping[str, int] | None) -> Proposal | None:
        """The proposal that says what ``edit`` prepared, if it can still be signed or applied."""
        roles = edit.prepare()
        matching = (one for one in self.list() if one.state in ("open", "ready") and same(one, roles, expiry_days))
        return next(matching, None)

    def make(
        self,
        edit: Edit,
        content: t.Mapping[str, bytes],
        request: Request,
        *,
        kind: str,
        expiry_days: t.Mapping[str, int] | None = None,
        check: bool = False,
    ) -> tuple[Proposal, bool]:
        """Propose what ``edit`` prepared, or sign the proposal that says the same; and whether that was anything new.

        For the one who holds the lock.
        """
        waiting = self.waiting(edit, expiry_days)
        if waiting is not None:
            if not _belonging(edit, waiting, edit.ring):
                return waiting, False
            signed = self.sign(waiting.id, edit.ring, check=check)
            return signed, signed.signatures() != waiting.signatures()
        roles = copy.deepcopy(edit.prepare())
        earliest = min(metadata.signed.expires for metadata in roles.values())
        raw = Proposal(
            id=identify(roles, expiry_days),
            kind=kind,
            title=request.title,
            requested_by=request.requested_by,
            requested_at=stamp(self.session.now),
            expires=stamp(min(request.expires, earliest) if request.expires else earliest),
            details=request.details,
            expiry_days=expiry_days,
            roles=roles,
            content=content,
        )
        if raw.id in self.folder.ids():
            return self.get(raw.id), False  # these very bytes, and they can no longer be signed
        if not check:
            self.folder.create(raw)
            for role, keyid in sorted(raw.signatures()):
                self.folder.sign(raw, role, keyid, self._remark(edit, keyid, "signed", ""))
        return judge(self.session, raw, edit.old), True

    def apply_locked(self, name: str, ring: Ring, *, check: bool = False) -> Change:
        """:meth:`apply` for whoever holds the repository's lock, or only checks."""
        state, disk = self.session.load_if_exists(), self.session.store
        proposal = self._judged(name, state)
        if proposal.state == "applied":
            return Change(False, list(proposal.after), list(proposal.after))
        self._usable(proposal, "applied")
        if proposal.missing():
            waiting = "; ".join(
                f"{need.role} has {need.have} of {need.threshold}, and {', '.join(need.missing)} may still sign"
                for need in proposal.missing()
            )
            raise RepositoryError(
                f"the proposal {name} needs more signatures: {waiting}", code="THRESHOLD", proposal=proposal.as_dict()
            )
        self._viewable(proposal)
        edit = edit_of(self.session, state, proposal, ring)
        staged = {**proposal.content, **edit.finish()}
        targets = [path for role, path in new_targets(proposal, state)]
        disk.require_accepted(staged, self.session.trust_root, targets)
        if not check:
            self.session.commit(staged)
            if proposal.expiry_days:
                disk.write_periods(proposal.expiry_days)
            self.folder.close(name, Remark("", stamp(self.session.now), "applied", ""))
        listed = [entry for entry in changes.releases(edit.state()) if entry.target in targets]
        release = listed[0] if len(listed) == 1 else None
        return Change(True, list(proposal.before), list(proposal.after), release)

    # -- steps --------------------------------------------------------------------------------------------------

    def _sign(self, proposal: Proposal, ring: Ring, text: str, *, check: bool) -> Proposal:
        state = self.session.load_if_exists()
        edit = edit_of(self.session, state, proposal, ring)
        mine = _belonging(edit, proposal, ring)
        asker, by = self._asker(proposal, state)
        if any(asker in keyids for keyids in mine.values()):
            mine = {role: [keyid for keyid in keyids if keyid != asker] for role, keyids in mine.items()}
            mine = {role: keyids for role, keyids in mine.items() if keyids}
            if not mine:
                raise RepositoryError(
                    f"{by} asked for it with this very key, and the fleet's policy wants other people; have another "
                    f"holder of {', '.join(proposal.roles)} sign",
                    code="APPROVAL",
                )
        if not mine:
            may = "; ".join(f"{need.role}: {', '.join(need.missing) or 'no key'}" for need in proposal.needs)
            raise RepositoryError(
                f"none of the keys at hand may sign the proposal {proposal.id}; these may still: {may}{ring.hint()}",
                code="THRESHOLD",
                proposal=proposal.as_dict(),
            )
        for role, keyids in mine.items():
            for keyid in sign(proposal.roles[role], keyids, ring):
                if not check:
                    self.folder.sign(proposal, role, keyid, self._remark(edit, keyid, "signed", text))
        return judge(self.session, proposal, state) if check else self.get(proposal.id)

    def _asker(self, proposal: Proposal, state: State | None) -> tuple[str | None, str]:
        """The key that may not sign because its holder asked for this approval, and that person's name."""
        subject = approval_of(proposal, state)
        content = content_of(proposal, *subject) if subject else None
        if content is None or state is None:
            return None, ""
        rules = in_force(self.session.store, state)
        asked = approval.parse(content)["requested"]
        return None if rules and rules.get("requester_may_approve", False) else asked.get("keyid"), asked["by"]

    def _close(self, name: str, ending: str, by: str, text: str, *, check: bool) -> Proposal:
        proposal = self.get(name)
        if proposal.state == ending:
            return proposal
        if proposal.state in ("applied", "denied", "withdrawn"):
            raise RepositoryError(f"the proposal {name} is {proposal.state} already", code="PROPOSAL")
        remark = Remark(by, stamp(self.session.now), ending, text)
        if check:
            return dataclasses.replace(proposal, state=ending, remarks=(*proposal.remarks, remark))
        self.folder.close(name, remark)
        return self.get(name)

    def _usable(self, proposal: Proposal, what: str) -> None:
        if proposal.state not in ("open", "ready"):
            raise RepositoryError(
                f"the proposal {proposal.id} is {proposal.state} and cannot be {what}: {proposal.reason}",
                code="EXPIRED" if proposal.state == "expired" else "PROPOSAL",
                proposal=proposal.as_dict(),
            )
        if proposal.reason:
            raise RepositoryError(f"the proposal {proposal.id}: {proposal.reason}", code="SIGNATURE")

    def _viewable(self, proposal: Proposal) -> None:
        """Nobody signs for content that nobody can look at."""
        unlisted = set(proposal.content)
        for role, path in new_targets(proposal, self.session.load_if_exists()):
            entry = proposal.roles[role].signed.targets[path]
            name = content_name(path, entry.hashes["sha256"]) if "sha256" in entry.hashes else path
            unlisted.discard(name)
            content = proposal.content.get(name)
            file = self.session.store.directory / name
            if content is None and file.is_file():
                content = file.read_bytes()
            try:
                entry.verify_length_and_hashes(content or b"")
            except LengthOrHashMismatchError as error:
                raise RepositoryError(
                    f"the proposal {proposal.id}: {name} is missing or not what would be signed; propose it again",
                    code="HASH_MISMATCH",
                ) from error

        if unlisted:
            raise RepositoryError(
                f"the proposal {proposal.id} holds what nothing lists; delete {', '.join(sorted(unlisted))} there",
                code="UNLISTED_FILE",
            )

    def _remark(self, edit: Edit, keyid: str, action: str, text: str) -> Remark:
        return Remark(edit.name_of(keyid), stamp(self.session.now), action, text)


def _belonging(edit: Edit, proposal: Proposal, ring: Ring) -> dict[str, t.List[str]]:  # noqa: UP006
    """The keys in ``ring`` that may sign, by role."""
    keyids_of = {role: [keyid for keyid in edit.keyids(role) if keyid in ring.signers] for role in proposal.roles}
    return {role: keyids for role, keyids in keyids_of.items() if keyids}
