# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Signing in steps: a change waits in the repository until enough people signed it, each on their own machine."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import typing as t

from . import changes, editing, store
from .changes import Change
from .editing import Edit
from .errors import RepositoryError
from .keys import Ring
from .proposal import Proposal, Remark, Request, identify, moment, same, stamp
from .proposal_files import Folder

try:
    from tuf.api.exceptions import LengthOrHashMismatchError
    from tuf.api.metadata import Metadata, Targets
    from tuf.api.serialization import DeserializationError
except ImportError:  # libraries.require() tells
    pass

if t.TYPE_CHECKING:
    from .repository import Repository
    from .store import State


class Proposals:
    """The proposed changes of one repository, which need not exist yet: its making can be proposed too.

    Signing and denying need neither the repository's lock nor any other key than one's own.
    """

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.folder = Folder(repository.store.directory)

    def list(self) -> t.List[Proposal]:  # noqa: UP006 - `list` is this method
        """Every proposal, also those that ended; what cannot be read has the state ``damaged`` and a reason."""
        state = self._state()
        found = []
        for name in self.folder.ids():
            try:
                found.append(self._judge(self.folder.read(name), state))
            except RepositoryError as error:
                found.append(Proposal(name, reason=error.message))
        return found

    def get(self, name: str) -> Proposal:
        """The proposal with the id ``name``. Raises :class:`RepositoryError` when it is not there or damaged."""
        return self._judge(self.folder.read(name), self._state())

    def sign(self, name: str, ring: Ring, remark: str = "", *, check: bool = False) -> Proposal:
        """Add the signatures of the keys in ``ring`` that belong to the roles; those that signed already stay.

        Everything is verified first: the repository from its trust root, the signatures that are there, the content.
        Raises :class:`RepositoryError` (``PROPOSAL`` when it can no longer be signed, ``THRESHOLD`` when none of the
        keys may sign it, ``SIGNATURE`` when a signature that is there is wrong).
        """
        proposal = self.get(name)
        self._usable(proposal, "signed")
        self._viewable(proposal)
        return self._sign(proposal, ring, remark, check=check)

    def deny(self, name: str, by: str, remark: str = "", *, check: bool = False) -> Proposal:
        """Record that ``by`` does not want it; it can no longer be signed or applied."""
        return self._close(name, "denied", by, remark, check=check)

    def withdraw(self, name: str, by: str = "", remark: str = "", *, check: bool = False) -> Proposal:
        """Take it back; the record stays."""
        return self._close(name, "withdrawn", by, remark, check=check)

    def apply(self, name: str, ring: Ring, *, check: bool = False) -> Change:
        """Put it in force; ``ring`` must hold the snapshot's and timestamp's keys.

        Raises :class:`RepositoryError` (``THRESHOLD`` while signatures are missing).
        """
        if check:
            return self.apply_locked(name, ring, check=True)
        self.folder.read(name)  # raises where there is nothing to lock
        with self.repository.store.lock():
            return self.apply_locked(name, ring)

    def online(self, proposal: Proposal, ring: Ring) -> bool:
        """Whether ``ring`` holds the snapshot's and timestamp's keys, as they are with ``proposal``."""
        return self._edit(self._state(), proposal, ring).online()

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

        For :class:`Repository`, which holds the lock.
        """
        roles = copy.deepcopy(edit.prepare())
        for known in self.list():
            if known.state in ("open", "ready") and same(known.roles, roles):
                if not _belonging(edit, known, edit.ring):
                    return known, False
                signed = self.sign(known.id, edit.ring, check=check)
                return signed, signed.signatures() != known.signatures()
        earliest = min(metadata.signed.expires for metadata in roles.values())
        raw = Proposal(
            id=identify(roles),
            kind=kind,
            title=request.title,
            requested_by=request.requested_by,
            requested_at=stamp(self.repository.now),
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
        return self._judge(raw, edit.old), True

    def apply_locked(self, name: str, ring: Ring, *, check: bool = False) -> Change:
        """:meth:`apply` for whoever holds the repository's lock, or only checks."""
        state, disk = self._state(), self.repository.store
        proposal = self._judge(self.folder.read(name), state)
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
        edit = self._edit(state, proposal, ring)
        staged = {**proposal.content, **edit.finish()}
        targets = [path for role, path in _new_targets(proposal.roles, state)]
        disk.check(staged, self.repository.trust_root, targets)
        if not check:
            disk.commit(staged)
            if proposal.expiry_days:
                disk.write_periods(proposal.expiry_days)
            self.folder.close(name, Remark("", stamp(self.repository.now), "applied", ""))
        listed = [entry for entry in changes.releases(edit.state()) if entry.target in targets]
        release = listed[0] if len(listed) == 1 else None
        return Change(True, list(proposal.before), list(proposal.after), release)

    # -- steps --------------------------------------------------------------------------------------------------

    def _sign(self, proposal: Proposal, ring: Ring, text: str, *, check: bool) -> Proposal:
        state = self._state()
        edit = self._edit(state, proposal, ring)
        mine = _belonging(edit, proposal, ring)
        if not mine:
            may = "; ".join(f"{need.role}: {', '.join(need.missing) or 'nobody'}" for need in proposal.needs)
            raise RepositoryError(
                f"none of the keys at hand may sign the proposal {proposal.id}; these may still: {may}{ring.hint()}",
                code="THRESHOLD",
                proposal=proposal.as_dict(),
            )
        for role, keyids in mine.items():
            for keyid in editing.sign(proposal.roles[role], keyids, ring):
                if not check:
                    self.folder.sign(proposal, role, keyid, self._remark(edit, keyid, "signed", text))
        return self._judge(proposal, state) if check else self.get(proposal.id)

    def _close(self, name: str, ending: str, by: str, text: str, *, check: bool) -> Proposal:
        proposal = self.get(name)
        if proposal.state == ending:
            return proposal
        if proposal.state in ("applied", "denied", "withdrawn"):
            raise RepositoryError(f"the proposal {name} is {proposal.state} already", code="PROPOSAL")
        remark = Remark(by, stamp(self.repository.now), ending, text)
        if check:
            return dataclasses.replace(proposal, state=ending, remarks=(*proposal.remarks, remark))
        self.folder.close(name, remark)
        return self.get(name)

    def _state(self) -> State | None:
        repository = self.repository
        return repository.store.load(repository.trust_root) if repository.store.exists else None

    def _edit(self, state: State | None, proposal: Proposal, ring: Ring) -> Edit:
        periods = {**self.repository.store.periods(), **(proposal.expiry_days or {})}
        edit = Edit(state, ring, periods, self.repository.now)
        edit.adopt(proposal.roles)
        return edit

    def _judge(self, raw: Proposal, state: State | None) -> Proposal:
        """``raw`` with its state, and with those signatures alone that count."""
        wrong: set[str] = set()
        before = tuple(line for name in raw.roles for line in changes.content_lines(name, _signed(state, name)))
        after = tuple(line for name, one in raw.roles.items() for line in changes.content_lines(name, one.signed))
        raw = dataclasses.replace(raw, before=before, after=after, roles=copy.deepcopy(raw.roles))
        if raw.closed in ("denied", "withdrawn"):
            return dataclasses.replace(raw, state=raw.closed, reason=_ended(raw))
        if self._in_force(raw, state):
            return dataclasses.replace(raw, state="applied", reason="it is in force")
        edit = self._edit(state, raw, Ring({}))
        reason = _stale(raw, state)
        try:
            for role, metadata in raw.roles.items():
                good, known = edit.verified(role, metadata)
                wrong |= {f"{role}.{keyid}" for keyid in set(metadata.signatures).intersection(known) - good}
                for keyid in set(metadata.signatures) - good:
                    del metadata.signatures[keyid]
            needs = tuple(edit.needs())
        except ValueError as error:
            reason, needs = reason or f"nobody is trusted for it ({error}); propose the change again", ()
        others = {need.role for need in needs} - set(raw.roles)
        if others and not reason:
            reason = f"{', '.join(sorted(others))} must be signed with it now; propose the change again"
        raw = dataclasses.replace(raw, needs=tuple(need for need in needs if need.role in raw.roles))
        if reason:
            return dataclasses.replace(raw, state="stale", reason=reason)
        ends = [moment(raw.expires), *(metadata.signed.expires for metadata in raw.roles.values())]
        if min(ends) <= self.repository.now:
            reason = f"it expired at {stamp(min(ends))}; propose the change again"
            return dataclasses.replace(raw, state="expired", reason=reason)
        if wrong:
            names = ", ".join(f"signatures/{name}.json" for name in sorted(wrong))
            reason = f"{names}: not a signature over this metadata; delete the file and have it signed again"
        return dataclasses.replace(raw, state="open" if raw.missing() else "ready", reason=reason)

    def _in_force(self, proposal: Proposal, state: State | None) -> bool:
        """Whether the repository's metadata is, or was, exactly what was proposed."""
        if state is None:
            return False
        if proposal.closed == "applied":
            return True
        for name, metadata in proposal.roles.items():
            current = _metadata(state, name)
            if current is None or current.signed.version < metadata.signed.version:
                return False
            if current.signed.version > metadata.signed.version:
                current = None
                path = self.repository.store.directory / "metadata" / f"{metadata.signed.version}.{name}.json"
                with contextlib.suppress(OSError, DeserializationError):
                    current = Metadata.from_bytes(path.read_bytes())
            if current is None or current.signed_bytes != metadata.signed_bytes:
                return False
        return True

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
        for role, path in _new_targets(proposal.roles, self._state()):
            entry = proposal.roles[role].signed.targets[path]
            name = content_name(path, entry.hashes["sha256"]) if "sha256" in entry.hashes else path
            content = proposal.content.get(name)
            file = self.repository.store.directory / name
            if content is None and file.is_file():
                content = file.read_bytes()
            try:
                entry.verify_length_and_hashes(content or b"")
            except LengthOrHashMismatchError as error:
                raise RepositoryError(
                    f"the proposal {proposal.id}: {name} is missing or not what would be signed; propose it again",
                    code="HASH_MISMATCH",
                ) from error

    def _remark(self, edit: Edit, keyid: str, action: str, text: str) -> Remark:
        return Remark(edit.name_of(keyid), stamp(self.repository.now), action, text)


