# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A TUF repository in memory that can be made to lie (the idea of python-tuf's repository simulator).

Roles are python-tuf's objects, which a test may bend; :meth:`Simulator.publish` signs and serves them as an honest
repository would, :meth:`Simulator.serve` serves a role as it is. What is served is ``files``, which a test may replace.
"""

from __future__ import annotations

import copy
import datetime
import hashlib
import json
import typing as t
import urllib.parse

from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

TOP = ("root", "timestamp", "snapshot", "targets")
#: What stands for a file: its bytes, or a status code, or pieces that never end.
Answer = bytes | int | t.Callable[[], t.Iterator[bytes]]


class Simulator:
    """One repository; at first with one ECDSA key for each role and everything at version 1."""

    def __init__(self, *, consistent: bool = True, hashes: bool = False) -> None:
        end = datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(days=30)
        self.end, self.hashes = end, hashes
        self.root = Root(expires=end, consistent_snapshot=consistent)
        self.timestamp = Timestamp(expires=end)
        self.snapshot = Snapshot(expires=end)
        self.targets = Targets(expires=end)
        self.delegated: dict[str, Targets] = {}
        self.signers: dict[str, list[Signer]] = {}
        self.files: dict[str, Answer] = {}
        self.requests: list[str] = []
        self.artifacts: dict[str, bytes] = {}
        for role in TOP:
            self.add_key(role)
        for role in ("root", "targets", "snapshot", "timestamp"):
            self.serve(role)
        self._describe_snapshot()

    # -- keys and roles ------------------------------------------------------------------------------------------

    def signed(self, role: str) -> Root | Timestamp | Snapshot | Targets:
        """The object of a role."""
        return t.cast("Targets", getattr(self, role) if role in TOP else self.delegated[role])

    def add_key(self, role: str, signer: Signer | None = None, by: str = "root", *, signs: bool = True) -> Signer:
        """A further key for ``role`` in its delegator ``by``; it signs from now on if ``signs``."""
        signer = signer or CryptoSigner.generate_ecdsa()
        delegator = self.root if by == "root" else t.cast(Targets, self.signed(by))
        delegator.add_key(signer.public_key, role)
        if signs:
            self.signers.setdefault(role, []).append(signer)
        return signer

    def alias(self, role: str, signer: Signer, keyid: str) -> None:
        """The key of ``signer`` once more in root, under another id."""
        key = copy.deepcopy(signer.public_key)
        key.keyid = keyid
        self.root.add_key(key, role)
        other = copy.copy(signer)
        other.__dict__.update({"_public_key": key} if "_public_key" in other.__dict__ else {"public_key": key})
        self.signers[role].append(other)

    def drop_keys(self, role: str) -> None:
        """Take all keys from a top-level role."""
        for keyid in list(self.root.roles[role].keyids):
            self.root.revoke_key(keyid, role)
        self.signers[role] = []

    def rotate(self, role: str) -> None:
        """One new key instead of all that a top-level role had."""
        self.drop_keys(role)
        self.add_key(role)

    def delegate(self, by: str, role: str, *, threshold: int = 1, terminating: bool = False, **where: t.Any) -> Targets:
        """Delegate to ``role`` with one key of its own; ``where`` is paths or path_hash_prefixes."""
        delegator = t.cast(Targets, self.signed(by))
        if delegator.delegations is None:
            delegator.delegations = Delegations({}, {})
        assert delegator.delegations.roles is not None
        where = where or {"paths": ["*"]}
        delegator.delegations.roles[role] = DelegatedRole(role, [], threshold, terminating, **where)
        if role in self.signers:
            for signer in self.signers[role]:
                delegator.add_key(signer.public_key, role)
        else:
            self.delegated[role] = Targets(expires=self.end)
            self.add_key(role, by=by)
        return self.delegated[role]

    def add_target(self, role: str, path: str, content: bytes) -> TargetFile:
        """List an artifact in ``role`` and serve it."""
        info = TargetFile.from_data(path, content, ["sha256"])
        t.cast(Targets, self.signed(role)).targets[path] = info
        parent, slash, last = path.rpartition("/")
        name = f"{info.hashes['sha256']}.{last}" if self.root.consistent_snapshot else last
        self.artifacts[path] = content
        self.files[f"targets/{parent}{slash}{name}"] = content
        return info

    # -- publishing ----------------------------------------------------------------------------------------------

    def publish(self, *roles: str) -> None:
        """A new version of each of ``roles`` and of what names their versions."""
        for role in roles:
            self.signed(role).version += 1
            self.serve(role)
        if set(roles) - {"root", "timestamp", "snapshot"}:
            roles = (*roles, "snapshot")
            self.snapshot.version += 1
        for role in roles:
            if role not in ("root", "timestamp", "snapshot"):
                self.describe(role)
        if "snapshot" in roles:
            self.serve("snapshot")
            self._describe_snapshot(bump=True)

    def describe(self, role: str) -> None:
        """Name the version (and hash) of a targets role in the snapshot object."""
        self.snapshot.meta[f"{role}.json"] = self._meta(role)

    def _describe_snapshot(self, *, bump: bool = False) -> None:
        self.timestamp.snapshot_meta = self._meta("snapshot")
        self.timestamp.version += bump
        self.serve("timestamp")

    def _meta(self, role: str) -> MetaFile:
        version = self.signed(role).version
        if not self.hashes:
            return MetaFile(version)
        content = self.files[self.name(role)]
        assert isinstance(content, bytes)
        return MetaFile(version, len(content), {"sha256": hashlib.sha256(content).hexdigest()})

    def name(self, role: str, version: int | None = None) -> str:
        """The path at which clients look for a role."""
        quoted = urllib.parse.quote(role, safe="")
        if role == "root" or (self.root.consistent_snapshot and role != "timestamp"):
            return f"metadata/{version or self.signed(role).version}.{quoted}.json"
        return f"metadata/{quoted}.json"

    def sign(self, role: str) -> bytes:
        """The bytes of a role as it is now, signed by its keys."""
        metadata: Metadata[t.Any] = Metadata(self.signed(role))
        for signer in self.signers[role]:
            metadata.sign(signer, append=True)
        return metadata.to_bytes(JSONSerializer())

    def serve(self, role: str, content: bytes | None = None) -> None:
        """Serve a role as it is now, or ``content`` in its place."""
        self.files[self.name(role)] = self.sign(role) if content is None else content

    def bend(self, role: str, change: t.Callable[[dict[str, t.Any]], object], *, sign: bool = True) -> None:
        """Serve a role after ``change`` to its JSON; signed again by the role's keys unless ``sign`` is false."""
        whole = json.loads(self.sign(role))
        change(whole["signed"] if sign else whole)
        if sign:
            content = canonical(whole["signed"])
            made = [(signer.public_key.keyid, signer.sign(content).signature) for signer in self.signers[role]]
            whole["signatures"] = [{"keyid": keyid, "sig": signature} for keyid, signature in made]
        self.serve(role, json.dumps(whole).encode())

    # -- serving -------------------------------------------------------------------------------------------------

    def answer(self, path: str) -> Answer:
        """What is served at ``path`` (``metadata/1.root.json``); the request is written down."""
        self.requests.append(path)
        return self.files.get(path, 404)

    def asked(self) -> list[str]:
        """The metadata that was asked for since the last call, as file names."""
        found = [path.removeprefix("metadata/") for path in self.requests if path.startswith("metadata/")]
        self.requests.clear()
        return found


def canonical(value: t.Any) -> bytes:
    """OLPC canonical JSON, made from the standard library's so that nothing of the code under test signs."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.replace("\\n", "\n").encode()
