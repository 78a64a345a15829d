# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What changed, or would: metadata told as lines for people, from what is signed and never from a description."""

from __future__ import annotations

import json
import typing as t

from ...base.errors import RepositoryError
from ...keys.ring import NAME_FIELD, id_of
from . import store
from .releases import Listed, listed, no_channel

if t.TYPE_CHECKING:
    from tuf.api.metadata import Metadata

    from .edit import Edit
    from .store import State

#: A mapping of JSON.
Raw = dict[str, t.Any]


def releases(state: State, channel: str | None = None) -> list[Listed]:
    """What the channels (or the one) list, by channel, name and counter."""
    names = channels(state.channels)
    if channel is not None and channel not in names:
        raise RepositoryError(no_channel(channel, names))
    return [
        entry
        for name in (names if channel is None else [channel])
        for entry in listed(name, state.channels[name].signed.targets)
    ]


def channels(delegated: t.Iterable[str]) -> list[str]:
    """Those of the delegated roles that list releases."""
    return sorted(name for name in delegated if not store.is_approvals(name))


def all_roles(edit: Edit) -> list[tuple[str, Metadata[t.Any]]]:
    """Every role with its metadata, the ones that people sign first."""
    top: list[tuple[str, Metadata[t.Any]]] = [(store.ROOT, edit.root), (store.TARGETS, edit.targets)]
    return [*top, *sorted(edit.channels.items()), (store.SNAPSHOT, edit.snapshot), (store.TIMESTAMP, edit.timestamp)]


def expiry_lines(edit: Edit) -> list[str]:
    """Version and expiry of every role."""
    return [
        f"{name}: version {one.signed.version}, expires {one.signed.expires:%Y-%m-%d}" for name, one in all_roles(edit)
    ]


def role_lines(edit: Edit, periods: t.Mapping[str, int]) -> list[str]:
    """Who holds which role, and for how long metadata is valid."""
    roles = [
        f"{name}: {one.threshold} of {len(one.keyids)} keys ({', '.join(keyid[:8] for keyid in one.keyids)})"
        for name, one in _delegated(edit).items()
    ]
    return roles + [f"{name}: expires after {days} days" for name, days in sorted(periods.items())]


def single(edit: Edit) -> list[str]:
    """The warning about roles for which one key is enough."""
    alone = [name for name, one in _delegated(edit).items() if one.threshold == 1]
    return [f"one key alone can sign for {', '.join(alone)}; a threshold of 2 survives a stolen key"] if alone else []


def content_lines(role: str, signed: bytes | None) -> list[str]:
    """Everything that the metadata of ``role`` says, one fact a line, in an order that makes two versions comparable.

    ``signed`` are the very bytes that a signature covers (canonical JSON). Nothing in them is left out: what has no
    line of its own is told raw. Keys are told by their whole id, and what is not ASCII by its code, because it may look
    like something else.
    """
    if signed is None:
        return []
    rest: Raw = json.loads(signed, strict=False)  # canonical JSON does not escape control characters
    lines = [f"{role}: version {rest.pop('version')}, expires {rest.pop('expires')}"]
    for path, entry in sorted(rest.pop("targets", {}).items()):
        lines.append(f"{role} lists {_say(path)}: {_target(entry)}")
    holder: Raw = rest if role == store.ROOT else rest.get("delegations") or {}
    keys: Raw = holder.pop("keys", {})
    roles = holder.pop("roles", None) or {}
    named = roles.items() if isinstance(roles, dict) else [(one.pop("name"), one) for one in roles]
    used = set()
    for name, one in sorted(named, key=lambda pair: str(pair[0])):
        keyids = one.pop("keyids")
        lines.append(f"{role} gives {_say(name)} to {one.pop('threshold')} of {len(keyids)} keys{_more(one)}")
        lines += [f"{role} gives {_say(name)} to {_whole_key(keyid, keys.get(keyid))}" for keyid in keyids]
        used.update(keyids)
    lines += [f"{role} has {_whole_key(keyid, key)}, for no role" for keyid, key in keys.items() if keyid not in used]
    if rest.get("delegations") == {}:
        del rest["delegations"]
    lines += [f"{role} has {_say(name)}={_raw(value)}" for name, value in sorted(rest.items())]
    return lines


def _say(text: str) -> str:
    return text if text.isascii() and text.isprintable() else ascii(text)


def _raw(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _target(entry: Raw) -> str:
    hashes = " ".join(f"{_say(name)}={_say(str(value))}" for name, value in sorted(entry.pop("hashes").items()))
    length, custom = entry.pop("length"), entry.pop("custom", None) or {}
    named = "".join(f", {_say(name)}={_value(value)}" for name, value in sorted(custom.items()))
    return f"{length} bytes, {hashes}{named}{_more(entry)}"


def _value(value: object) -> str:
    return ascii(value) if isinstance(value, str) else _raw(value)


def _more(rest: Raw) -> str:
    return f" ({', '.join(f'{_say(name)}={_raw(value)}' for name, value in sorted(rest.items()))})" if rest else ""


def _whole_key(keyid: str, key: Raw | None) -> str:
    if key is None:
        return f"{_say(keyid)}, which is not there"
    known = {"keytype", "scheme", "keyval", NAME_FIELD}
    name = ascii(key[NAME_FIELD]) if NAME_FIELD in key else "a key without a name"
    parts = {part: value for part, value in key.items() if part not in known}
    # an id may be anything, so where it is not that of the value, the value is told too
    value = "" if keyid == id_of(key) else f", whose value is {_raw(key.get('keyval'))}"
    return f"{name}: {_say(str(key.get('scheme')))} {_say(keyid)}{value}{_more(parts)}"


def _delegated(edit: Edit) -> dict[str, t.Any]:
    delegations = edit.targets.signed.delegations
    top = {name: edit.root.signed.roles[name] for name in store.TOP}
    return {**top, **((delegations.roles or {}) if delegations else {})}
