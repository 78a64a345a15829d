# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The client workflow of the TUF specification (1.0.33, section 5) from a pinned root, on the device.

Metadata comes with the request; what was accepted is kept in ``STATE/trust`` so that nothing older is accepted
later. Values are read only from what was verified, never again from the raw text. Time is believed only forward.
"""

from __future__ import annotations

import datetime
import fnmatch
import hashlib
import json
import os
import time
import typing as t

from . import crypto, durable
from .errors import OtaError
from .layout import Layout

Signed = t.Dict[str, t.Any]
#: Bytes of each kind of metadata at most; python-tuf has the same limits.
LIMITS = {"root": 512_000, "timestamp": 16_384, "snapshot": 2_000_000, "targets": 5_000_000, "delegated": 5_000_000}
MAX_ROOTS = 256
_TIME = "%Y-%m-%dT%H:%M:%SZ"


class Accepted(t.NamedTuple):
    """A verified release: its bytes, digest, and who vouched for it."""

    content: bytes
    digest: str
    channel: str
    target: str
    root_version: int
    threshold: str


class Trust:
    """The device's trust in one repository."""

    def __init__(self, layout: Layout, now: float | None = None) -> None:
        self.layout = layout
        floor = durable.read_json(self._path("floor.json"), {}).get("time", 0)
        self.now = max(time.time() if now is None else now, floor)

    def accept(self, bundle: t.Mapping[str, t.Any], *, keep: bool = True) -> Accepted:
        """Verify a bundle (docs/reference/engine.md) and, with ``keep``, remember it as the newest seen.

        Raises OtaError with ``TRUST_ROOT``, ``METADATA``, ``SIGNATURE``, ``THRESHOLD``, ``EXPIRED``, ``ROLLBACK``,
        ``HASH_MISMATCH``, ``LENGTH_MISMATCH`` or ``UNSUPPORTED``.
        """
        stored = {name: self._stored(name) for name in ("timestamp", "snapshot")}
        root = self._root(bundle, stored, keep)
        timestamp = self._role("timestamp", bundle, root["keys"], root["roles"]["timestamp"])
        self._timestamp(timestamp, stored)
        self._fresh("timestamp", timestamp)
        if keep:
            self._keep("timestamp", bundle["timestamp"])
        described = _meta(timestamp, "snapshot.json")
        snapshot = self._role("snapshot", bundle, root["keys"], root["roles"]["snapshot"], described)
        _not_missing(stored["snapshot"], snapshot)
        self._fresh("snapshot", snapshot)
        if keep:
            self._keep("snapshot", bundle["snapshot"])
        targets = self._role("targets", bundle, root["keys"], root["roles"]["targets"], _meta(snapshot, "targets.json"))
        self._fresh("targets", targets)
        channel, target = str(bundle.get("channel")), str(bundle.get("target"))
        delegation = _delegation(targets, channel, target)
        described = _meta(snapshot, channel + ".json")
        listed = self._role("delegated", bundle, targets["delegations"]["keys"], delegation, described)
        self._fresh("channel " + channel, listed)
        if keep:
            self._keep("targets", bundle["targets"])
            durable.write_json(self._path("floor.json"), {"time": int(self.now)})
        content = _target(listed, target, bundle)
        threshold = "%d of %d" % (delegation["threshold"], len(delegation["keyids"]))
        return Accepted(content, hashlib.sha256(content).hexdigest(), channel, target, root["version"], threshold)

    # -- steps ---------------------------------------------------------------------------------------------------

    def _root(self, bundle: t.Mapping[str, t.Any], stored: dict[str, Signed | None], keep: bool) -> Signed:
        """5.3: from the pinned root on, each next version signed by the one before and by itself."""
        try:
            with open(self._path("root.json"), encoding="utf-8") as handle:
                text = handle.read()
            trusted = _parse(text, "root")["signed"]
            roles = trusted["roles"]
        except (OSError, OtaError, KeyError, TypeError, UnicodeDecodeError) as error:
            message = "the pinned trust root %s cannot be used (%s); enroll this device again"
            raise OtaError("TRUST_ROOT", message % (self._path("root.json"), error)) from None
        offered = bundle.get("root") or []
        if not isinstance(offered, list) or len(offered) > MAX_ROOTS:
            raise OtaError("METADATA", "root must be a list of at most %d texts" % MAX_ROOTS)
        for candidate_text in offered:
            candidate = _parse(candidate_text, "root")
            signed = candidate["signed"]
            if _whole(signed.get("version")) <= trusted["version"]:
                continue
            if signed["version"] != trusted["version"] + 1:
                raise OtaError("METADATA", "root version %d is missing" % (trusted["version"] + 1))
            _signed_by(candidate, "root", trusted["keys"], roles["root"])
            _signed_by(candidate, "root", signed["keys"], signed["roles"]["root"])
            if any(_other_keys(trusted, signed, name) for name in ("timestamp", "snapshot")):
                stored.update(timestamp=None, snapshot=None)  # 5.3.11, fast-forward recovery
            trusted, roles, text = signed, signed["roles"], candidate_text
            if keep:
                self._keep("root", text)
        self._fresh("root", trusted)
        return trusted

    def _timestamp(self, timestamp: Signed, stored: dict[str, Signed | None]) -> None:
        """5.4.3: neither the timestamp nor the snapshot it names may go back."""
        old = stored["timestamp"]
        if old is None:
            return
        if timestamp["version"] < old["version"]:
            raise _rollback("timestamp", timestamp["version"], old["version"])
        new_meta, old_meta = _meta(timestamp, "snapshot.json"), _meta(old, "snapshot.json")
        if new_meta["version"] < old_meta["version"]:
            raise _rollback("snapshot", new_meta["version"], old_meta["version"])

    def _role(
        self,
        name: str,
        bundle: t.Mapping[str, t.Any],
        keys: t.Mapping[str, t.Any],
        role: t.Mapping[str, t.Any],
        described: t.Mapping[str, t.Any] | None = None,
    ) -> Signed:
        """One role's metadata: as its parent describes it (if it does), signed to its threshold."""
        text = bundle.get(name)
        metadata = _parse(text, name)
        if described is not None:
            _compare(name, str(text).encode(), described)
        _signed_by(metadata, name, keys, role)
        signed = t.cast(Signed, metadata["signed"])
        if described is not None and signed["version"] != described["version"]:
            raise OtaError("METADATA", "%s is version %s, not %s" % (name, signed["version"], described["version"]))
        return signed

    def _fresh(self, name: str, signed: Signed) -> None:
        """Nothing past its expiry is believed (freeze attacks)."""
        try:
            end = datetime.datetime.strptime(signed["expires"], _TIME).replace(tzinfo=datetime.timezone.utc)
        except (KeyError, TypeError, ValueError):
            raise OtaError("METADATA", "%s has no readable expiry" % name) from None
        if end.timestamp() <= self.now:
            now = time.strftime(_TIME, time.gmtime(self.now))
            message = "%s expired at %s and it is %s here; refresh the repository, or set this device's clock"
            raise OtaError("EXPIRED", message % (name, signed["expires"], now))

    # -- what is kept --------------------------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        return self.layout.file("trust", name)

    def _stored(self, name: str) -> Signed | None:
        path = self._path(name + ".json")
        if not os.path.exists(path):
            return None
        with open(path, encoding="utf-8") as handle:
            return t.cast(Signed, _parse(handle.read(), name)["signed"])

    def _keep(self, name: str, text: str) -> None:
        path = self._path(name + ".json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as handle:
                if handle.read() == text:
                    return
        durable.write(path, text.encode())


def pinned(text: str) -> Signed:
    """A root that a person gives to pin: well formed and signed by its own threshold; OtaError otherwise."""
    metadata = _parse(text, "root")
    _signed_by(metadata, "root", metadata["signed"]["keys"], metadata["signed"]["roles"]["root"])
    return t.cast(Signed, metadata["signed"])


def canonical(value: t.Any) -> bytes:
    """OLPC canonical JSON, over which TUF signs: sorted keys, only ``\\`` and ``"`` escaped, no floats."""
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if value is None:
        return b"null"
    if isinstance(value, int):
        return b"%d" % value
    if isinstance(value, str):
        return b'"' + value.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'
    if isinstance(value, list):
        return b"[" + b",".join(canonical(entry) for entry in value) + b"]"
    if isinstance(value, dict):
        return b"{" + b",".join(canonical(key) + b":" + canonical(value[key]) for key in sorted(value)) + b"}"
    raise OtaError("METADATA", "metadata holds a %s, which cannot be signed" % type(value).__name__)


def _parse(text: t.Any, name: str) -> dict[str, t.Any]:
    """Metadata as a mapping, or OtaError: strict about types, sizes and keys that stand twice."""
    kind = "targets" if name == "delegated" else name
    if not isinstance(text, str) or len(text) > LIMITS[name]:
        raise OtaError("METADATA", "%s is missing or larger than %d bytes" % (name, LIMITS[name]))
    try:
        metadata = json.loads(text, object_pairs_hook=_unique, parse_float=_no_float, parse_constant=_no_float)
        signed, signatures = metadata["signed"], metadata["signatures"]
        if signed["_type"] != kind or not str(signed["spec_version"]).startswith("1."):
            raise ValueError("it is %r of spec version %r" % (signed["_type"], signed["spec_version"]))
        if not isinstance(signatures, list) or not _whole(signed["version"]) > 0:
            raise ValueError("version or signatures are not what they must be")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise OtaError("METADATA", "%s is not readable metadata: %s" % (name, error)) from None
    return t.cast("dict[str, t.Any]", metadata)


def _unique(pairs: list[tuple[str, t.Any]]) -> dict[str, t.Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object has the same key twice")
    return result


def _no_float(text: str) -> t.NoReturn:
    raise ValueError("%s is not a whole number" % text)


def _whole(value: t.Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise OtaError("METADATA", "%r is not a whole number" % (value,))
    return value


def _signed_by(metadata: t.Mapping[str, t.Any], name: str, keys: t.Any, role: t.Any) -> None:
    """Enough distinct key *values* of the role signed; one key under two ids counts once."""
    try:
        threshold, keyids = _whole(role["threshold"]), role["keyids"]
        if threshold < 1 or len(set(keyids)) != len(keyids):
            raise OtaError("METADATA", "the role of %s has a threshold below 1 or a key twice" % name)
        content = canonical(metadata["signed"])
        good: set[tuple[str, str]] = set()
        seen: set[str] = set()
        for signature in metadata["signatures"]:
            keyid = signature["keyid"]
            if keyid in seen:
                raise OtaError("METADATA", "%s is signed twice under one key id" % name)
            seen.add(keyid)
            if keyid in keyids and keyid in keys and crypto.value(keys[keyid]) not in good:
                if crypto.verify(keys[keyid], signature["sig"], content):
                    good.add(crypto.value(keys[keyid]))
    except (KeyError, TypeError, AttributeError) as error:
        raise OtaError("METADATA", "the keys or signatures of %s are malformed: %r" % (name, error)) from None
    if not good:
        raise OtaError("SIGNATURE", "%s is not signed by any key that is trusted for it" % name)
    if len(good) < threshold:
        raise OtaError("THRESHOLD", "%s is signed by %d of the %d keys it needs" % (name, len(good), threshold))


def _other_keys(old: Signed, new: Signed, name: str) -> bool:
    def those(root: Signed) -> list[tuple[str, str]]:
        return sorted(crypto.value(root["keys"][keyid]) for keyid in root["roles"][name]["keyids"])

    return those(old) != those(new)


def _meta(signed: Signed, name: str) -> dict[str, t.Any]:
    """What ``signed`` says of the metadata file ``name``."""
    try:
        entry = signed["meta"][name]
        _whole(entry["version"])
        return t.cast("dict[str, t.Any]", entry)
    except (KeyError, TypeError):
        raise OtaError("METADATA", "%s does not list %s" % (signed.get("_type"), name)) from None


def _compare(name: str, content: bytes, described: t.Mapping[str, t.Any]) -> None:
    if "length" in described and len(content) > _whole(described["length"]):
        raise OtaError("LENGTH_MISMATCH", "%s is longer than its parent says" % name)
    for algorithm, wanted in (described.get("hashes") or {}).items():
        if algorithm not in ("sha256", "sha512"):
            raise OtaError("METADATA", "%s is described by the unknown hash %r" % (name, algorithm))
        if hashlib.new(algorithm, content).hexdigest() != wanted:
            raise OtaError("HASH_MISMATCH", "%s is not what its parent describes" % name)


def _not_missing(old: Signed | None, new: Signed) -> None:
    """5.5.5: every role that an older snapshot listed is still listed, in no older version."""
    for name, entry in (old or {}).get("meta", {}).items():
        if name not in new["meta"]:
            raise OtaError("ROLLBACK", "the new snapshot lacks %s, which an accepted one had" % name)
        if _meta(new, name)["version"] < entry["version"]:
            raise _rollback(name, _meta(new, name)["version"], entry["version"])


def _rollback(name: str, offered: int, seen: int) -> OtaError:
    message = "%s is version %d but this device has accepted version %d; somebody replays old metadata"
    return OtaError("ROLLBACK", message % (name, offered, seen))


def _delegation(targets: Signed, channel: str, target: str) -> dict[str, t.Any]:
    """5.6.7, for one level: the first delegation that matches the target must be the channel's."""
    for role in (targets.get("delegations") or {}).get("roles") or []:
        if any(_matches(target, pattern) for pattern in role.get("paths") or []):
            if role.get("name") == channel:
                return t.cast("dict[str, t.Any]", role)
            if role.get("terminating"):
                break
    raise OtaError("METADATA", "no channel %s is trusted for %s" % (channel, target))


def _matches(path: str, pattern: str) -> bool:
    """A pattern's ``*`` never crosses a ``/``, and case counts."""
    parts, patterns = path.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(fnmatch.fnmatchcase(part, p) for part, p in zip(parts, patterns))


def _target(listed: Signed, target: str, bundle: t.Mapping[str, t.Any]) -> bytes:
    """The release document, if it is exactly what the channel lists: length and at least one known hash."""
    entry = (listed.get("targets") or {}).get(target)
    if not isinstance(entry, dict):
        raise OtaError("METADATA", "the channel does not list %s" % target)
    text = bundle.get("release")
    content = text.encode() if isinstance(text, str) else b""
    hashes = entry.get("hashes")
    if not isinstance(hashes, dict) or not hashes:
        raise OtaError("METADATA", "the channel lists %s without a hash" % target)
    if len(content) != _whole(entry.get("length")):
        raise OtaError(
            "LENGTH_MISMATCH", "%s has %d bytes, not the %s that were signed" % (target, len(content), entry["length"])
        )
    _compare(target, content, entry)
    return content
