# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What changed, or would: metadata told as lines for people, from what is signed and never from a description."""

from __future__ import annotations

import typing as t

from ...base.errors import RepositoryError
from ...keys.ring import NAME_FIELD, keyid_of
from . import store
from .releases import Listed, listed, no_channel

if t.TYPE_CHECKING:
    from tuf.api.metadata import Metadata, Root, Targets

    from .edit import Edit
    from .store import State

_TOLD = {"_type", "spec_version", "version", "expires", "targets", "delegations", "keys", "roles"}


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


def content_lines(role: str, signed: Root | Targets | None) -> list[str]:
    """Everything that the metadata of ``role`` says, one fact a line, in an order that makes two versions comparable.

    For whoever signs it: nothing that clients act on is left out, and keys are told by their whole id.
    """
    if signed is None:
        return []
    lines = [f"{role}: version {signed.version}, expires {signed.expires:%Y-%m-%d %H:%M} UTC"]
    for path, entry in sorted(getattr(signed, "targets", {}).items()):
        hashes = " ".join(f"{name}={value}" for name, value in sorted(entry.hashes.items()))
        custom = "".join(f", {name}={value!r}" for name, value in sorted((entry.custom or {}).items()))
        lines.append(f"{role} lists {path}: {entry.length} bytes, {hashes}{custom}")
    holder: t.Any = signed if role == store.ROOT else getattr(signed, "delegations", None)
    if holder is not None:
        for name, one in sorted((holder.roles or {}).items()):
            lines.append(f"{role} gives {name} to {one.threshold} of {len(one.keyids)} keys{_role_rest(one)}")
            lines += [f"{role} gives {name} to {_whole_key(keyid, holder.keys.get(keyid))}" for keyid in one.keyids]
        if getattr(holder, "succinct_roles", None) is not None:
            lines.append(f"{role} has succinct_roles={holder.succinct_roles.to_dict()!r}")
    rest = {name: value for name, value in signed.to_dict().items() if name not in _TOLD}
    lines += [f"{role} has {name}={value!r}" for name, value in sorted(rest.items())]
    return [line if line.isprintable() else repr(line) for line in lines]


def _role_rest(role: t.Any) -> str:
    rest = {name: value for name, value in role.to_dict().items() if name not in ("name", "keyids", "threshold")}
    return f" ({', '.join(f'{name}={value!r}' for name, value in sorted(rest.items()))})" if rest else ""


def _whole_key(keyid: str, key: t.Any) -> str:
    if key is None:
        return f"{keyid}, which is not there"
    name = key.unrecognized_fields.get(NAME_FIELD, "a key without a name")
    # an id may be anything, so where it is not that of the value, the value is told too
    value = "" if keyid == keyid_of(key) else f", whose value is {key.keyval!r}"
    return f"{name!r}: {key.scheme} {keyid}{value}"


def _delegated(edit: Edit) -> dict[str, t.Any]:
    delegations = edit.targets.signed.delegations
    top = {name: edit.root.signed.roles[name] for name in store.TOP}
    return {**top, **((delegations.roles or {}) if delegations else {})}
