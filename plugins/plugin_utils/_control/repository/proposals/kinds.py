# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What a proposal of each kind may hold: what the change that it names makes of the repository, and nothing else.

The change is made anew from the repository as it is and from what the proposal says of it. Whatever differs was put
there by somebody, and is told and not signed.
"""

from __future__ import annotations

import datetime
import json
import typing as t

from .....module_utils._device.documents import approval
from .....module_utils._device.documents import release as documents
from ...base.errors import ControlError
from ...keys.ring import Ring, keyid_of
from ...policy import attestations, listing, policy
from ..metadata import changes, releases, store
from ..metadata.edit import Edit, Holders
from ..metadata.roles import Config
from ..metadata.store import content_name
from .proposal import Proposal

try:
    from tuf.api.exceptions import LengthOrHashMismatchError
    from tuf.api.metadata import TargetFile, Targets
except ImportError:  # libraries.require() tells
    pass

if t.TYPE_CHECKING:
    from tuf.api.metadata import DelegatedRole, Key, Metadata, Role

    from ..metadata.session import Session
    from ..metadata.store import State

#: How far the clock of the machine that proposed may be ahead.
CLOCKS = datetime.timedelta(days=1)
#: Kinds that change who signs, and for how long.
OF_ROLES = ("repository", "roles")


class Unfit(Exception):
    """The proposal holds what its kind may not; the text says what."""


def beyond(session: Session, proposal: Proposal, state: State | None) -> list[str]:
    """What ``proposal`` holds beside what its kind may hold; empty when everything in it is explained."""
    periods = {**session.store.periods(), **(proposal.expiry_days or {})}
    honest = Edit(state, Ring({}), periods, session.now)
    if proposal.kind not in _RULES:
        return [f"{proposal.kind!a} is no kind of proposal"]
    if (proposal.kind == "repository") != (state is None):
        return ["the repository is there already" if state else "there is no repository yet"]
    found = []
    if proposal.expiry_days and proposal.kind not in OF_ROLES:
        found.append("it sets how long metadata is valid")
    try:
        _RULES[proposal.kind](honest, proposal, state)
        made = honest.prepare()
    except (Unfit, ControlError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [*found, str(error) or type(error).__name__]
    for role, metadata in proposal.roles.items():
        if role not in made:
            found.append(f"it changes {role}")
            continue
        found += _differences(role, made[role], metadata)
        latest = session.now + honest.period(role) + CLOCKS
        if metadata.signed.expires > latest:
            found.append(
                f"{role} expires {metadata.signed.expires:%Y-%m-%d}, later than after the {honest.period(role).days} "
                "days for which it is valid here"
            )
    return found


def new_targets(proposal: Proposal, state: State | None) -> list[tuple[str, str]]:
    """Role and path of what is listed anew or with other content."""
    new = []
    for name, metadata in proposal.roles.items():
        if isinstance(metadata.signed, Targets):
            old = listed_now(state, name)
            new += [(name, path) for path, entry in metadata.signed.targets.items() if old.get(path) != entry]
    return new


def approval_of(proposal: Proposal, state: State | None) -> tuple[str, str] | None:
    """Role and path of the one approval that ``proposal`` lists; None if it is about something else."""
    if proposal.kind != "document" or len(proposal.roles) != 1:
        return None
    (role,) = proposal.roles
    return _entered(proposal, state, role) if store.is_approvals(role) else None


def content_of(proposal: Proposal, role: str, path: str) -> bytes | None:
    """The content that ``role`` would list as ``path``; None while it is not here, whole."""
    entry = proposal.roles[role].signed.targets[path]
    content = proposal.content.get(content_name(path, entry.hashes.get("sha256", "")))
    try:
        entry.verify_length_and_hashes(content or b"")
    except (LengthOrHashMismatchError, ValueError):
        return None
    return content


def listed_now(state: State | None, role: str) -> dict[str, TargetFile]:
    """What ``role`` lists now."""
    if state is None or role == store.ROOT:
        return {}
    metadata = state.targets if role == store.TARGETS else state.channels.get(role)
    return metadata.signed.targets if metadata else {}


# -- the kinds --------------------------------------------------------------------------------------------------


def _roles(honest: Edit, proposal: Proposal, state: State | None) -> None:
    """Keys, thresholds and delegated roles; nothing is listed."""
    root = proposal.roles[store.ROOT].signed if store.ROOT in proposal.roles else None
    targets = proposal.roles[store.TARGETS].signed if store.TARGETS in proposal.roles else None
    top = {name: _holders(root.roles[name], root.keys) for name in store.TOP} if root else {}
    delegations = targets.delegations if targets else None
    delegated: dict[str, DelegatedRole] = dict(delegations.roles or {}) if delegations else {}
    below = {name: _holders(role, delegations.keys) for name, role in delegated.items()} if delegations else {}
    kinds = {is_it: {n: h for n, h in below.items() if store.is_approvals(n) is is_it} for is_it in (False, True)}
    problems = Config(top, kinds[False], proposal.expiry_days or {}, kinds[True]).problems()
    known = _known_keys(state)
    for key in {key.keyid: key for those in (*top.values(), *below.values()) for key in those.keys}.values():
        if known.get(key.keyid) != key and key.keyid != keyid_of(key):
            problems.append(f"the key that is called {key.keyid[:8]} has another value")
    if problems:
        raise Unfit("; ".join(problems))
    honest.hold(top)
    honest.delegate(below)


def _release(honest: Edit, proposal: Proposal, state: State | None) -> None:
    """One release in one channel, or more statements about it."""
    role, paths = _one_role(proposal, state)
    _fresh(paths, state, role)
    entries = {path: _entry(proposal, role, path) for path in paths}
    known = {one.target: one for one in releases.listed(role, listed_now(state, role))}
    found = releases.listed(role, entries)
    about = {one.digest: one for one in (*known.values(), *found)}
    if len(found) > 1:
        raise Unfit("it lists more than one release")
    for one in found:
        if entries[one.target].custom != {"name": one.name, "version": one.version, "counter": one.counter}:
            raise Unfit(f"{one.target!a} has more beside it than name, version and counter")
        before = changes.releases(state) if state else []
        releases.admit(one, before, changes.channels(honest.channels))
        content = content_of(proposal, role, one.target)
        document = documents.parse(content) if content is not None else None
        if document is None:
            continue  # not here (yet): nobody can sign it, and that is said then
        if (document["name"], document["version"], document["counter"]) != (one.name, one.version, one.counter):
            raise Unfit(f"{one.target!a} is listed as another release than its document says")
        if content != documents.canonical(document):
            raise Unfit(f"{one.target!a} is not in its canonical form")
    subjects = set()
    for path in set(entries) - {one.target for one in found}:
        content, custom = content_of(proposal, role, path), entries[path].custom or {}
        subject = about.get(str(custom.get("release")))
        stem = subject.target.removesuffix(".json") if subject else ""
        if subject is None or path != f"{stem}.{entries[path].hashes['sha256'][:16]}.intoto.json":
            raise Unfit(f"{path!a} is neither a release nor a statement about one")
        subjects.add(subject.digest)
        if content is not None and custom != {
            "release": subject.digest,
            "predicate": attestations.parse(content, path).predicate,
        }:
            raise Unfit(f"{path!a} is listed as another statement than it is")
    if len(subjects | {one.digest for one in found}) > 1:
        raise Unfit("it is about more than one release")
    honest.enter(role, entries)


def _document(honest: Edit, proposal: Proposal, state: State | None) -> None:
    """One approval, or the policy; approvals that have ended go with it."""
    if len(proposal.roles) != 1:
        raise Unfit(f"it changes {', '.join(proposal.roles)}, and a document is listed by one role")
    (role,) = proposal.roles
    found = _entered(proposal, state, role)
    if found is None:
        raise Unfit(f"{role} would list other than one new document")
    path = found[1]
    entry, content = _entry(proposal, role, path), content_of(proposal, role, path)
    releases.admit_document(role, [path], list(honest.channels))
    if role == store.TARGETS:
        if path != policy.TARGET or entry.custom:
            raise Unfit(f"{path!a} is not the fleet's policy, and {role} lists nothing else")
        if content is not None:
            policy.parse(strictly(content))
    elif content is not None:
        problems = listing.problems(role, path, content, entry.custom)
        if problems:
            raise Unfit(f"{path!a}: {'; '.join(problems)}")
    gone = set(listed_now(state, role)) - set(proposal.roles[role].signed.targets)
    over = {name for name, one in listed_now(state, role).items() if _over(one, honest.now)}
    if role == store.TARGETS or gone - over:
        over = set()
    honest.enter(role, {path: entry}, gone & over)


def _revocation(honest: Edit, proposal: Proposal, state: State | None) -> None:
    """Approvals that are taken back; nothing is listed."""
    if len(proposal.roles) != 1 or not store.is_approvals(next(iter(proposal.roles))):
        raise Unfit(f"it changes {', '.join(proposal.roles)}, and approvals are taken back from one approvals role")
    (role,) = proposal.roles
    gone = set(listed_now(state, role)) - set(proposal.roles[role].signed.targets)
    if not gone:
        raise Unfit("it takes nothing back")
    honest.enter(role, {}, gone)


def _renewal(honest: Edit, proposal: Proposal, state: State | None) -> None:
    """The same for longer."""
    honest.touched.update(proposal.roles)


_RULES: dict[str, t.Callable[[Edit, Proposal, t.Any], None]] = {
    "repository": _roles,
    "roles": _roles,
    "release": _release,
    "document": _document,
    "revocation": _revocation,
    "renewal": _renewal,
}


# -- parts ------------------------------------------------------------------------------------------------------


def strictly(content: bytes) -> bytes:
    """``content``, if it is JSON that can be read in one way only. ValueError otherwise."""
    json.loads(content, object_pairs_hook=once, parse_constant=_no_number)
    return content


def once(pairs: list[tuple[str, t.Any]]) -> dict[str, t.Any]:
    """A mapping of JSON, of which each key stands there once. ValueError otherwise."""
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("a key stands there twice")
    return mapping


def _no_number(text: str) -> t.NoReturn:
    raise ValueError(f"{text} is no number")


def _one_role(proposal: Proposal, state: State | None) -> tuple[str, list[str]]:
    """The role that lists something new, and what."""
    new = new_targets(proposal, state)
    roles = {role for role, _path in new}
    if len(roles) != 1:
        raise Unfit(f"it lists something in {', '.join(sorted(roles)) or 'no role'}")
    return roles.pop(), [path for _role, path in new]


def _fresh(paths: list[str], state: State | None, role: str) -> None:
    changed = [path for path in paths if path in listed_now(state, role)]
    if changed:
        raise Unfit(f"it changes what is listed already: {', '.join(map(ascii, changed))}")


def _entered(proposal: Proposal, state: State | None, role: str) -> tuple[str, str] | None:
    """The one path of ``role`` that is new or has another content; who approved what is listed is written beside it."""
    old = listed_now(state, role)
    targets = getattr(proposal.roles[role].signed, "targets", {})
    paths = [path for path, one in targets.items() if path not in old or old[path].hashes != one.hashes]
    return (role, paths[0]) if len(paths) == 1 else None


def _entry(proposal: Proposal, role: str, path: str) -> TargetFile:
    """What is listed as ``path``, without anything that nobody asked for."""
    entry = proposal.roles[role].signed.targets[path]
    more = {"custom": entry.custom} if entry.custom else {}
    return TargetFile(entry.length, {"sha256": entry.hashes["sha256"]}, path, more)


def _over(entry: TargetFile, now: datetime.datetime) -> bool:
    try:
        return approval.seconds((entry.custom or {}).get("expires")) <= now.timestamp()
    except (ValueError, TypeError):
        return False


def _holders(role: Role, keys: t.Mapping[str, Key]) -> Holders:
    missing = [keyid for keyid in role.keyids if keyid not in keys]
    if missing:
        raise Unfit(f"a role is given to the key {missing[0][:8]}, which is not there")
    return Holders(tuple(keys[keyid] for keyid in role.keyids), role.threshold)


def _known_keys(state: State | None) -> dict[str, Key]:
    if state is None:
        return {}
    delegations = state.targets.signed.delegations
    return {**state.root.keys, **(delegations.keys if delegations else {})}


def _differences(role: str, made: Metadata[t.Any], proposed: Metadata[t.Any]) -> list[str]:
    """Lines that only one of both says, beside the time until which it holds."""
    if _without_end(made.signed_bytes) == _without_end(proposed.signed_bytes):
        return []
    one, other = ([*changes.content_lines(role, entry.signed_bytes)[1:]] for entry in (made, proposed))
    more = [f"+{line}" for line in other if line not in one] + [f"-{line}" for line in one if line not in other]
    return more or [f"{role} is not what the change makes of it"]


def _without_end(signed: bytes) -> dict[str, t.Any]:
    value: dict[str, t.Any] = json.loads(signed, strict=False)
    return {name: entry for name, entry in value.items() if name != "expires"}
