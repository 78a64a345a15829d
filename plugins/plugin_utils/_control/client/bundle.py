# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""A verified release with everything a device needs to verify it again."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import typing as t

from ....module_utils._device.documents import release
from ..base import files, libraries, urls
from ..base.errors import ControlError, TrustError
from ..base.plan import Release
from ..repository import source
from ..transports import tuf

try:
    from tuf.api.exceptions import DownloadError
except ImportError:  # libraries.require() tells
    pass

if t.TYPE_CHECKING:
    from ..approvals.approval import Approved
    from ..policy.policy import Policy

FORMAT = 1
#: A release document, or a step of :mod:`paths`.
Document = dict[str, t.Any]
#: Keys of :meth:`Bundle.wire` that hold one text each.
TEXTS = ("timestamp", "snapshot", "targets")
#: In place of a moment: it is over.
ENDED = "ended"


class Payload(t.TypedDict):
    """A file that a release brings."""

    name: str
    length: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Bundle:
    """One verified release.

    ``digest`` is of the release document, ``target`` its TUF path, ``root`` the texts of every root above version 1;
    ``timestamp``, ``snapshot`` and ``targets`` are texts too, ``roles`` those of every delegated role that is asked on
    the way to a document, ``documents`` the contents of targets by their path, ``target`` among them. ``approvals`` are
    the paths of the approvals of its rollouts, ``custody`` lines for people on what is proven about its making.
    ``steps`` are the older releases of its name that the repository offers (:mod:`paths`), read only for a release that
    has ``from``; no device gets them.
    ``repository`` and ``cache`` tell where payloads come from and are kept.
    """

    name: str
    version: str
    counter: int
    digest: str
    channel: str
    target: str
    root: list[str]
    timestamp: str
    snapshot: str
    targets: str
    roles: dict[str, str]
    documents: dict[str, str]
    approvals: list[str]
    custody: list[str]
    repository: str
    cache: str
    #: paths of the controller's TLS files for that repository
    tls: dict[str, str] | None = None
    steps: list[Document] = dataclasses.field(default_factory=list)
    #: when the metadata of each role expires, in ISO 8601, or :data:`ENDED`
    ends: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def release(self) -> str:
        """The text of the release document."""
        return self.documents[self.target]

    @property
    def document(self) -> Document:
        """The release document. It was validated when the bundle was made."""
        return t.cast(Document, json.loads(self.release))

    @property
    def identity(self) -> Release:
        """``{name, version, counter, digest, channel}``, as plans and results name a release."""
        return {
            "name": self.name,
            "version": self.version,
            "counter": self.counter,
            "digest": self.digest,
            "channel": self.channel,
        }

    def payloads(self) -> list[Payload]:
        """Every payload file ``{name, length, sha256}``, once per digest, in order of installation."""
        return release.payload_files(t.cast(release.Document, self.document))

    def size(self) -> int:
        """Bytes of all payload files."""
        return sum(int(entry["length"]) for entry in self.payloads())

    def wire(self) -> Document:
        """``bundle`` of docs/reference/engine.md."""
        texts: dict[str, str] = {key: getattr(self, key) for key in TEXTS}
        named = {"channel": self.channel, "target": self.target, "root": list(self.root)}
        return {**named, **texts, "roles": self.roles, "documents": self.documents, "approvals": self.approvals}

    @property
    def policy(self) -> Policy | None:
        """The fleet's policy, None if the repository has none."""
        # Asked for once in a rollout; a bundle is loaded for every device, and keys take long to import.
        from ..policy.policy import TARGET, parse

        content = self.documents.get(TARGET)
        return parse(content.encode()) if content is not None else None

    def approved(self) -> list[Approved]:
        """The approvals of rollouts of this release, whether they still hold or not."""
        from ..approvals import listed

        return listed.read(self.targets, self.roles, {path: self.documents[path] for path in self.approvals})

    def with_approvals(self, paths: t.Collection[str]) -> Bundle:
        """The same bundle with these approvals alone: what a device needs to see."""
        left_out = set(self.approvals) - set(paths)
        documents = {path: content for path, content in self.documents.items() if path not in left_out}
        return dataclasses.replace(self, documents=documents, approvals=sorted(paths))

    def payload(self, sha256: str) -> pathlib.Path:
        """A local file with the payload, its length and digest checked.

        From a directory it is the repository's own file; over HTTP it is brought to the cache first. A file that did
        not change since it was checked is not read again. Raises :class:`TrustError` with ``HASH_MISMATCH``,
        ``LENGTH_MISMATCH`` or ``FETCH``.
        """
        entry = next((one for one in self.payloads() if one["sha256"] == sha256), None)
        if entry is None:
            raise TrustError(f"{self.name} {self.version} has no payload {sha256}; ask for one that it lists")
        place = pathlib.Path(self.cache) / "payloads"
        files.make_directory(place, 0o700)
        with files.lock(place / f"{sha256}.lock"):
            if urls.is_url(self.repository):
                path = place / sha256
                if not path.is_file():
                    self._download(path, entry)
            else:
                path = pathlib.Path(self.repository) / "targets" / "payloads" / sha256
            self._require_intact(path, entry, place / f"{sha256}.seen")
        return path

    def save(self, path: pathlib.Path) -> pathlib.Path:
        """Keep the bundle in ``path`` (mode 0600) for :meth:`load`; returns ``path``."""
        files.make_directory(path.parent, 0o700)
        files.write(path, json.dumps({"format": FORMAT, **dataclasses.asdict(self)}).encode(), 0o600)
        return path

    @classmethod
    def load(cls, path: pathlib.Path) -> Bundle:
        """A bundle that :meth:`save` kept. It is believed as it is: keep it where only the controller's user writes.

        A relative ``repository`` or ``cache`` lies beside the file, so that all of it can be carried elsewhere.
        Raises :class:`TrustError`.
        """
        try:
            values = json.loads(path.read_bytes())
            if values.pop("format") != FORMAT:
                raise ValueError("another format")
            for place in ("repository", "cache"):
                if not urls.is_url(values[place]):
                    values[place] = str(path.absolute().parent / values[place])
            return cls(**values)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise TrustError(f"{path} is not a saved bundle ({error}); fetch the release again") from error

    def _require_intact(self, path: pathlib.Path, entry: Payload, seen: pathlib.Path) -> None:
        try:
            status = path.stat()
        except OSError as error:
            raise TrustError(
                f"payload {entry['name']} is not at {path} ({error.strerror}); publish the release again", code="FETCH"
            ) from error
        if status.st_size != entry["length"]:
            raise TrustError(
                f"payload {entry['name']} has {status.st_size} bytes, not {entry['length']}; publish the release again",
                code="LENGTH_MISMATCH",
            )
        # the time of change cannot be set back by whoever writes to the file
        print_ = f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
        if seen.is_file() and seen.read_text() == print_:
            return
        if source.digest_of(path) != entry["sha256"]:
            if urls.is_url(self.repository):
                path.unlink()
            raise TrustError(
                f"payload {entry['name']} is not what was signed; publish the release again", code="HASH_MISMATCH"
            )
        files.write(seen, print_.encode(), 0o600)

    def _download(self, path: pathlib.Path, entry: Payload) -> None:
        libraries.require()
        fetcher = tuf.HttpFetcher(self.repository, self.tls)
        url = f"{fetcher.base}/targets/payloads/{entry['sha256']}"
        try:
            chunks = fetcher.fetch(url)
            files.copy_hashed(chunks, path, sha256=entry["sha256"], length=entry["length"], mode=0o600)
        except DownloadError as error:
            raise TrustError(f"{url} cannot be fetched: {error}; try again later", code="FETCH") from error
        except ControlError as error:
            raise TrustError(f"payload {entry['name']}: {error.message}", code=error.code) from error
