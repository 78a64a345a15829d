# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The client workflow (TUF specification 1.0.33, section 5); the numbers in comments are its steps."""

from __future__ import annotations

import abc
import time
import typing as t

from ..base.errors import OtaError
from . import delegations, signatures
from .metadata import (
    LIMITS,
    TIME,
    TOP,
    Body,
    DelegatedRole,
    Described,
    Members,
    Metadata,
    Role,
    Root,
    Snapshot,
    Targets,
    Timestamp,
    read,
    require_described,
)
from .signatures import Signers
from .store import Store

#: New roots that one run follows at most; the next run goes on from there.
MAX_ROOTS = 256


class Source(abc.ABC):
    """Brings metadata files."""

    @abc.abstractmethod
    def metadata(self, role: str, version: int | None, limit: int) -> bytes | None:
        """The metadata of ``role``, or None if there is none.

        ``version`` is part of the file's name (``2.root.json``) unless it is None. A source need not bring more than
        ``limit`` + 1 bytes. Raises OtaError ``FETCH`` when it cannot tell.
        """


class Loaded:
    """A targets role that was verified: who signed it, how it was delegated, and the roles loaded through it."""

    def __init__(self, name: str, role: Role, body: Targets, signers: Signers, parent: Loaded | None = None) -> None:
        self.name, self.role, self.body, self.signers, self.parent = name, role, body, signers, parent
        self.children: dict[str, Loaded] = {}

    @property
    def chain(self) -> tuple[str, ...]:
        """The roles from the top-level targets to this one."""
        return (*self.parent.chain, self.name) if self.parent else (self.name,)


class Listed(t.NamedTuple):
    """A target and the role that lists it."""

    entry: Described
    role: Loaded


