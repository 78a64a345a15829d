# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Whether a role's metadata carries its threshold of signatures (TUF specification, section 4.2.1 and 5)."""

from __future__ import annotations

import typing as t

from ..base.errors import OtaError
from . import crypto
from .canonical import canonical
from .metadata import Members, Metadata, Role
from .publickey import PublicKey, Value, parse


class Signers(t.NamedTuple):
    """Who validly signed: distinct key values, and in the same order the id of each."""

    values: tuple[Value, ...]
    keyids: tuple[str, ...]


def require_signed(metadata: Metadata, name: str, role: Role, keys: t.Mapping[str, Members]) -> Signers:
    """The distinct keys of ``role`` that signed ``metadata``; one key under two ids counts once.

    A key that cannot be checked here counts as if it had not signed. Raises OtaError with ``SIGNATURE`` (none),
    ``THRESHOLD`` (too few), or ``UNSUPPORTED`` (enough, if only this device could check them all).
    """
    content = canonical(metadata.signed)
    good: dict[Value, str] = {}
    unsupported: dict[str, OtaError] = {}
    for keyid in role.keyids:
        if keyid not in keys or keyid not in metadata.signatures:
            continue
        try:
            key = parse(keys[keyid])
            if key is not None and key.value not in good and _valid(key, metadata.signatures[keyid], content):
                good[key.value] = keyid
        except OtaError as error:  # UNSUPPORTED
            unsupported[keyid] = error
    if len(good) >= role.threshold:
        return Signers(tuple(good), tuple(good.values()))
    if len(good) + len(unsupported) >= role.threshold:
        raise OtaError("UNSUPPORTED", "%s: %s" % (name, next(iter(unsupported.values())).message))
    if not good:
        raise OtaError("SIGNATURE", "%s is not signed by any key that is trusted for it" % name)
    message = "%s is signed by %d of the %d keys it needs"
    raise OtaError("THRESHOLD", message % (name, len(good), role.threshold))


def values_of(role: Role, keys: t.Mapping[str, Members]) -> set[Value | bytes]:
    """What identifies the keys of a role: their values, and the whole key where this device cannot read it."""
    values: set[Value | bytes] = set()
    for keyid in role.keyids:
        try:
            key = parse(keys.get(keyid, {}))
        except OtaError:
            key = None
        values.add(canonical(keys.get(keyid, {})) if key is None else key.value)
    return values


def _valid(key: PublicKey, signature: str, content: bytes) -> bool:
    try:
        raw = bytes.fromhex(signature)
    except ValueError:
        return False
    return crypto.verify(key, raw, content)
