# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Proposals as files (docs/reference/repository.md).

Every signature is a file of its own that is never changed, so that people who share the repository by git or rsync
do not get in each other's way. What is for people (title, details, remarks) is not signed; what a signature covers is
told from the metadata itself.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import shutil
import typing as t

from ...base import files
from ...base.errors import RepositoryError
from ..metadata import store
from .kinds import once, strictly
from .proposal import Proposal, Remark, ids, in_order, moment

try:
    from securesystemslib.signer import Signature
    from tuf.api.metadata import Metadata, Root, Targets
    from tuf.api.serialization import DeserializationError, SerializationError
except ImportError:  # libraries.require() tells
    pass

ENDINGS = ("applied", "denied", "withdrawn")
#: Bytes of one file of a proposal at most, as for metadata.
LIMIT = 5_000_000

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}-[1-9][0-9]{0,8}-[0-9a-f]{16}")
_METADATA = re.compile(r"([1-9][0-9]{0,8})\.([A-Za-z0-9][A-Za-z0-9_-]{0,63})\.json")


#: What reading files raises that somebody else may have written, or is copying just now.
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError)


class Folder:
    """``REPOSITORY/proposals``: read strictly, because whoever can write there may have written anything."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory / "proposals"

    def ids(self) -> list[str]:
        """The ids of all proposals, also of damaged ones."""
        if not self.directory.is_dir():
            return []
        return sorted(path.name for path in self.directory.iterdir() if _ID.fullmatch(path.name))

    def read(self, name: str) -> Proposal:
        """The proposal with all signatures that its files hold, none of them verified, and without a state.

        Raises :class:`RepositoryError`.
        """
        place = self._place(name)
        if not place.is_dir():
            raise RepositoryError(f"there is no proposal {name} in {self.directory}; list them with state: shown")
        try:
            return self._read(name, place)
        except (*_UNREADABLE, DeserializationError, SerializationError) as error:
            raise RepositoryError(f"the proposal {place} is damaged ({error}); propose the change again") from error

    def create(self, proposal: Proposal) -> None:
        """Write ``proposal`` with its signatures; it appears by one rename."""
        new = self.directory / f".new-{proposal.id}"
        if new.exists():  # an earlier attempt that was cut short
            shutil.rmtree(new)
        described = {
            "format": 1,
            "id": proposal.id,
            "kind": proposal.kind,
            "title": proposal.title,
            "requested_by": proposal.requested_by,
            "requested_at": proposal.requested_at,
            "expires": proposal.expires,
            "details": dict(proposal.details),
            "expiry_days": dict(proposal.expiry_days) if proposal.expiry_days else None,
        }
        for text in (proposal.kind, proposal.title, proposal.requested_by):
            _writable(text)
        try:
            encoded = _json(described)
        except (TypeError, ValueError) as error:
            raise RepositoryError(f"details cannot be kept as JSON ({error}); correct them", code="PROPOSAL") from error
        for folder in (self.directory, new):
            files.make_directory(folder, _signable())
        _write(new / "proposal.json", encoded)
        for role, metadata in proposal.roles.items():
            unsigned = Metadata(metadata.signed)
            _write(new / "metadata" / f"{metadata.signed.version}.{role}.json", unsigned.to_bytes())
        for path, content in proposal.content.items():
            _write(new / path, content)
        files.make_directory(new / "signatures", _signable())
        new.rename(self._place(proposal.id))
        files.sync_directory(self.directory)

    def sign(self, proposal: Proposal, role: str, keyid: str, remark: Remark) -> None:
        """Keep the signature of one key."""
        signature = proposal.roles[role].signatures[keyid].signature
        content = {"format": 1, "role": role, "keyid": keyid, "sig": signature, **_remark(remark)}
        _write(self._place(proposal.id) / "signatures" / f"{role}.{keyid}.json", _json(content))

    def close(self, name: str, remark: Remark) -> None:
        """Record how it ended; the first record stays."""
        path = self._place(name) / "closed.json"
        files.make_directory(path.parent)
        with contextlib.suppress(FileExistsError):
            files.write_new(path, _json({"format": 1, "state": remark.action, **_remark(remark)}), 0o644)

    def _place(self, name: str) -> pathlib.Path:
        if not _ID.fullmatch(name):
            raise RepositoryError(f"{name!r} is not the id of a proposal; they look like stable-7-0a1b2c3d4e5f6071")
        return self.directory / name

    def _read(self, name: str, place: pathlib.Path) -> Proposal:
        described = _object(place / "proposal.json")
        roles = self._roles(place / "metadata")
        days = described["expiry_days"]
        if days is not None and not all(key in store.PERIODS and _is_days(value) for key, value in days.items()):
            raise ValueError("its expiry_days are not what they must be")
        if not roles or name not in ids(roles, days):
            raise ValueError("its metadata is not what its id stands for")
        remarks = []
        for path in _those(place / "signatures"):
            entry = _object(path)
            role, keyid = entry["role"], entry["keyid"]
            if path.name != f"{role}.{keyid}.json" or role not in roles:
                raise ValueError(f"{path.name} is not the signature that its name says")
            bytes.fromhex(entry["sig"])
            roles[role].signatures[keyid] = Signature(keyid, entry["sig"])
            remarks.append(_remarked(entry, "signed"))
        closed = None
        if (place / "closed.json").is_file():
            entry = _object(place / "closed.json")
            closed = _text(entry["state"])
            if closed not in ENDINGS:
                raise ValueError(f"{closed!r} is not how a proposal ends")
            remarks.append(_remarked(entry, closed))
        content = {
            str(path.relative_to(place)): _bytes(path)
            for path in sorted((place / "targets").rglob("*"))
            if path.is_file() and not path.is_symlink()
        }
        moment(described["expires"])
        return Proposal(
            id=name,
            kind=_text(described["kind"]),
            title=_text(described["title"]),
            requested_by=_text(described["requested_by"]),
            requested_at=_text(described["requested_at"]),
            expires=_text(described["expires"]),
            details=dict(described["details"]),
            expiry_days=days,
            roles=roles,
            content=content,
            remarks=tuple(sorted(set(remarks), key=lambda remark: (remark.at, remark.by))),
            closed=closed,
        )

    def _roles(self, folder: pathlib.Path) -> dict[str, Metadata[t.Any]]:
        roles = {}
        for path in _those(folder):
            named = _METADATA.fullmatch(path.name)
            if named is None:
                raise ValueError(f"{path.name} is not metadata")
            content = strictly(_bytes(path))
            metadata: Metadata[t.Any] = Metadata.from_bytes(content)
            told = {"signatures": [], "signed": json.loads(metadata.signed_bytes, strict=False)}
            if json.loads(content) != told:
                raise ValueError(f"{path.name} says more than would be signed")
            role = named[2]
            kind = Root if role == store.ROOT else Targets
            if role in (store.SNAPSHOT, store.TIMESTAMP) or not isinstance(metadata.signed, kind):
                raise ValueError(f"{path.name} is not metadata of that role")
            if metadata.signed.version != int(named[1]):
                raise ValueError(f"{path.name} has another version")
            metadata.signatures.clear()
            roles[role] = metadata
        return {name: roles[name] for name in in_order(roles)}


def _remark(remark: Remark) -> dict[str, str]:
    return {"by": _writable(remark.by), "at": remark.at, "remark": _writable(remark.text)}


def _writable(text: str) -> str:
    """``text``, if it can be read back. Raises :class:`RepositoryError`."""
    try:
        return _text(text)
    except ValueError as error:
        raise RepositoryError(f"{text!r} is no text for people: {error}; write one", code="PROPOSAL") from error


def _remarked(entry: t.Mapping[str, t.Any], action: str) -> Remark:
    return Remark(_text(entry["by"]), _text(entry["at"]), action, _text(entry["remark"]))


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.replace("\n", " ").isprintable() or len(value) > 10_000:
        raise ValueError("it has control characters or more than 10000 letters")
    return value


def _is_days(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 36500


def _json(value: t.Mapping[str, object]) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _object(path: pathlib.Path) -> dict[str, t.Any]:
    value = json.loads(_bytes(path), object_pairs_hook=once)
    if not isinstance(value, dict) or value.get("format") != 1:
        raise ValueError(f"{path.name} is not of format 1")
    return value


def _those(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path for path in folder.glob("*.json")) if folder.is_dir() else []


def _bytes(path: pathlib.Path) -> bytes:
    try:
        if path.is_symlink() or path.stat().st_size > LIMIT:
            raise ValueError(f"{path.name} is a link or larger than {LIMIT} bytes")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path.name}: {error.strerror}") from error


def _signable() -> int:
    """The mode of a directory in which people sign: the umask says who else may, and so does a group that shares it."""
    return 0o777 & ~files.umask()


def _write(path: pathlib.Path, content: bytes) -> None:
    files.make_directory(path.parent, _signable())
    files.write(path, content)
