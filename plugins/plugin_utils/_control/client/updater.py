# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Verifying a repository from a pinned root with python-tuf's client, and finding a release in it."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import typing as t
import urllib.parse

from ....module_utils._device.documents.release import Document, ReleaseError, canonical, parse
from ..base import files, libraries, urls
from ..base.errors import TrustError
from ..policy import attestations
from ..repository.metadata import store
from ..repository.metadata.releases import Listed, listed
from ..transports import tuf
from . import related
from .bundle import ENDED, TEXTS, Bundle
from .bundle import Document as Step

try:
    from tuf.api import exceptions
    from tuf.api.metadata import Metadata, Root, Targets
    from tuf.api.serialization import DeserializationError
    from tuf.ngclient import Updater, UpdaterConfig
except ImportError:  # libraries.require() tells
    pass

if t.TYPE_CHECKING:
    from tuf.ngclient.fetcher import FetcherInterface

#: What of a release document says what it may be taken over, and by whom.
_EDGES = ("from", "compatible")


def prepare(
    *,
    repository: str,
    trust_root: pathlib.Path,
    channel: str,
    release: str,
    cache: pathlib.Path,
    tls: tuf.Tls | None = None,
) -> Bundle:
    """The verified bundle of ``release`` (``NAME`` for the newest, or ``NAME/VERSION``) in ``channel``.

    ``repository`` is a directory or an http(s) URL, ``trust_root`` the pinned root metadata, ``cache`` a directory
    that belongs to the controller's user; it remembers what was seen, so that nothing older is accepted later.
    Payloads are brought when :meth:`Bundle.payload` asks. Raises :class:`TrustError` with a code of
    docs/reference/outcomes.md.
    """
    libraries.require()
    try:
        pinned = trust_root.read_bytes()
    except OSError as error:
        raise TrustError(
            f"the trust root {trust_root} cannot be read ({error.strerror}); pin one", code="TRUST_ROOT"
        ) from error
    if not urls.is_url(repository):
        repository = str(pathlib.Path(repository).expanduser().resolve())
    folder = cache / hashlib.sha256(repository.encode() + b"\0" + pinned).hexdigest()[:16]
    files.make_directory(folder / "metadata", 0o700)
    with files.lock(folder / ".lock"):  # ngclient: one process per cache
        return _Client(repository, pinned, folder, tls).find(channel, release)