class Workflow:
    """One run of the client: :meth:`refresh`, then :meth:`find` as often as wanted.

    ``now`` (seconds since 1970) is fixed for the run (5.1). With ``reuse`` the kept snapshot and targets save a fetch
    where they are exactly what is described now and signed as they must be now; a bundle is complete without.
    """

    root: Root
    snapshot: Snapshot
    targets: Loaded

    def __init__(self, store: Store, source: Source, now: float, *, reuse: bool = False) -> None:
        self.store, self.source, self.now, self.reuse = store, source, now, reuse

    def refresh(self) -> None:
        """The top-level roles, each kept as soon as it is accepted. Raises OtaError with the reason code."""
        self.root = self._roots()
        timestamp = self._timestamp()
        self.snapshot = self._snapshot(timestamp)
        self.targets = self._targets("targets", self.root.roles["targets"], self.root.keys, None)
        self.store.raise_floor(self.now)

    def find(self, path: str) -> Listed | None:
        """The target ``path`` by pre-order search (5.6.7), or None if verified metadata does not list it.

        A role that must be asked and cannot be verified is an error: an attacker who withholds it must not turn
        "listed" into "not listed".
        """
        asked = self.targets
        waiting: list[tuple[Loaded, DelegatedRole]] = []
        visited: set[str] = set()
        while path not in asked.body.targets:
            children, terminating = delegations.matching(asked.body.roles, path)
            if terminating:
                waiting.clear()
            waiting.extend((asked, child) for child in reversed(children))
            while waiting and waiting[-1][1].name in visited:
                waiting.pop()
            if not waiting:
                return None
            if len(visited) >= delegations.MAX_VISITED:
                message = "more than %d roles would have to be asked for %s"
                raise OtaError("METADATA", message % (delegations.MAX_VISITED, path))
            parent, delegated = waiting.pop()
            visited.add(delegated.name)
            asked = self._child(parent, delegated)
        return Listed(asked.body.targets[path], asked)

    # -- the roles -----------------------------------------------------------------------------------------------

    def _roots(self) -> Root:
        """5.3: from the trusted root on, each next version signed by the one before and by itself."""
        trusted = self._trusted_root()
        for _count in range(MAX_ROOTS):
            version = trusted.version + 1
            content = self.source.metadata("root", version, LIMITS["root"])
            if content is None:
                break
            metadata = read(content, "root", "root")
            new = t.cast(Root, metadata.body)
            if new.version != version:
                raise OtaError("METADATA", "root version %d is missing; version %d came" % (version, new.version))
            signatures.require_signed(metadata, "root", trusted.roles["root"], trusted.keys)
            signatures.require_signed(metadata, "root", new.roles["root"], new.keys)
            if any(_rotated(trusted, new, name) for name in ("timestamp", "snapshot")):
                # 5.3.11, fast-forward recovery. Before the new root is kept: after a power cut in between, the
                # rotation is seen again.
                self.store.forget("timestamp")
                self.store.forget("snapshot")
            self.store.keep("root", content)
            trusted = new
        self._fresh("root", trusted)
        return trusted

    def _trusted_root(self) -> Root:
        path = self.store.path("root")
        try:
            content = self.store.read("root")
            if content is None:
                raise OtaError("TRUST_ROOT", "there is no such file")
            return _pinned(read(content, "root", "root"))
        except OtaError as error:
            if error.code == "UNSUPPORTED":
                raise  # the root is fine, the device lacks something
            message = "the pinned trust root %s cannot be used (%s); enroll this device again"
            raise OtaError("TRUST_ROOT", message % (path, error.message)) from None

    def _timestamp(self) -> Timestamp:
        """5.4: neither the timestamp nor the snapshot it names may go back."""
        role, keys = self.root.roles["timestamp"], self.root.keys
        content = self._fetch("timestamp", None)
        metadata = read(content, "timestamp", "timestamp")
        signatures.require_signed(metadata, "timestamp", role, keys)
        new = t.cast(Timestamp, metadata.body)
        kept = self._kept("timestamp", "timestamp")
        if kept is not None:
            old = t.cast(Timestamp, kept.body)
            if new.version < old.version:
                raise _rollback("timestamp", new.version, old.version)
            if new.version == old.version and self._still_signed(kept, "timestamp"):
                self._fresh("timestamp", old)
                return old  # 5.4.3.1: the one that came is not looked at any more
            if new.snapshot.version < old.snapshot.version:
                raise _rollback("snapshot", new.snapshot.version, old.snapshot.version)
        self._fresh("timestamp", new)
        self.store.keep("timestamp", content)
        return new

    def _snapshot(self, timestamp: Timestamp) -> Snapshot:
        """5.5: every role that an older snapshot listed is still listed, in no older version."""
        kept = self._kept("snapshot", "snapshot")

        def examine(metadata: Metadata) -> None:
            new = t.cast(Snapshot, metadata.body)
            for name, entry in t.cast(Snapshot, kept.body).meta.items() if kept else ():
                if name not in new.meta:
                    raise OtaError("ROLLBACK", "the new snapshot lacks %s, which an accepted one had" % name)
                if new.meta[name].version < entry.version:
                    raise _rollback(name, new.meta[name].version, entry.version)

        role, described = self.root.roles["snapshot"], timestamp.snapshot
        metadata, _signers = self._load("snapshot", "snapshot", role, self.root.keys, described, examine)
        return t.cast(Snapshot, metadata.body)

    def _targets(self, name: str, role: Role, keys: t.Mapping[str, Members], parent: Loaded | None) -> Loaded:
        """5.6, for the top-level role and delegated ones."""
        described = self.snapshot.meta.get(name + ".json")
        if described is None:
            raise OtaError("METADATA", "the snapshot does not list %s.json, which is needed" % name)
        metadata, signers = self._load(name, "targets", role, keys, described)
        return Loaded(name, role, t.cast(Targets, metadata.body), signers, parent)

    def _child(self, parent: Loaded, delegated: DelegatedRole) -> Loaded:
        """A delegated role as this parent delegates to it: verified once for each parent."""
        if delegated.name not in parent.children:
            loaded = self._targets(delegated.name, delegated.role, parent.body.keys, parent)
            parent.children[delegated.name] = loaded
        return parent.children[delegated.name]

    # -- what is common to them ----------------------------------------------------------------------------------

    def _load(
        self,
        name: str,
        kind: str,
        role: Role,
        keys: t.Mapping[str, Members],
        described: Described,
        examine: t.Callable[[Metadata], None] = lambda metadata: None,
    ) -> tuple[Metadata, Signers]:
        """Metadata exactly as its parent describes it, signed to its threshold, and not expired."""

        def verified(content: bytes) -> tuple[Metadata, Signers]:
            require_described(name, content, described)
            metadata = read(content, name, kind)
            signers = signatures.require_signed(metadata, name, role, keys)
            if metadata.body.version != described.version:
                message = "%s is version %d, not %d"
                raise OtaError("METADATA", message % (name, metadata.body.version, described.version))
            examine(metadata)
            self._fresh(name, metadata.body)
            return metadata, signers

        kept = self.store.read(name) if self.reuse else None
        if kept is not None:
            try:
                return verified(kept)
            except OtaError:
                pass  # what was kept is not what is wanted now
        content = self._fetch(name, described.version, kind)
        loaded = verified(content)
        if self.reuse or name in TOP:
            self.store.keep(name, content)
        return loaded

    def _fetch(self, name: str, version: int | None, kind: str | None = None) -> bytes:
        limit = LIMITS[kind or name]
        content = self.source.metadata(name, version if self.root.consistent else None, limit)
        if content is None:
            raise OtaError("METADATA", "the metadata of %s is missing" % name)
        return content

    def _kept(self, name: str, kind: str) -> Metadata | None:
        content = self.store.read(name)
        try:
            return None if content is None else read(content, name, kind)
        except OtaError as error:
            message = "the trusted metadata %s cannot be used (%s); enroll this device again"
            raise OtaError("TRUST_ROOT", message % (self.store.path(name), error.message)) from None

    def _still_signed(self, metadata: Metadata, name: str) -> bool:
        try:
            signatures.require_signed(metadata, name, self.root.roles[name], self.root.keys)
        except OtaError:
            return False
        return True

    def _fresh(self, name: str, body: Body) -> None:
        """Refuse metadata that has expired (freeze attacks)."""
        if body.expires <= self.now:
            message = "%s expired at %s and it is %s here; refresh the repository, or set this device's clock"
            end, now = (time.strftime(TIME, time.gmtime(moment)) for moment in (body.expires, self.now))
            raise OtaError("EXPIRED", message % (name, end, now))


def pinned(text: str) -> Members:
    """A root that a person gives to pin: well formed and signed by its own threshold; OtaError otherwise."""
    metadata = read(text.encode("utf-8", "surrogatepass"), "root", "root")
    _pinned(metadata)
    return metadata.signed


def _pinned(metadata: Metadata) -> Root:
    root = t.cast(Root, metadata.body)
    signatures.require_signed(metadata, "root", root.roles["root"], root.keys)
    return root


def _rotated(old: Root, new: Root, name: str) -> bool:
    """Whether other keys sign ``name`` now; the same key under another id is no other key."""
    return signatures.values_of(old.roles[name], old.keys) != signatures.values_of(new.roles[name], new.keys)


def _rollback(name: str, offered: int, seen: int) -> OtaError:
    message = "%s is version %d but this device has accepted version %d; a mirror or an attacker replays old metadata"
    return OtaError("ROLLBACK", message % (name, offered, seen))
