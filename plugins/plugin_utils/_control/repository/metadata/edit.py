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

from ...base.errors import RepositoryError
from ...keys.ring import name_of
from . import store
from .signing import Need, sign
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
        TargetFile,
        Targets,
        Timestamp,
    )
except ImportError:  # libraries.require() tells
    pass

if t.TYPE_CHECKING:
    from securesystemslib.signer import Key

    from ...keys.ring import Ring


#: How far clocks of publishers may be apart.
_TOLERANCE = datetime.timedelta(hours=1)


@dataclasses.dataclass(frozen=True)
class Holders:
    """Who signs for a role: public keys, and how many of them must."""

    keys: tuple[Key, ...]
    threshold: int = 1


class Edit:
    """Collects changes; :meth:`finish` signs what they touched and everything that depends on it.

    Root, targets and delegated roles are signed by people, perhaps on several machines: :meth:`prepare` is their part
    alone. Snapshot and timestamp follow in :meth:`finish`.

    ``state`` is None for a repository that is being made; ``periods`` are days until expiry by role.
    """

    def __init__(
        self,
        state: State | None,
        ring: Ring,
        periods: t.Mapping[str, int],
        now: datetime.datetime,
    ) -> None:
        self.ring = ring
        self.periods = periods
        #: How much is added to the version of what is signed; clients take any that is above the one they know.
        self.step = 1
        #: Whether a timestamp may be signed that ends before the one that it replaces.
        self.trusts_clock = False
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
        #: Target paths given to :meth:`enter`.
        self.entered: list[str] = []
        self._prepared: dict[str, Metadata[t.Any]] = {}

    def hold(self, holders: t.Mapping[str, Holders]) -> None:
        """Give the top-level roles in ``holders`` to these keys."""
        root = self.root.signed
        before = root.to_dict()
        top: dict[str, Metadata[t.Any]] = {ROOT: self.root, TARGETS: self.targets}
        top.update({SNAPSHOT: self.snapshot, TIMESTAMP: self.timestamp})
        for name, those in holders.items():
            role = Role([key.keyid for key in those.keys], those.threshold)
            self._revoke(name, root.roles.get(name), role, top[name])
            root.roles[name] = role
            for key in those.keys:
                root.keys.setdefault(key.keyid, key)  # a renamed key file is no reason for a new root
        used = {keyid for role in root.roles.values() for keyid in role.keyids}
        root.keys = {keyid: root.keys[keyid] for keyid in sorted(used)}
        if root.to_dict() != before:
            self.touched.add(ROOT)

    def delegate(self, channels: t.Mapping[str, Holders]) -> None:
        """Make or change delegated roles: terminating delegations for ``ROLE/*/*``. Others stay as they are."""
        targets = self.targets.signed
        before = targets.to_dict()
        keys = dict(targets.delegations.keys) if targets.delegations else {}
        roles = dict(targets.delegations.roles or {}) if targets.delegations else {}
        for name, those in channels.items():
            keyids = [key.keyid for key in those.keys]
            role = DelegatedRole(name, keyids, those.threshold, terminating=True, paths=[f"{name}/*/*"])
            self._revoke(name, roles.get(name), role, self.channels.get(name))
            roles[name] = role
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

    def enter(self, role: str, targets: t.Mapping[str, TargetFile], remove: t.Iterable[str] = ()) -> None:
        """List ``targets`` in ``role`` (:data:`TARGETS` or a delegated one), and no longer those in ``remove``."""
        signed = self.targets.signed if role == TARGETS else self.channels[role].signed
        before = signed.to_dict()
        self.entered += targets
        for path in remove:
            signed.targets.pop(path, None)
        signed.targets.update(targets)
        if signed.to_dict() != before:
            self.touched.add(role)

    def adopt(self, proposed: t.Mapping[str, Metadata[t.Any]]) -> None:
        """Take roles as they were prepared before; their versions, expiry and (verified) signatures stay."""
        for name, metadata in proposed.items():
            if name == ROOT:
                self.root = metadata
            elif name == TARGETS:
                self.targets = metadata
            else:
                self.channels[name] = metadata
            self._prepared[name] = metadata
            self.touched.add(name)

    def prepare(self) -> dict[str, Metadata[t.Any]]:
        """What this touches of root, targets and delegated roles, signed with the keys at hand, enough or not."""
        if not _verifies(self.root.signed, TARGETS, self.targets):
            self.touched.add(TARGETS)
        for name, metadata in self.channels.items():
            if not _verifies(self.targets.signed, name, metadata):
                self.touched.add(name)
        offline: list[tuple[str, Metadata[t.Any]]] = [(ROOT, self.root), (TARGETS, self.targets)]
        for name, metadata in [*offline, *self.channels.items()]:
            if name in self.touched and name not in self._prepared:
                self._sign(name, metadata)
                self._prepared[name] = metadata
        return self._prepared

    def role(self, name: str) -> Role:
        """Keys and threshold of the role ``name``, as they will be."""
        return self._roles(name)[0]

    def keyids(self, role: str) -> list[str]:
        """The keys that may sign ``role``: for the top-level roles also those of the root before."""
        return list(dict.fromkeys(keyid for one in self._roles(role) for keyid in one.keyids))

    def verified(self, role: str, metadata: Metadata[t.Any]) -> tuple[set[str], set[str]]:
        """Which keys have signed ``metadata`` rightly, and which belong to its role. ValueError if nobody does."""
        delegators: list[Root | Targets] = [self.root.signed] if role in store.TOP else [self.targets.signed]
        if role in store.TOP and self.old is not None:
            delegators.append(self.old.root)
        good: set[str] = set()
        keyids: set[str] = set()
        for delegator in delegators:
            result = delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
            good.update(result.signed)
            keyids.update(result.signed, result.unsigned)
        return good, keyids

    def state(self) -> State:
        """What this makes of the repository, signed or not."""
        roots = [*(self.old.roots if self.old else []), self.root]
        return State(roots, self.timestamp, self.snapshot, self.targets, self.channels)

    def needs(self) -> list[Need]:
        """Who signed and who may still sign what is prepared."""
        return [need for name, metadata in self.prepare().items() for need in self._needs(name, metadata)]

    def complete(self) -> bool:
        """Whether the keys at hand suffice for everything."""
        return all(need.met for need in self.needs()) and self.online()

    def online(self) -> bool:
        """Whether the keys at hand suffice for snapshot and timestamp."""
        return self.can_sign(SNAPSHOT) and self.can_sign(TIMESTAMP)

    def finish(self) -> dict[str, bytes]:
        """Files to write, by name below the repository; empty when nothing changed.

        Raises :class:`RepositoryError` with ``THRESHOLD`` when the keys at hand do not suffice.
        """
        staged = {_file(name, metadata): self._enough(name, metadata) for name, metadata in self.prepare().items()}
        online: list[tuple[str, Metadata[t.Any]]] = [(SNAPSHOT, self.snapshot), (TIMESTAMP, self.timestamp)]
        for name, metadata in online:
            if not _verifies(self.root.signed, name, metadata):
                self.touched.add(name)
        for name, metadata in ((TARGETS, self.targets), *self.channels.items()):
            self._follow(self.snapshot.signed.meta, name, metadata.signed.version, SNAPSHOT)
        if SNAPSHOT in self.touched:
            self._sign(SNAPSHOT, self.snapshot)
            staged[_file(SNAPSHOT, self.snapshot)] = self._enough(SNAPSHOT, self.snapshot)
        if self.timestamp.signed.snapshot_meta.version != self.snapshot.signed.version:
            self.timestamp.signed.snapshot_meta = MetaFile(self.snapshot.signed.version)
            self.touched.add(TIMESTAMP)
        if TIMESTAMP in self.touched:
            self._sign(TIMESTAMP, self.timestamp)
            staged[_file(TIMESTAMP, self.timestamp)] = self._enough(TIMESTAMP, self.timestamp)
        return staged

    def period(self, role: str) -> datetime.timedelta:
        """How long metadata of ``role`` is valid."""
        return datetime.timedelta(days=self.periods[store.period_of(role)])

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

    def _revoke(self, name: str, old: Role | None, new: Role, metadata: Metadata[t.Any] | None) -> None:
        """What a key signed that loses the role is signed anew by those that stay."""
        if old is not None and metadata is not None:
            targets = metadata.signed.targets.values() if store.is_approvals(name) else ()
            people = {keyid for entry in targets for keyid in (entry.custom or {}).get("approved_by", ())}
            if set(old.keyids).difference(new.keyids).intersection({*metadata.signatures, *people}):
                self.touched.add(name)

    def _sign(self, role: str, metadata: Metadata[t.Any]) -> None:
        signed = metadata.signed
        if role not in self._new:
            # that of a root says which file follows which
            signed.version += 1 if role == ROOT else self.step
            self._require_clock(role, signed.expires)
        signed.expires = (self.now + self.period(role)).replace(microsecond=0)
        if store.is_approvals(role):
            self._attest(role, metadata)
        metadata.signatures.clear()
        sign(metadata, self.keyids(role), self.ring)

    def _require_clock(self, role: str, ends: datetime.datetime) -> None:
        """Raise :class:`RepositoryError` if the timestamp that is replaced, and ``ends`` then, was signed after now.

        The new one would end before it, and clients would find the repository expired.
        """
        signed = ends - datetime.timedelta(days=max(self.periods[TIMESTAMP], store.PERIODS[TIMESTAMP]))
        if role == TIMESTAMP and not self.trusts_clock and signed - self.now > _TOLERANCE:
            raise RepositoryError(
                f"this machine's clock says {self.now:%Y-%m-%d %H:%M} UTC, and the repository's timestamp was signed "
                f"at {signed:%Y-%m-%d %H:%M} UTC or later: set the clock, nothing was signed. If the period of the "
                "timestamp was made shorter, say so once more with fleet.ota.repository and fleet_ota_expiry_days",
                code="CLOCK",
            )

    def _attest(self, role: str, metadata: Metadata[t.Any]) -> None:
        """Keep who approved what is listed already, before other people sign for something else.

        A key that lost the role has not approved any more.
        """
        for path, entry in metadata.signed.targets.items():
            if path not in self.entered:
                custom = entry.custom or {}
                people = set(custom.get("approved_by", metadata.signatures)).intersection(self.keyids(role))
                entry.unrecognized_fields["custom"] = {**custom, "approved_by": sorted(people)}

    def _needs(self, role: str, metadata: Metadata[t.Any]) -> list[Need]:
        roles = self._roles(role)
        if role != ROOT or (len(roles) == 2 and roles[0].to_dict() == roles[1].to_dict()):
            roles = roles[:1]  # a new root needs the old one's threshold; for other roles old keys are a courtesy
        return [
            Need(
                role,
                one.threshold,
                tuple(self.name_of(keyid) for keyid in one.keyids if keyid in metadata.signatures),
                tuple(self.name_of(keyid) for keyid in one.keyids if keyid not in metadata.signatures),
                previous=number > 0,
            )
            for number, one in enumerate(roles)
        ]

    def _enough(self, role: str, metadata: Metadata[t.Any]) -> bytes:
        for need in self._needs(role, metadata):
            if not need.met:
                total = need.have + len(need.missing)
                raise RepositoryError(
                    f"{role} needs {need.threshold} of {total} signatures and {need.have} can be made; give also "
                    f"private keys of: {', '.join(need.missing)}{self.ring.hint()}",
                    code="THRESHOLD",
                    role=role,
                )
        return metadata.to_bytes()

    def name_of(self, keyid: str) -> str:
        """How messages call the key."""
        keys: dict[str, Key] = dict(self.root.signed.keys)
        if self.old is not None:
            keys.update(self.old.root.keys)
        if self.targets.signed.delegations:
            keys.update(self.targets.signed.delegations.keys)
        return name_of(keyid, keys.get(keyid))


def _file(role: str, metadata: Metadata[t.Any]) -> str:
    return f"metadata/{'timestamp.json' if role == TIMESTAMP else f'{metadata.signed.version}.{role}.json'}"


def _verifies(delegator: Root | Targets, role: str, metadata: Metadata[t.Any]) -> bool:
    try:
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except UnsignedMetadataError:
        return False
    return True