class _Client:
    """One verification run in one cache folder, which the caller has locked."""

    def __init__(self, repository: str, pinned: bytes, folder: pathlib.Path, tls: tuf.Tls | None = None) -> None:
        self.repository = repository
        self.tls = dict(tls) if tls else None
        self.pinned = pinned
        self.folder = folder
        self.metadata = folder / "metadata"
        self.fetcher: FetcherInterface
        if urls.is_url(repository):
            http = tuf.HttpFetcher(repository, tls)
            self.fetcher, base = http, http.base + "/"
        else:
            base = ""
            self.fetcher = tuf.DirectoryFetcher(pathlib.Path(repository))
        #: When the metadata of each role expires, in ISO 8601; :data:`ENDED` for an approvals role that has.
        self.ends: dict[str, str] = {}
        self.metadata_url, self.targets_url = base + "metadata/", base + "targets/"

    def find(self, channel: str, wanted: str) -> Bundle:
        name, _slash, version = wanted.partition("/")
        try:
            updater = Updater(
                str(self.metadata),
                self.metadata_url,
                str(self.folder),
                self.targets_url,
                self.fetcher,
                bootstrap=self.pinned,
            )
            updater.refresh()
            # makes ngclient verify the channel's metadata and keep it; whether the name exists does not matter here
            updater.get_targetinfo(f"{channel}/{name}/{version}.json")
            entry = self._choose(channel, name, version)
            info = updater.get_targetinfo(entry.target)
            if info is None or info.hashes.get("sha256") != entry.digest:
                raise self._error(f"lists {entry.target} in two ways", code="METADATA")
            path = updater.download_target(info, str(self.folder / "release.json"))
            content = pathlib.Path(path).read_bytes()
            more = self._related(updater, entry)
            roots, roles = self._roots(), self._roles(entry.target)
            for path in more.documents:
                roles.update(self._roles(path))
            for role in (*TEXTS, "root", *roles):
                kept = self._cached(object, urllib.parse.quote(role, safe=""))
                self.ends[role] = kept.signed.expires.isoformat()
        except (exceptions.RepositoryError, exceptions.DownloadError, DeserializationError) as error:
            raise self._error(f"cannot be trusted: {_sentence(error)}", code=_code(error)) from error
        except (OSError, ValueError) as error:
            raise self._error(f"cannot be verified: {error}") from error
        bundle = self._bundle(entry, content, roots, roles, more)
        if "from" not in bundle.document:
            return bundle  # every device can take it directly: nobody will ask for another way
        return dataclasses.replace(bundle, steps=self._steps(updater, entry))

    def _steps(self, updater: Updater, wanted: Listed) -> list[Step]:
        """The releases of the name of ``wanted`` with a lower counter, each digest once and from the same channel if it
        is there (:data:`paths.Step`). What cannot be read does not keep ``wanted`` from being rolled out."""
        targets = self._targets()
        steps: dict[str, Step] = {}
        unread: list[Step] = []
        for channel in sorted(_channels(targets), key=lambda name: (name != wanted.channel, name)):
            try:
                updater.get_targetinfo(f"{channel}/{wanted.name}/-")  # as in find
                entries = listed(channel, self._delegated(targets, channel).targets)
            except _unreadable() as error:
                unread.append({"channel": channel, "problem": _sentence(error)})
                continue
            for entry in entries:
                if entry.name != wanted.name or entry.counter >= wanted.counter or entry.digest in steps:
                    continue
                step = {key: getattr(entry, key) for key in ("version", "counter", "channel", "digest")}
                try:
                    document = t.cast("dict[str, t.Any]", self._parsed(entry, self._document(updater, entry)))
                except _unreadable() as error:
                    unread.append({**step, "problem": _sentence(error)})
                    continue
                steps[entry.digest] = {**step, **{key: document[key] for key in _EDGES if key in document}}
        return [*steps.values(), *(one for one in unread if one.get("digest") not in steps)]

    def _document(self, updater: Updater, entry: Listed) -> bytes:
        """A release document from the cache, else from the repository; verified by ngclient."""
        info = updater.get_targetinfo(entry.target)
        if info is None:
            raise ValueError(f"no client finds {entry.target}")
        files.make_directory(self.folder / "documents", 0o700)
        place = str(self.folder / "documents" / f"{entry.digest}.json")
        path = updater.find_cached_target(info, place) or updater.download_target(info, place)
        return pathlib.Path(path).read_bytes()

    def _related(self, updater: Updater, entry: Listed) -> related.Related:
        """What is listed beside the release, each verified by ngclient."""

        def download(path: str) -> bytes | None:
            info = updater.get_targetinfo(path)
            if info is None:
                return None
            return pathlib.Path(updater.download_target(info, str(self.folder / "related"))).read_bytes()

        targets = self._targets()
        delegations = targets.delegations.roles if targets.delegations else None
        roles = {}
        for role in filter(store.is_approvals, delegations or {}):
            try:
                updater.get_targetinfo(f"{role}/{entry.name}/-")  # makes ngclient verify and keep what the role says
            except exceptions.ExpiredMetadataError:
                # What it lists counts no more: whoever asks for an approval by it finds none. Others need none.
                self.ends[role] = ENDED
                continue
            roles[role] = self._delegated(targets, role).targets
        return related.gather(entry, self._delegated(targets, entry.channel).targets, roles, download)

    def _targets(self) -> Targets:
        """The top-level targets, verified again as they lie in the cache."""
        targets = self._cached(Targets, "targets")
        self._cached(Root, "root").signed.verify_delegate("targets", targets.signed_bytes, targets.signatures)
        return targets.signed

    def _delegated(self, targets: Targets, role: str) -> Targets:
        """What a role says to which ``targets`` delegates, verified again."""
        own = self._cached(Targets, role)
        targets.verify_delegate(role, own.signed_bytes, own.signatures)
        return own.signed

    def _choose(self, channel: str, name: str, version: str) -> Listed:
        """The entry for ``name`` and ``version``, or the newest of the name, from verified objects only."""
        targets = self._targets()
        channels = _channels(targets)
        if channel not in channels:
            raise self._error(f"has no channel {channel!r}, only {', '.join(channels) or 'none'}; correct the name")
        if not (self.metadata / f"{channel}.json").is_file():
            raise self._error(f"never asks channel {channel} for {channel}/{name}: another delegation comes first")
        entries = listed(channel, self._delegated(targets, channel).targets)
        matching = [entry for entry in entries if entry.name == name and version in ("", entry.version)]
        if not matching:
            there = ", ".join(f"{entry.name}/{entry.version}" for entry in entries) or "nothing"
            wanted = f"{name}/{version}" if version else name
            raise self._error(f"lists no {wanted} in channel {channel}, only {there}; publish or correct it")
        return max(matching, key=lambda entry: entry.counter)

    def _parsed(self, entry: Listed, content: bytes) -> Document:
        """The release document, which must be the one that is listed. Raises :class:`TrustError`."""
        try:
            document = parse(content)
        except ReleaseError as error:
            raise self._error(
                f"has a release document with errors: {'; '.join(error.problems)}",
                code="RELEASE",
                problems=error.problems,
            ) from error
        if (document["name"], document["version"], document["counter"]) != (entry.name, entry.version, entry.counter):
            raise self._error(f"lists {entry.target} as another release than its document says", code="METADATA")
        if content != canonical(document):
            raise self._error(f"holds {entry.target} in a form that is not canonical; publish it again", code="RELEASE")
        return document

    def _bundle(
        self, entry: Listed, content: bytes, roots: list[str], roles: dict[str, str], more: related.Related
    ) -> Bundle:
        document = self._parsed(entry, content)
        texts: dict[str, t.Any] = {
            key: (self.metadata / f"{key}.json").read_text("utf-8") for key in ("timestamp", "snapshot", "targets")
        }
        return Bundle(
            name=entry.name,
            version=entry.version,
            counter=entry.counter,
            digest=entry.digest,
            channel=entry.channel,
            target=entry.target,
            root=roots,
            roles=roles,
            documents={entry.target: content.decode(), **more.documents},
            approvals=more.approvals,
            custody=attestations.require_custody(more.attachments, document, entry.digest, entry.channel, more.policy),
            repository=self.repository,
            cache=str(self.folder),
            tls=self.tls,
            ends=self.ends,
            **texts,
        )

    def _roles(self, target: str) -> dict[str, str]:
        """The metadata of every delegated role that a client asks on its way to ``target`` (TUF, 5.6.7).

        ngclient verified and kept them when it looked the target up.
        """
        texts: dict[str, str] = {}
        waiting = ["targets"]
        while waiting:
            role = waiting.pop()
            if role in texts:
                continue
            name = urllib.parse.quote(role, safe="")
            targets = self._cached(Targets, name).signed
            if role != "targets":
                texts[role] = (self.metadata / f"{name}.json").read_text("utf-8")
            if target in targets.targets:
                break
            children = list(targets.delegations.get_roles_for_target(target)) if targets.delegations else []
            names = []
            for child, terminating in children:
                names.append(child)
                if terminating:
                    waiting.clear()
                    break
            waiting.extend(reversed(names))
        return texts

    def _roots(self) -> list[str]:
        """Every root above version 1: a device may have pinned an older one than this controller.

        Those below the controller's own pinned root are not needed here and so not verified here; the device
        verifies each from the one before it.
        """
        newest = self._cached(Root, "root").signed.version
        texts = []
        for version in range(2, newest + 1):
            path = self.metadata / "root_history" / f"{version}.root.json"
            if path.is_file():
                texts.append(path.read_text("utf-8"))
                continue
            url = f"{self.metadata_url}{version}.root.json"
            try:
                texts.append(self.fetcher.download_bytes(url, UpdaterConfig().root_max_length).decode())
            except exceptions.DownloadHTTPError:
                texts.clear()  # a chain with a hole helps nobody below the hole
        return texts

    def _cached(self, kind: type[t.Any], role: str) -> Metadata[t.Any]:
        metadata = Metadata.from_file(str(self.metadata / f"{role}.json"))
        if not isinstance(metadata.signed, kind):
            raise ValueError(f"{role}.json in the cache {self.metadata} is something else; delete the cache")
        return metadata

    def _error(self, reason: str, **more: t.Any) -> TrustError:
        return TrustError(f"the repository {urls.shown(self.repository)} {reason}", **more)


