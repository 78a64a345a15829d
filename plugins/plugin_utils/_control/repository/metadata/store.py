# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""A TUF repository on disk: read it verified, change it without ever leaving half of it.

Layout: ``metadata/N.ROLE.json`` and ``metadata/timestamp.json`` (consistent snapshots), ``targets/``, and
``fleet-ota.json`` with the periods after which metadata expires.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import shutil
import tempfile
import typing as t

from .....module_utils._device.documents import policy
from ...base import files
from ...base.errors import RepositoryError
from ...policy.policy import TARGET, Policy, parse
from ...transports import tuf

try:
    from tuf.api.exceptions import DownloadError, LengthOrHashMismatchError, UnsignedMetadataError
    from tuf.api.exceptions import RepositoryError as TufError
    from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
    from tuf.api.serialization import DeserializationError
    from tuf.ngclient import Updater
except ImportError:  # libraries.require() tells
    pass

if t.TYPE_CHECKING:
    from tuf.api.metadata import TargetFile

    Delegator = Root | Targets

ROOT, TIMESTAMP, SNAPSHOT, TARGETS = "root", "timestamp", "snapshot", "targets"
TOP = (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)
#: Days until metadata of a role expires; ``channels`` and ``approvals`` stand for every one of that kind.
PERIODS: t.Mapping[str, int] = {ROOT: 365, TARGETS: 365, "channels": 90, "approvals": 30, SNAPSHOT: 7, TIMESTAMP: 7}

_SETTINGS = "fleet-ota.json"
#: Where metadata lie until a new repository appears.
_NEW = "metadata.new"


def is_approvals(role: str) -> bool:
    """Whether the delegated ``role`` lists approvals, and no releases."""
    return bool(policy.ROLE.fullmatch(role))


def period_of(role: str) -> str:
    """The name in :data:`PERIODS` that goes for ``role``."""
    if role in TOP:
        return role
    return "approvals" if is_approvals(role) else "channels"


@dataclasses.dataclass
class State:
    """The verified metadata of a repository; ``roots`` is the chain from the trusted one to the newest."""

    roots: list[Metadata[Root]]
    timestamp: Metadata[Timestamp]
    snapshot: Metadata[Snapshot]
    targets: Metadata[Targets]
    channels: dict[str, Metadata[Targets]]

    @property
    def root(self) -> Root:
        """The newest root."""
        return self.roots[-1].signed


def content_name(target: str, sha256: str) -> str:
    """Where the content of the TUF target path ``target`` lies below the repository (consistent snapshots)."""
    folder, slash, name = target.rpartition("/")
    return f"targets/{folder}{slash}{sha256}.{name}"


