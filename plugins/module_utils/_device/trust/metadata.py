# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Metadata files of the four kinds (TUF specification, section 4), checked as to form and given as typed values.

The form is checked before signatures are: nothing is trusted yet. Unknown members are allowed anywhere,
and are signed like the others.
"""

from __future__ import annotations

import calendar
import hashlib
import hmac
import time
import typing as t

from ..base.errors import OtaError
from .canonical import strict

Members = t.Dict[str, t.Any]
#: Bytes of each kind of metadata at most; python-tuf has the same limits.
LIMITS = {"root": 512_000, "timestamp": 16_384, "snapshot": 2_000_000, "targets": 5_000_000}
#: The hash functions of the TUF specification. One that is not known cannot be compared, and that is a refusal.
HASHES = ("sha256", "sha512")
TOP = ("root", "timestamp", "snapshot", "targets")
TIME = "%Y-%m-%dT%H:%M:%SZ"


class Role(t.NamedTuple):
    """Which keys sign a role, and how many of them must."""

    keyids: tuple[str, ...]
    threshold: int


class Described(t.NamedTuple):
    """What signed metadata says of a file: ``version`` (metadata), ``length`` (bytes), ``hashes``, ``custom``."""

    version: int
    length: int | None
    hashes: dict[str, str]
    custom: Members


class DelegatedRole(t.NamedTuple):
    """A role that is trusted for some ``paths``, or for those with ``prefixes`` of their hashes if that is not None."""

    name: str
    role: Role
    terminating: bool
    paths: tuple[str, ...]
    prefixes: tuple[str, ...] | None


class Root(t.NamedTuple):
    """Section 4.3."""

    version: int
    expires: int
    keys: dict[str, Members]
    roles: dict[str, Role]
    consistent: bool


class Timestamp(t.NamedTuple):
    """Section 4.6; ``snapshot`` is its one entry."""

    version: int
    expires: int
    snapshot: Described


class Snapshot(t.NamedTuple):
    """Section 4.4; ``meta`` by file name (``targets.json``)."""

    version: int
    expires: int
    meta: dict[str, Described]


class Targets(t.NamedTuple):
    """Section 4.5, for the top-level role and delegated ones."""

    version: int
    expires: int
    targets: dict[str, Described]
    keys: dict[str, Members]
    roles: tuple[DelegatedRole, ...]


Body = t.Union[Root, Timestamp, Snapshot, Targets]


class Metadata(t.NamedTuple):
    """One file: ``signed`` as it stood there (what signatures cover), ``signatures`` by key id, ``body`` typed."""

    signed: Members
    signatures: dict[str, str]
    body: Body


def read(content: bytes, name: str, kind: str) -> Metadata:
    """The metadata in ``content``, which must be of ``kind``; ``name`` is for messages.

    Raises OtaError ``METADATA``.
    """
    if len(content) > LIMITS[kind]:
        raise OtaError("METADATA", "%s is larger than %d bytes" % (name, LIMITS[kind]))
    try:
        whole = mapping(strict(content), "it")
        signed = mapping(whole["signed"], "signed")
        if signed["_type"] != kind or not _known(signed["spec_version"]):
            raise ValueError("it is %r of spec version %r" % (signed["_type"], signed["spec_version"]))
        return Metadata(signed, _signatures(whole["signatures"]), _READERS[kind](signed))
    except KeyError as error:
        raise OtaError("METADATA", "%s is not readable metadata: it lacks %s" % (name, error)) from None
    except (ValueError, RecursionError) as error:
        raise OtaError("METADATA", "%s is not readable metadata: %s" % (name, error)) from None


def mapping(value: object, what: str) -> Members:
    """``value`` if it is a JSON object; ValueError otherwise."""
    if not isinstance(value, dict):
        raise ValueError("%s is not an object" % what)
    return value


def _known(version: object) -> bool:
    """Section 4.2: the same major version; two or three numbers."""
    parts = version.split(".") if isinstance(version, str) else []
    return len(parts) in (2, 3) and all(part.isdigit() and part.isascii() for part in parts) and parts[0] == "1"


def _texts(value: object, what: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise ValueError("%s is not a list of texts" % what)
    return tuple(value)


def _number(value: object, what: str, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError("%s is %r, not a whole number of at least %d" % (what, value, least))
    return value


def _flag(value: object, what: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError("%s is neither true nor false" % what)
    return value


def _signatures(value: object) -> dict[str, str]:
    """By key id; one that stands twice is refused (section 4.2.1 wants each at most once)."""
    signatures: dict[str, str] = {}
    if not isinstance(value, list):
        raise ValueError("signatures is not a list")
    for entry in value:
        keyid, signature = _texts([mapping(entry, "a signature")["keyid"], entry["sig"]], "a signature")
        if keyid in signatures:
            raise ValueError("it is signed twice under the key id %s" % keyid)
        signatures[keyid] = signature
    return signatures


def _dates(signed: Members) -> tuple[int, int]:
    """Version, and expiry in seconds since 1970."""
    version = _number(signed["version"], "version")
    (expires,) = _texts([signed["expires"]], "expires")
    return version, calendar.timegm(time.strptime(expires, TIME))


def _role(value: Members) -> Role:
    keyids = _texts(value["keyids"], "keyids")
    if len(set(keyids)) != len(keyids):
        raise ValueError("a role has a key id twice")
    return Role(keyids, _number(value["threshold"], "threshold"))


def _keys(value: object) -> dict[str, Members]:
    return {keyid: mapping(key, "a key") for keyid, key in mapping(value, "keys").items()}


def _hashes(value: object) -> dict[str, str]:
    """An empty mapping of hashes is refused: "nothing to compare" must never mean "equal" (CVE-2025-67903)."""
    hashes = mapping(value, "hashes")
    if not hashes:
        raise ValueError("hashes is empty")
    _texts(list(hashes.values()), "hashes")
    return hashes


def _meta(value: object, name: str) -> Described:
    """A metadata file's entry: length and hashes are optional."""
    entry = mapping(value, name)
    length = _number(entry["length"], "length", 0) if "length" in entry else None
    hashes = _hashes(entry["hashes"]) if "hashes" in entry else {}
    return Described(_number(entry["version"], "version of %s" % name), length, hashes, {})


