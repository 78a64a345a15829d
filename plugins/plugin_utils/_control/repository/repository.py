# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Making and changing a repository: roles, channels, releases, renewal.

Every change is built in memory, tried by a real client against the repository as it will be, and only then put in
place: ``observe -> plan -> apply``, with check mode stopping before the last.
"""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import typing as t

from ....module_utils._device.documents import release as documents
from ..base import files
from ..base.errors import RepositoryError
from ..policy import attestations as custody
from . import attestations, renewal, source
from .metadata import changes, store
from .metadata.releases import Listed, admit, admit_document, by_counter, target_of
from .metadata.roles import Config
from .metadata.session import Session
from .metadata.store import content_name, in_force
from .proposals.commit import commit_or_propose
from .proposals.proposal import Change, Request

try:
    from tuf.api.metadata import Metadata, TargetFile
except ImportError:  # libraries.require() tells
    pass

if t.TYPE_CHECKING:
    from ..keys.ring import Ring
    from ..policy.attestations import Attachment

__all__ = ["Change", "Config", "Repository"]


class Repository(Session):
    """Changes one repository on this machine."""

    def ensure(self, config: Config, ring: Ring, *, check: bool = False, propose: Request | None = None) -> Change:
        """Make the repository, or change roles, channels and periods to ``config``; others stay as they are.

        With ``propose``, what lacks signatures waits for them as a proposal (:class:`Proposals`) instead of being
        refused. Raises :class:`RepositoryError`.
        """
        problems = config.problems()
        if problems:
            raise RepositoryError("the repository cannot be made: " + "; ".join(problems), problems=problems)
        if check:
            return self._ensure(config, ring, check=True, propose=propose)
        files.make_directory(self.store.directory)
        with self.locked():
            return self._ensure(config, ring, check=False, propose=propose)

    def publish(
        self,
        channel: str,
        document: pathlib.Path,
        ring: Ring,
        *,
        attachments: t.Sequence[Attachment] = (),
        check: bool = False,
        propose: Request | None = None,
    ) -> Change:
        """List the release that ``document`` (a release.yml) describes in ``channel``, with statements about it.

        Payloads are read, described and copied; the same digest again changes nothing, or adds ``attachments``.
        ``propose`` as for :meth:`ensure`. Raises :class:`RepositoryError` (``RELEASE`` with every mistake in the
        document, ``CUSTODY`` when the fleet's policy asks for statements that are not there, ``THRESHOLD``...).
        """
        described, content, payloads = source.read(document)
        digest = source.digest(content)
        wanted = Listed(
            channel=channel,
            name=described["name"],
            version=described["version"],
            counter=described["counter"],
            digest=digest,
            target=target_of(channel, described["name"], described["version"]),
            length=len(content),
        )
        if check:
            return self._list(wanted, content, payloads, attachments, ring, check=True, propose=propose)
        with self._existing():
            return self._list(wanted, content, payloads, attachments, ring, check=False, propose=propose)

    def promote(
        self,
        name: str,
        version: str,
        channel: str,
        ring: Ring,
        *,
        attachments: t.Sequence[Attachment] = (),
        check: bool = False,
        propose: Request | None = None,
    ) -> Change:
        """List in ``channel`` the release that another channel lists already: the same digest, the same bytes.

        The statements about it go along; ``attachments`` are more of them (a test result). ``propose`` as for
        :meth:`ensure`. Raises :class:`RepositoryError`.
        """
        if check:
            return self._promote(name, version, channel, attachments, ring, check=True, propose=propose)
        with self._existing():
            return self._promote(name, version, channel, attachments, ring, check=False, propose=propose)

    def propose_document(
        self,
        role: str,
        target: str,
        content: bytes,
        *,
        custom: t.Mapping[str, object],
        ring: Ring,
        title: str,
        details: t.Mapping[str, object],
        requested_by: str,
        expires: datetime.datetime | None = None,
        remove: t.Iterable[str] = (),
        apply: bool = True,
        check: bool = False,
    ) -> Change:
        """List a document that is no release: ``ROLE/NAME/FILE`` in an approvals role, or ``FILE`` in ``targets``.

        It becomes a proposal, signed with the keys in ``ring``; with ``apply``, and when these are all that it takes,
        it is listed at once. A document under the same target is replaced; those under ``remove`` are no longer
        listed. The same content again changes nothing. Raises :class:`RepositoryError`.
        """
        request = Request(requested_by, title, details, expires, apply)
        removed = tuple(remove)
        if check:
            return self._document(role, target, content, custom, removed, ring, request, check=True)
        with self._existing():
            return self._document(role, target, content, custom, removed, ring, request, check=False)

    def propose_removal(
        self,
        role: str,
        paths: t.Collection[str],
        *,
        ring: Ring,
        title: str,
        requested_by: str,
        check: bool = False,
    ) -> Change:
        """No longer list the approvals ``paths`` in the approvals role ``role``; as for :meth:`propose_document`."""
        request = Request(requested_by, title)
        if check:
            return self._removal(role, paths, ring, request, check=True)
        with self._existing():
            return self._removal(role, paths, ring, request, check=False)

    def refresh(
        self, ring: Ring, *, check: bool = False, propose: Request | None = None, raise_versions: int = 0
    ) -> Change:
        """Sign again what is close to its expiry.

        Timestamp and snapshot when half of their time is over (their keys must be at hand), other roles when less
        than a quarter is left and their keys are at hand; without keys they are named in the warnings. With
        ``propose``, roles for which some of the keys are at hand become a proposal.

        With ``raise_versions``, everything but root is signed again, with a version that is so much higher: a
        repository that was restored from a backup is older than what clients have seen, and they refuse it.
        """
        if check:
            return renewal.renew(self, ring, check=True, propose=propose, step=raise_versions)
        with self._existing():
            return renewal.renew(self, ring, check=False, propose=propose, step=raise_versions)

    def releases(self, channel: str | None = None) -> list[Listed]:
        """What the channels (or the one) list, by channel, name and counter."""
        return changes.releases(self.load(), channel)

    # -- steps --------------------------------------------------------------------------------------------------

    def _ensure(self, config: Config, ring: Ring, *, check: bool, propose: Request | None) -> Change:
        state = self.load_if_exists()
        old_periods = self.store.periods() if state else None
        periods = {**(old_periods or store.PERIODS), **config.periods}
        if state is None and set(config.roles) != set(store.TOP):
            missing = ", ".join(name for name in store.TOP if name not in config.roles)
            raise RepositoryError(f"a new repository needs keys for every role; give roles for {missing}")
        edit = self.edit(state, ring, periods)
        if store.TIMESTAMP in config.periods and state:
            # Whoever gives the period says for how long; one that gets shorter is no sign of a clock that is behind.
            edit.trusts_clock = True
            if state.timestamp.signed.expires - self.now > edit.period(store.TIMESTAMP):
                edit.touched.add(store.TIMESTAMP)
        edit.hold(config.roles)
        edit.delegate({**config.channels, **config.approvals})
        kind = "roles" if state else "repository"
        new_periods = periods if periods != old_periods else None
        changed, proposal = commit_or_propose(self, edit, {}, kind, propose, check=check, expiry_days=new_periods)
        if new_periods and not check and not proposal:
            self.store.write_periods(periods)
        after = changes.role_lines(edit, periods)
        before = changes.role_lines(self.edit(state, ring, old_periods or {}), old_periods or {}) if state else []
        if not proposal:
            changed = changed or new_periods is not None
        return Change(changed, before, after, warnings=changes.single(edit), proposal=proposal)

    def _list(
        self,
        wanted: Listed,
        content: bytes,
        payloads: t.Mapping[str, pathlib.Path],
        attachments: t.Sequence[Attachment],
        ring: Ring,
        *,
        check: bool,
        propose: Request | None,
    ) -> Change:
        state = self.load()
        edit = self.edit(state, ring)
        before = changes.releases(state)
        same = admit(wanted, before, changes.channels(edit.channels))
        document = content_name(wanted.target, wanted.digest)
        attached = attestations.together(self.store, state, wanted, attachments)
        proven = custody.require_custody(
            attached, documents.parse(content), wanted.digest, wanted.channel, in_force(self.store, state)
        )
        if not check:
            # before the metadata that leads to them; also heals payloads that got lost
            for sha256, path in payloads.items():
                self._take_in(sha256, path)
        if same and not check and not (self.store.directory / document).is_file():
            self.commit({document: content})
        custom = {"name": wanted.name, "version": wanted.version, "counter": wanted.counter}
        entry = TargetFile(wanted.length, {"sha256": wanted.digest}, wanted.target, {"custom": custom})
        entries, contents = attestations.entries(wanted, attached)
        if not same:
            entries, contents = {wanted.target: entry, **entries}, {document: content, **contents}
        edit.enter(wanted.channel, entries)
        if propose and not propose.title:
            propose = dataclasses.replace(propose, title=f"{wanted.name} {wanted.version} in {wanted.channel}")
        changed, proposal = commit_or_propose(self, edit, contents, "release", propose, check=check)
        after = _lines(before if same else sorted([*before, wanted], key=by_counter))
        return Change(changed, _lines(before), [*after, *proven] if changed else after, wanted, proposal=proposal)

    def _promote(
        self,
        name: str,
        version: str,
        channel: str,
        attachments: t.Sequence[Attachment],
        ring: Ring,
        *,
        check: bool,
        propose: Request | None,
    ) -> Change:
        listed = [entry for entry in self.releases() if (entry.name, entry.version) == (name, version)]
        if not listed:
            raise RepositoryError(f"no channel lists {name}/{version}; publish it first", code="RELEASE")
        origin = listed[0]
        path = self.store.directory / content_name(origin.target, origin.digest)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise RepositoryError(f"{path} cannot be read ({error.strerror}); publish the release again") from error
        if source.digest(content) != origin.digest:
            raise RepositoryError(f"{path} is not what was signed; publish the release again", code="HASH_MISMATCH")
        wanted = dataclasses.replace(origin, channel=channel, target=target_of(channel, name, version))
        return self._list(wanted, content, {}, attachments, ring, check=check, propose=propose)

    def _document(
        self,
        role: str,
        target: str,
        content: bytes,
        custom: t.Mapping[str, object],
        remove: tuple[str, ...],
        ring: Ring,
        request: Request,
        *,
        check: bool,
    ) -> Change:
        state = self.load()
        edit = self.edit(state, ring)
        admit_document(role, (target, *remove), list(edit.channels))
        signed = edit.targets.signed if role == store.TARGETS else edit.channels[role].signed
        before = changes.content_lines(role, Metadata(signed).signed_bytes)
        digest = source.digest(content)
        more = {"custom": dict(custom)} if custom else {}
        edit.enter(role, {target: TargetFile(len(content), {"sha256": digest}, target, more)}, remove)
        changed, proposal = commit_or_propose(
            self, edit, {content_name(target, digest): content}, "document", request, check=check
        )
        return Change(changed, before, changes.content_lines(role, Metadata(signed).signed_bytes), proposal=proposal)

    def _removal(self, role: str, paths: t.Collection[str], ring: Ring, request: Request, *, check: bool) -> Change:
        edit = self.edit(self.load(), ring)
        admit_document(role, paths, list(edit.channels))
        metadata = edit.channels[role]
        before = changes.content_lines(role, metadata.signed_bytes)
        edit.enter(role, {}, paths)
        changed, proposal = commit_or_propose(self, edit, {}, "revocation", request, check=check)
        return Change(changed, before, changes.content_lines(role, metadata.signed_bytes), proposal=proposal)

    def _existing(self) -> t.ContextManager[None]:
        if not self.exists and not (self.trust_root and self.store.is_half_made(self.trust_root)):
            self.store.load()  # raises and says what to do
        return self.locked()

    def _take_in(self, sha256: str, path: pathlib.Path) -> None:
        place = self.store.directory / "targets" / "payloads" / sha256
        length = path.stat().st_size
        if place.is_file() and place.stat().st_size == length and source.digest_of(place) == sha256:
            return
        files.make_directory(place.parent)
        files.copy_hashed(files.read_chunks(path), place, sha256=sha256, length=length)


def _lines(releases: t.Iterable[Listed]) -> list[str]:
    return [str(entry) for entry in releases]
