# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""One change of a repository's metadata, from the verified state to the files to write."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import typing as t

from . import store
from .errors import RepositoryError
from .keys import NAME_FIELD
from .store import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, State

try:
    from tuf.api.exceptions import UnsignedMetadataError
    from tuf.api.metadata import (
        DelegatedRole,
        Delegations,
        Metadata,
        MetaFile,
        Role,
        Root,
        Snapshot,
        Targets,
        Timestamp,
    )
except ImportError:  # libraries.require() tells
    pass

if t.TYPE_CHECKING:
    from securesystemslib.signer import Key

    from .keys import Ring


@dataclasses.dataclass(frozen=True)
class Holders:
    """Who signs for a role: public keys, and how many of them must."""

    keys: tuple[Key, ...]
    threshold: int = 1


class Edit:
    """Collects changes; :meth:`finish` signs what they touched and everything that depends on it.

    ``state`` is None for a repository that is being made; ``periods`` are days until expiry by role.
    """

    def __init__(self, state: State | None, ring: Ring, periods: t.Mapping[str, int], now: datetime.datetime) -> None:
        self.ring = ring
        self.periods = periods
        self.now = now
        self.old = state
        if state is None:
            self.root, self.targets = Metadata(Root(consistent_snapshot=True)), Metadata(Targets())
            self.snapshot, self.timestamp = Metadata(Snapshot()), Metadata(Timestamp())
            self.channels: dict[str, Metadata[Targets]] = {}
        else:
            self.root, self.targets = copy.deepcopy(state.roots[-1]), copy.deepcopy(state.targets)
            self.snapshot, self.timestamp = copy.deepcopy(state.snapshot), copy.deepcopy(state.timestamp)
            self.channels = copy.deepcopy(state.channels)
        self.touched: set[str] = set() if state else {ROOT, TARGETS, SNAPSHOT, TIMESTAMP}
        self._new = set(self.touched)

    def hold(self, holders: t.Mapping[str, Holders]) -> None:
        """Give the top-level roles in ``holders`` to these keys."""
        root = self.root.signed
        before = root.to_dict()
        for name, those in holders.items():
            root.roles[name] = Role([key.keyid for key in those.keys], those.threshold)
            for key in those.keys:
                root.keys.setdefault(key.keyid, key)  # a renamed key file is no reason for a new root
        used = {keyid for role in root.roles.values() for keyid in role.keyids}
        root.keys = {keyid: root.keys[keyid] for keyid in sorted(used)}
        if root.to_dict() != before:
            self.touched.add(ROOT)

    def delegate(self, channels: t.Mapping[str, Holders]) -> None:
        """Make or change channels: terminating delegations for ``CHANNEL/*/*``. Others stay as they are."""
        targets = self.targets.signed
        before = targets.to_dict()
        keys = dict(targets.delegations.keys) if targets.delegations else {}
        roles = dict(targets.delegations.roles or {}) if targets.delegations else {}
        for name, those in channels.items():
            keyids = [key.keyid for key in those.keys]
            roles[name] = DelegatedRole(name, keyids, those.threshold, terminating=True, paths=[f"{name}/*/*"])
            for key in those.keys:
                keys.setdefault(key.keyid, key)
            if name not in self.channels:
                self.channels[name] = Metadata(Targets())
                self.touched.add(name)
                self._new.add(name)
        used = sorted({keyid for role in roles.values() for keyid in role.keyids})
        if roles:
            targets.delegations = Delegations({keyid: keys[keyid] for keyid in used}, roles)
        if targets.to_dict() != before:
            self.touched.add(TARGETS)

    def finish(self) -> dict[str, bytes]:
        """Files to write, by name below the repository; empty when nothing changed.

        Raises :class:`RepositoryError` with ``THRESHOLD`` when the keys at hand do not suffice.
        """
        root = self.root.signed
        for name, metadata in ((TARGETS, self.targets), (SNAPSHOT, self.snapshot), (TIMESTAMP, self.timestamp)):
            if not _verifies(root, name, metadata):
                self.touched.add(name)
        for name, metadata in self.channels.items():
            if not _verifies(self.targets.signed, name, metadata):
                self.touched.add(name)
        staged: dict[str, bytes] = {}
        if ROOT in self.touched:
            staged.update(self._sign(ROOT, self.root))
        for name, metadata in ((TARGETS, self.targets), *self.channels.items()):
            if name in self.touched:
                staged.update(self._sign(name, metadata))
            self._follow(self.snapshot.signed.meta, name, metadata.signed.version, SNAPSHOT)
        if SNAPSHOT in self.touched:
            staged.update(self._sign(SNAPSHOT, self.snapshot))
        if self.timestamp.signed.snapshot_meta.version != self.snapshot.signed.version:
            self.timestamp.signed.snapshot_meta = MetaFile(self.snapshot.signed.version)
            self.touched.add(TIMESTAMP)
        if TIMESTAMP in self.touched:
            staged.update(self._sign(TIMESTAMP, self.timestamp))
        return staged

    def period(self, role: str) -> datetime.timedelta:
        """How long metadata of ``role`` is valid."""
        return datetime.timedelta(days=self.periods[role if role in store.TOP else "channels"])

    def can_sign(self, role: str) -> bool:
        """Whether the keys at hand reach the threshold of ``role``."""
        return all(
            sum(keyid in self.ring.signers for keyid in one.keyids) >= one.threshold for one in self._roles(role)[:1]
        )

    def _follow(self, meta: dict[str, MetaFile], name: str, version: int, follower: str) -> None:
        entry = meta.get(f"{name}.json")
        if entry is None or entry.version != version:
            meta[f"{name}.json"] = MetaFile(version)
        if entry is None or entry.version != version or name in self.touched:
            self.touched.add(follower)

    def _roles(self, role: str) -> list[Role]:
        """The role as it will be and, for top-level roles, as the root before says: its clients must follow too."""
        if role not in store.TOP:
            return [self.targets.signed.get_delegated_role(role)]
        roles = [self.root.signed.roles[role]]
        if self.old is not None:
            roles.append(self.old.root.roles[role])
        return roles

    def _sign(self, role: str, metadata: Metadata[t.Any]) -> dict[str, bytes]:
        signed = metadata.signed
        if role not in self._new:
            signed.version += 1
        signed.expires = (self.now + self.period(role)).replace(microsecond=0)
        roles = self._roles(role)
        metadata.signatures.clear()
        for keyid in dict.fromkeys(keyid for one in roles for keyid in one.keyids):
            if keyid in self.ring.signers:
                metadata.sign(self.ring.signers[keyid], append=True)
        # a new root needs the old one's threshold; for the other roles the old keys are a courtesy
        for one in roles if role == ROOT else roles[:1]:
            self._enough(role, one, set(metadata.signatures))
        name = "timestamp.json" if role == TIMESTAMP else f"{signed.version}.{role}.json"
        return {f"metadata/{name}": metadata.to_bytes()}

    def _enough(self, role: str, wanted: Role, signed: set[str]) -> None:
        have = len(signed.intersection(wanted.keyids))
        if have < wanted.threshold:
            missing = ", ".join(self._name(keyid) for keyid in wanted.keyids if keyid not in signed)
            raise RepositoryError(
                f"{role} needs {wanted.threshold} of {len(wanted.keyids)} signatures and {have} can be made; give "
                f"also private keys of: {missing}",
                code="THRESHOLD",
                role=role,
            )

    def _name(self, keyid: str) -> str:
        known: dict[str, Key] = dict(self.root.signed.keys)
        if self.old is not None:
            known.update(self.old.root.keys)
        if self.targets.signed.delegations:
            known.update(self.targets.signed.delegations.keys)
        name = known[keyid].unrecognized_fields.get(NAME_FIELD) if keyid in known else None
        return f"{name} ({keyid[:8]})" if name else keyid[:8]


def _verifies(delegator: Root | Targets, role: str, metadata: Metadata[t.Any]) -> bool:
    try:
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except UnsignedMetadataError:
        return False
    return True