class Store:
    """The directory of one repository."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory

    @contextlib.contextmanager
    def lock(self) -> t.Iterator[None]:
        """Alone with the repository until the block ends."""
        with files.lock(self.directory / ".lock"):
            yield

    @property
    def exists(self) -> bool:
        """Whether there is a repository: its metadata appears in one step."""
        return self._metadata().is_dir()

    def first_root(self) -> pathlib.Path:
        """The file to pin on controllers and devices."""
        return self._metadata("1.root.json")

    def periods(self) -> dict[str, int]:
        """Days until metadata expires, by role."""
        try:
            return {**PERIODS, **json.loads((self.directory / _SETTINGS).read_bytes())["expiry_days"]}
        except FileNotFoundError:
            return dict(PERIODS)
        except (ValueError, KeyError, TypeError) as error:
            raise self._error(f"has a damaged {_SETTINGS} ({error}); restore or delete that file") from error

    def write_periods(self, periods: t.Mapping[str, int]) -> None:
        """Remember ``periods`` for later publications."""
        content = json.dumps({"format": 1, "expiry_days": dict(periods)}, indent=1, sort_keys=True) + "\n"
        files.write(self.directory / _SETTINGS, content.encode())

    def load(self, trust_root: bytes | None = None) -> State:
        """The current metadata, every signature verified from ``trust_root`` on (default: the repository's first).

        What stands on disk may have been put there by somebody else: nothing is signed on top of it unverified.
        Expired metadata is accepted, because renewing it is what the caller may be about to do. Raises
        :class:`RepositoryError`.
        """
        if not self.exists:
            raise self._error("does not exist; make it with fleet.ota.repository")
        roots = self._roots(trust_root)
        # Rotating a top-level key without its old half at hand puts the root first; until the rest followed, the
        # files are still those of the root before it.
        delegators: t.Sequence[Delegator] = [entry.signed for entry in roots[-2:]][::-1]
        timestamp = self._read(Timestamp, "timestamp.json", TIMESTAMP, delegators)
        version = timestamp.signed.snapshot_meta.version
        snapshot = self._read(Snapshot, f"{version}.snapshot.json", SNAPSHOT, delegators)
        version = self._version(snapshot, TARGETS)
        targets = self._read(Targets, f"{version}.targets.json", TARGETS, delegators)
        channels = {}
        delegations = targets.signed.delegations
        for name in delegations.roles if delegations and delegations.roles else {}:
            file = f"{self._version(snapshot, name)}.{name}.json"
            channels[name] = self._read(Targets, file, name, [targets.signed])
        return State(roots, timestamp, snapshot, targets, channels)

    def content(self, path: str, entry: TargetFile) -> bytes:
        """The document that ``entry`` lists as ``path``, checked. Raises :class:`RepositoryError`."""
        file = self.directory / content_name(path, entry.hashes["sha256"])
        try:
            content = file.read_bytes()
            entry.verify_length_and_hashes(content)
        except (OSError, LengthOrHashMismatchError) as error:
            reason = f"has no {file.relative_to(self.directory)} as it was signed ({error}); restore it from a backup"
            raise self._error(reason, code="HASH_MISMATCH") from error
        return content

    def commit(self, staged: t.Mapping[str, bytes], pin: pathlib.Path | None = None) -> None:
        """Put ``staged`` (name below the repository to content) in place.

        Everything but root and timestamp has its version or digest in its name and is inert until the timestamp
        leads to it, so the timestamp's rename is the moment of truth. A repository that does not exist yet appears
        by one rename of its whole metadata directory, and its root is written to the file ``pin`` before.
        """
        if not self.exists:
            self._create(staged, pin)
            return
        last = [name for name in staged if name.endswith(".root.json")]
        if "metadata/timestamp.json" in staged:
            last.insert(0, "metadata/timestamp.json")
        if len(last) > 1 and self._refused({name: staged[name] for name in staged if name not in last[1:]}):
            last.reverse()  # the new timestamp means nothing to the old root
        for name in [name for name in staged if name not in last] + last:
            self._write(self.directory / name, staged[name])

    def require_accepted(
        self, staged: t.Mapping[str, bytes], trust_root: bytes | None = None, targets: t.Iterable[str] = ()
    ) -> None:
        """Be a client of the repository as it will be with ``staged``, with python-tuf's whole workflow.

        ``targets`` are downloaded too. Raises :class:`RepositoryError` with the client's reason.
        """
        reason = self._refused(staged, trust_root, targets)
        if reason:
            raise self._error(f"would not be accepted by its own clients: {reason}; nothing was changed")

    def _refused(
        self, staged: t.Mapping[str, bytes], trust_root: bytes | None = None, targets: t.Iterable[str] = ()
    ) -> str | None:
        bootstrap = trust_root or staged.get("metadata/1.root.json") or self.first_root().read_bytes()
        with tempfile.TemporaryDirectory(prefix="fleet-ota-check-") as folder:
            fetcher = tuf.DirectoryFetcher(self.directory, staged)
            try:
                client = Updater(folder, "metadata/", folder, "targets/", fetcher, bootstrap=bootstrap)
                client.refresh()
                for target in targets:
                    info = client.get_targetinfo(target)
                    if info is None:
                        return f"{target} is not found"
                    client.download_target(info)
            except (TufError, DownloadError, ValueError) as error:
                return str(error)
        return None

    def _roots(self, trust_root: bytes | None) -> list[Metadata[Root]]:
        if trust_root is None:
            first = self._parse(Root, "1.root.json")
        else:
            try:
                first = Metadata[Root].from_bytes(trust_root)
            except DeserializationError as error:
                raise RepositoryError(
                    "the trust root is not TUF root metadata; give the right file", code="TRUST_ROOT"
                ) from error
        self._verify(first.signed, ROOT, first, "the trust root")
        own = f"{first.signed.version}.root.json"
        if self._metadata(own).is_file() and self._parse(Root, own).signed_bytes != first.signed_bytes:
            raise self._error(
                f"cannot be trusted: metadata/{own} is not the root that is pinned, so it is another repository or was "
                "replaced; correct the directory or the trust root, nothing is signed on top of it",
                code="TRUST_ROOT",
            )
        roots = [first]
        while self._metadata(f"{roots[-1].signed.version + 1}.root.json").is_file():
            name = f"{roots[-1].signed.version + 1}.root.json"
            following = self._parse(Root, name)
            self._verify(roots[-1].signed, ROOT, following, name)
            self._verify(following.signed, ROOT, following, name)
            roots.append(following)
        return roots

    def _read(self, kind: type[t.Any], name: str, role: str, delegators: t.Sequence[Delegator]) -> Metadata[t.Any]:
        metadata = self._parse(kind, name)
        for delegator in delegators[:-1]:
            with contextlib.suppress(RepositoryError):
                self._verify(delegator, role, metadata, name)
                return metadata
        self._verify(delegators[-1], role, metadata, name)
        return metadata

    def _parse(self, kind: type[t.Any], name: str) -> Metadata[t.Any]:
        try:
            metadata = Metadata.from_bytes(self._metadata(name).read_bytes())
        except (OSError, DeserializationError) as error:
            raise self._error(f"has no readable metadata/{name} ({error}); restore it from a backup") from error
        if not isinstance(metadata.signed, kind):
            raise self._error(f"holds something else in metadata/{name}; restore it from a backup")
        return metadata

    def _verify(self, delegator: Delegator, role: str, metadata: Metadata[t.Any], name: str) -> None:
        try:
            delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        except (UnsignedMetadataError, ValueError) as error:
            raise self._error(
                f"cannot be trusted: {name}: {error}; restore it from a backup, nothing is signed on top of it",
                code="THRESHOLD",
            ) from error

    def _version(self, snapshot: Metadata[Snapshot], role: str) -> int:
        entry = snapshot.signed.meta.get(f"{role}.json")
        if entry is None:
            raise self._error(f"has a snapshot without {role}; restore it from a backup")
        return int(entry.version)

    def is_half_made(self, root: bytes) -> bool:
        """Whether the making of the repository with this first ``root`` was cut short after the root was pinned."""
        try:
            return (self.directory / _NEW / "1.root.json").read_bytes() == root
        except OSError:
            return False

    def finish_making(self) -> None:
        """Let a repository appear that :meth:`is_half_made`. What it holds is verified when it is loaded."""
        (self.directory / _NEW).rename(self._metadata())
        files.sync_directory(self.directory)

    def _create(self, staged: t.Mapping[str, bytes], pin: pathlib.Path | None) -> None:
        files.make_directory(self.directory)
        new = self.directory / _NEW
        if new.exists():  # an earlier attempt that was cut short
            shutil.rmtree(new)
        files.make_directory(new)
        for name, content in staged.items():
            path = pathlib.PurePosixPath(name)
            self._write(new / path.name if path.parts[0] == "metadata" else self.directory / path, content)
        # Pinned before it appears, so that there never is a repository whose root is not.
        if pin is not None and pin != self.first_root():
            self._write(pin, staged["metadata/1.root.json"])
        self.finish_making()

    def _write(self, path: pathlib.Path, content: bytes) -> None:
        try:
            files.make_directory(path.parent)
            files.write(path, content)
        except OSError as error:
            raise self._error(
                f"cannot be written ({path}: {error.strerror}); the last publication stays valid"
            ) from error

    def _metadata(self, *names: str) -> pathlib.Path:
        return self.directory.joinpath("metadata", *names)

    def _error(self, reason: str, **more: t.Any) -> RepositoryError:
        return RepositoryError(f"the repository {self.directory} {reason}", **more)


def in_force(disk: Store, state: State) -> Policy | None:
    """The policy that the repository lists, None if there is none. Raises :class:`RepositoryError`."""
    entry = state.targets.signed.targets.get(TARGET)
    return parse(disk.content(TARGET, entry)) if entry else None