def _target(value: object, name: str) -> Described:
    """A target's entry: length and hashes are not optional."""
    entry = mapping(value, name)
    custom = mapping(entry.get("custom", {}), "custom")
    return Described(0, _number(entry["length"], "length of %s" % name, 0), _hashes(entry["hashes"]), custom)


def _delegated(value: object) -> DelegatedRole:
    entry = mapping(value, "a delegation")
    (name,) = _texts([entry["name"]], "a role's name")
    if not name or name in TOP:
        raise ValueError("a delegated role cannot be called %r" % name)
    if ("paths" in entry) == ("path_hash_prefixes" in entry):
        raise ValueError("the delegation to %s needs either paths or path_hash_prefixes" % name)
    paths = _texts(entry["paths"], "paths") if "paths" in entry else ()
    prefixes = _texts(entry["path_hash_prefixes"], "path_hash_prefixes") if "path_hash_prefixes" in entry else None
    return DelegatedRole(name, _role(entry), _flag(entry["terminating"], "terminating"), paths, prefixes)


def _root(signed: Members) -> Root:
    roles = mapping(signed["roles"], "roles")
    return Root(
        *_dates(signed),
        _keys(signed["keys"]),
        {name: _role(mapping(roles[name], "role %s" % name)) for name in TOP},
        _flag(signed.get("consistent_snapshot", False), "consistent_snapshot"),
    )


def _timestamp(signed: Members) -> Timestamp:
    return Timestamp(*_dates(signed), _meta(mapping(signed["meta"], "meta")["snapshot.json"], "snapshot.json"))


def _snapshot(signed: Members) -> Snapshot:
    meta = {name: _meta(entry, name) for name, entry in mapping(signed["meta"], "meta").items()}
    if "targets.json" not in meta:
        raise ValueError("it does not list targets.json")
    return Snapshot(*_dates(signed), meta)


def _targets(signed: Members) -> Targets:
    listed = {name: _target(entry, name) for name, entry in mapping(signed["targets"], "targets").items()}
    delegations = mapping(signed.get("delegations", {"keys": {}, "roles": []}), "delegations")
    if "succinct_roles" in delegations:
        raise ValueError("it delegates to succinct roles (TAP 15), which this engine cannot follow")
    roles = delegations["roles"]
    if not isinstance(roles, list):
        raise ValueError("roles is not a list")
    delegated = tuple(_delegated(entry) for entry in roles)
    if len({one.name for one in delegated}) != len(delegated):
        raise ValueError("it delegates to one role twice")
    return Targets(*_dates(signed), listed, _keys(delegations["keys"]), delegated)


_READERS: dict[str, t.Callable[[Members], Body]] = {
    "root": _root,
    "timestamp": _timestamp,
    "snapshot": _snapshot,
    "targets": _targets,
}


def require_described(name: str, content: bytes, described: Described) -> None:
    """Raise unless ``content`` has the length and every hash that were signed.

    OtaError ``LENGTH_MISMATCH``, ``HASH_MISMATCH``, or ``METADATA`` for a hash that is not known here.
    """
    if described.length is not None and len(content) != described.length:
        message = "%s has %d bytes, not the %d that were signed"
        raise OtaError("LENGTH_MISMATCH", message % (name, len(content), described.length))
    for algorithm, signed in described.hashes.items():
        if algorithm not in HASHES:
            raise OtaError("METADATA", "%s is described by the unknown hash %r" % (name, algorithm))
        if not hmac.compare_digest(hashlib.new(algorithm, content).hexdigest().encode(), signed.encode()):
            raise OtaError("HASH_MISMATCH", "%s is not what was signed (%s)" % (name, algorithm))