def content_name(target: str, sha256: str) -> str:
    """Where the content of the TUF target path ``target`` lies below the repository (consistent snapshots)."""
    folder, slash, name = target.rpartition("/")
    return f"targets/{folder}{slash}{sha256}.{name}"


def _belonging(edit: Edit, proposal: Proposal, ring: Ring) -> dict[str, t.List[str]]:  # noqa: UP006
    """The keys in ``ring`` that may sign, by role."""
    found = {role: [keyid for keyid in edit.keyids(role) if keyid in ring.signers] for role in proposal.roles}
    return {role: keyids for role, keyids in found.items() if keyids}


def _new_targets(roles: t.Mapping[str, Metadata[t.Any]], state: State | None) -> t.List[tuple[str, str]]:  # noqa: UP006
    """Role and path of what is listed anew or with other content."""
    found = []
    for name, metadata in roles.items():
        if isinstance(metadata.signed, Targets):
            known = getattr(_signed(state, name), "targets", {})
            found += [(name, path) for path, entry in metadata.signed.targets.items() if known.get(path) != entry]
    return found


def _metadata(state: State | None, name: str) -> Metadata[t.Any] | None:
    if state is None:
        return None
    every: dict[str, Metadata[t.Any]] = {store.ROOT: state.roots[-1], store.TARGETS: state.targets, **state.channels}
    return every.get(name)


def _signed(state: State | None, name: str) -> t.Any:
    metadata = _metadata(state, name)
    return metadata.signed if metadata else None


def _stale(proposal: Proposal, state: State | None) -> str:
    for name, metadata in proposal.roles.items():
        current = _signed(state, name)
        version = current.version if current else 0
        if metadata.signed.version != version + 1:
            return f"{name} is at version {version} since; propose the change again"
    return ""


def _ended(proposal: Proposal) -> str:
    for remark in proposal.remarks:
        if remark.action == proposal.closed:
            return f"{remark.action} by {remark.by or 'somebody'} at {remark.at}: {remark.text or 'without a remark'}"
    return ""
