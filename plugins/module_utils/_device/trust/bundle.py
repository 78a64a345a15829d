# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Verifying what a controller brings: a bundle (docs/reference/engine.md)."""

from __future__ import annotations

import hashlib
import typing as t

from ..base.errors import OtaError
from ..system.layout import Layout
from .canonical import strict
from .metadata import LIMITS, Members, require_described
from .publickey import Value
from .store import Store
from .workflow import Listed, Source, Workflow

_MANY_ROOTS = 1024
_NO_VERSION = 2**63


class Document(t.NamedTuple):
    """A target with its verified content, and who vouches for it.

    ``role`` lists it; ``signers`` are the distinct key values that validly signed this role and ``keyids`` their ids,
    ``threshold`` is how many must; ``custom`` is what the role says of it beside length and hashes.
    """

    content: bytes
    role: str
    signers: tuple[Value, ...]
    threshold: int
    custom: Members
    keyids: tuple[str, ...]


class Accepted:
    """A verified release: the ``content`` of its document (bytes), ``digest``, and who vouched for it.

    Also gives every other document of the bundle that verified metadata lists.
    """

    def __init__(self, workflow: Workflow, source: BundleSource, channel: str, target: str) -> None:
        self._workflow, self._source = workflow, source
        self.channel, self.target = channel, target
        self.root_version = workflow.root.version
        listed = workflow.find(target)
        if listed is None or channel not in listed.role.chain[1:]:
            raise OtaError("METADATA", "no channel %s is trusted for %s, or it does not list it" % (channel, target))
        self.content = self._content(target, listed)
        self.digest = hashlib.sha256(self.content).hexdigest()
        self.threshold = "%d of %d" % (listed.role.role.threshold, len(listed.role.role.keyids))

    def lists(self, path: str) -> bool:
        """Whether verified metadata lists the target ``path``, by the search through the delegations.

        Raises OtaError ``METADATA`` (or why a role is refused) when that cannot be told from this bundle.
        """
        return self._workflow.find(path) is not None

    def document(self, path: str) -> Document | None:
        """The target ``path`` from this bundle, or None if verified metadata does not list it.

        Raises OtaError: ``METADATA`` if it is listed but its content is not here, ``HASH_MISMATCH`` or
        ``LENGTH_MISMATCH`` if the content is another, and what :meth:`lists` raises.
        """
        listed = self._workflow.find(path)
        if listed is None:
            return None
        content, by = self._content(path, listed), listed.role
        signers = by.signers
        return Document(content, by.name, signers.values, by.role.threshold, listed.entry.custom, signers.keyids)

    def _content(self, path: str, listed: Listed) -> bytes:
        content = self._source.document(path)
        if content is None:
            message = "%s is listed by %s, but its content is not in the bundle"
            raise OtaError("METADATA", message % (path, listed.role.name))
        require_described(path, content, listed.entry)
        return content


class Trust:
    """The device's trust in one repository, kept in ``STATE/trust``.

    ``now`` is in seconds since 1970; the clock, or the newest time believed so far if that is later.
    """

    def __init__(self, layout: Layout, now: float | None = None) -> None:
        self.layout = layout
        self.now = self._store(False).time(now)

    def accept(self, bundle: t.Mapping[str, object], *, keep: bool = True) -> Accepted:
        """Verify a bundle and, with ``keep``, remember its metadata as the newest seen.

        The release must be listed by the channel's role or one that it delegates to. Raises OtaError with
        ``TRUST_ROOT``, ``METADATA``, ``SIGNATURE``, ``THRESHOLD``, ``EXPIRED``, ``ROLLBACK``, ``HASH_MISMATCH``,
        ``LENGTH_MISMATCH`` or ``UNSUPPORTED``.
        """
        source = BundleSource(bundle)
        workflow = Workflow(self._store(keep), source, self.now)
        workflow.refresh()
        return Accepted(workflow, source, str(bundle.get("channel")), str(bundle.get("target")))

    def _store(self, write: bool) -> Store:
        return Store(self.layout.file("trust"), self.layout.file("trust", "floor.json"), write=write)


class BundleSource(Source):
    """The texts of a bundle as a source. Raises OtaError ``METADATA`` when the bundle has not its form."""

    def __init__(self, bundle: t.Mapping[str, object]) -> None:
        roots = bundle.get("root") or []
        if not isinstance(roots, list) or len(roots) > _MANY_ROOTS:
            raise OtaError("METADATA", "root must be a list of at most %d texts" % _MANY_ROOTS)
        self._roots = sorted((_claimed(text), number) for number, text in enumerate(roots))
        self._texts = [_bytes(text) for text in roots]
        self._top = {name: _bytes(bundle.get(name)) for name in ("timestamp", "snapshot", "targets")}
        self._roles = _files(bundle, "roles")
        self._documents = _files(bundle, "documents")

    def metadata(self, role: str, version: int | None, limit: int) -> bytes | None:
        """A root of at least ``version``: where one is missing the next comes, and is refused for its version."""
        if role != "root":
            return self._top[role] if role in self._top else self._roles.get(role)
        number = next((number for claimed, number in self._roots if claimed >= t.cast(int, version)), None)
        if number is None:
            return None
        return self._texts[number] or b""

    def document(self, path: str) -> bytes | None:
        """The content of a target, not checked."""
        return self._documents.get(path)


def _claimed(text: object) -> int:
    """The version that a root says it is, only to find it; more than any if that cannot be told."""
    if not isinstance(text, str) or len(text) > LIMITS["root"]:
        return _NO_VERSION
    try:
        return int(strict(text.encode())["signed"]["version"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return _NO_VERSION


def _bytes(text: object) -> bytes | None:
    """What was signed; a text that is no Unicode becomes bytes that are no metadata."""
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else None


def _files(bundle: t.Mapping[str, object], name: str) -> dict[str, bytes | None]:
    texts = bundle.get(name)
    if not isinstance(texts, dict):
        raise OtaError("METADATA", "the bundle's %s is not a mapping of names to texts" % name)
    return {key: _bytes(text) for key, text in texts.items()}