def _channels(targets: Targets) -> list[str]:
    """The channels of a repository by name: what its ``targets`` delegate to, but for approvals."""
    roles = (targets.delegations.roles if targets.delegations else None) or {}
    return sorted(role for role in roles if not store.is_approvals(role))


def _unreadable() -> tuple[type[Exception], ...]:
    """What is raised for what is not there or cannot be trusted; a function because python-tuf may not be there."""
    return exceptions.RepositoryError, exceptions.DownloadError, DeserializationError, TrustError, OSError, ValueError


def _code(error: Exception) -> str:
    """The reason code for what python-tuf raised."""
    if isinstance(error, exceptions.ExpiredMetadataError):
        return "EXPIRED"
    if isinstance(error, exceptions.UnsignedMetadataError):
        return "THRESHOLD"
    if isinstance(error, exceptions.BadVersionNumberError):
        return "ROLLBACK"
    if isinstance(error, exceptions.LengthOrHashMismatchError):
        return "LENGTH_MISMATCH" if "length" in str(error).lower() else "HASH_MISMATCH"
    if isinstance(error, exceptions.DownloadLengthMismatchError):
        return "LENGTH_MISMATCH"
    return "FETCH" if isinstance(error, exceptions.DownloadError) else "METADATA"


def _sentence(error: Exception) -> str:
    cause = f" ({error.__cause__})" if isinstance(error, exceptions.DownloadError) and error.__cause__ else ""
    hints = {
        "EXPIRED": "refresh the repository with state: refreshed, or set this machine's clock",
        "THRESHOLD": "it was signed with other keys, or the pinned root belongs to another repository",
        "ROLLBACK": "the repository or a mirror offers older metadata than was seen before",
        "FETCH": "check the address, and that the repository is complete",
    }
    hint = hints.get(_code(error))
    return f"{error}{cause}{'; ' + hint if hint else ''}"
