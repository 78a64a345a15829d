# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Making and changing a repository: roles, channels, releases, renewal.

Every change is built in memory, tried by a real client against the repository as it will be, and only then put in
place: ``observe -> plan -> apply``, with check mode stopping before the last.
"""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import re
import typing as t

from . import files, libraries, source, store
from .editing import Edit, Holders
from .errors import RepositoryError
from .keys import Ring
from .listing import Listed, admit, by_counter, listed, no_channel, target_of
from .store import State, Store

try:
    from tuf.api.metadata import TargetFile
except ImportError:  # libraries.require() tells
    pass

#: These would collide with the repository's own names.
RESERVED = frozenset({*store.TOP, "payloads", "approvals", "mirrors"})

_CHANNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclasses.dataclass(frozen=True)
class Change:
    """What was done, or would be: the lists of releases and roles before and after as lines for people."""

    changed: bool
    before: list[str]
    after: list[str]
    release: Listed | None = None
    warnings: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Config:
    """Who holds which role and channel; ``periods`` are days until expiry (:data:`store.PERIODS`)."""

    roles: t.Mapping[str, Holders]
    channels: t.Mapping[str, Holders]
    periods: t.Mapping[str, int]

    def problems(self) -> list[str]:
        """Every mistake in it."""
        found = [
            f"roles.{name}: unknown; there are {', '.join(store.TOP)}" for name in set(self.roles) - set(store.TOP)
        ]
        for name in self.channels:
            if name in RESERVED or not _CHANNEL.fullmatch(name):
                found.append(f"channels: {name!r} cannot name a channel; use letters, digits, dash, underscore")
        for name, those in (*self.roles.items(), *self.channels.items()):
            values = {str(key.keyval) for key in those.keys}
            if len(values) != len(those.keys):
                # two ids of one key would meet a threshold of two alone
                found.append(f"{name}: the same key is given twice; every signature must come from another key")
            if not 1 <= those.threshold <= len(those.keys):
                found.append(f"{name}: a threshold of {those.threshold} does not fit {len(those.keys)} keys")
        for name, days in self.periods.items():
            if name not in store.PERIODS:
                found.append(f"expiry_days.{name}: unknown; there are {', '.join(sorted(store.PERIODS))}")
            elif not 1 <= days <= 36500:
                found.append(f"expiry_days.{name}: must be 1 to 36500 days, not {days}")
        return found


class Repository:
    """One repository on this machine.

    ``trust_root`` is the root metadata that its clients pin; with it, a repository that somebody replaced as a whole
    is not signed on top of. ``now`` is for tests.
    """

    def __init__(
        self, directory: pathlib.Path, *, trust_root: bytes | None = None, now: datetime.datetime | None = None
    ) -> None:
        libraries.require()
        self.store = Store(directory)
        self.trust_root = trust_root
        self.now = now or datetime.datetime.now(datetime.UTC)

    def ensure(self, config: Config, ring: Ring, *, check: bool = False) -> Change:
        """Make the repository, or change roles, channels and periods to ``config``; others stay as they are.

        Raises :class:`RepositoryError`.
        """
        problems = config.problems()
        if problems:
            raise RepositoryError("the repository cannot be made: " + "; ".join(problems), problems=problems)
        if check:
            return self._ensure(config, ring, check=True)
        files.make_directory(self.store.directory)
        with self.store.lock():
            return self._ensure(config, ring, check=False)

    def publish(self, channel: str, document: pathlib.Path, ring: Ring, *, check: bool = False) -> Change:
        """List the release that ``document`` (a release.yml) describes in ``channel``.

        Payloads are read, described and copied; the same digest again changes nothing. Raises
        :class:`RepositoryError` (``RELEASE`` with every mistake in the document, ``THRESHOLD``...).
        """
        described, content, payloads = source.read(document)
        digest = source.digest(content)
        wanted = Listed(
            channel=channel,
            name=described["name"],
            version=described["version"],
            counter=described["counter"],
            digest=digest,
            target=target_of(channel, described["name"], described["version"]),
            length=len(content),
        )
        if check:
            return self._list(wanted, content, payloads, ring, check=True)
        with self._locked():
            return self._list(wanted, content, payloads, ring, check=False)

    def promote(self, name: str, version: str, channel: str, ring: Ring, *, check: bool = False) -> Change:
        """List in ``channel`` the release that another channel lists already: the same digest, the same bytes.

        Raises :class:`RepositoryError`.
        """
        if check:
            return self._promote(name, version, channel, ring, check=True)
        with self._locked():
            return self._promote(name, version, channel, ring, check=False)

    def refresh(self, ring: Ring, *, check: bool = False) -> Change:
        """Sign again what is close to its expiry.

        Timestamp and snapshot when half of their time is over (their keys must be at hand), other roles when less
        than a quarter is left and their keys are at hand; without keys they are named in the warnings.
        """
        if check:
            return self._refresh(ring, check=True)
        with self._locked():
            return self._refresh(ring, check=False)

    def releases(self, channel: str | None = None) -> list[Listed]:
        """What the channels (or the one) list, by channel, name and counter."""
        return _releases(self.store.load(self.trust_root), channel)

    # -- steps --------------------------------------------------------------------------------------------------

    def _ensure(self, config: Config, ring: Ring, *, check: bool) -> Change:
        state = self.store.load(self.trust_root) if self.store.exists else None
        old_periods = self.store.periods() if state else None
        periods = {**(old_periods or store.PERIODS), **config.periods}
        if state is None and set(config.roles) != set(store.TOP):
            missing = ", ".join(name for name in store.TOP if name not in config.roles)
            raise RepositoryError(f"a new repository needs keys for every role; give roles for {missing}")
        edit = Edit(state, ring, periods, self.now)
        edit.hold(config.roles)
        edit.delegate(config.channels)
        staged = edit.finish()
        self._apply(staged, check=check)
        if periods != old_periods and not check:
            self.store.write_periods(periods)
        after = _role_lines(edit, periods)
        before = _role_lines(Edit(state, ring, old_periods or {}, self.now), old_periods or {}) if state else []
        return Change(bool(staged) or periods != old_periods, before, after, warnings=_single(edit))

    def _list(
        self, wanted: Listed, content: bytes, payloads: t.Mapping[str, pathlib.Path], ring: Ring, *, check: bool
    ) -> Change:
        state = self.store.load(self.trust_root)
        edit = Edit(state, ring, self.store.periods(), self.now)
        before = _releases(state)
        known = admit(wanted, before, sorted(edit.channels))
        document = f"targets/{wanted.channel}/{wanted.name}/{wanted.digest}.{wanted.version}.json"
        if not check:
            # before the metadata that leads to them; also heals payloads that got lost
            for sha256, path in payloads.items():
                self._take_in(sha256, path)
        if known:
            if not check and not (self.store.directory / document).is_file():
                self.store.commit({document: content})
            return Change(False, _lines(before), _lines(before), known)
        custom = {"name": wanted.name, "version": wanted.version, "counter": wanted.counter}
        entry = TargetFile(wanted.length, {"sha256": wanted.digest}, wanted.target, {"custom": custom})
        edit.channels[wanted.channel].signed.targets[wanted.target] = entry
        edit.touched.add(wanted.channel)
        staged = {document: content, **edit.finish()}
        self._apply(staged, check=check, target=wanted.target)
        after = sorted([*before, wanted], key=by_counter)
        return Change(True, _lines(before), _lines(after), wanted)

    def _promote(self, name: str, version: str, channel: str, ring: Ring, *, check: bool) -> Change:
        listed = [entry for entry in self.releases() if (entry.name, entry.version) == (name, version)]
        if not listed:
            raise RepositoryError(f"no channel lists {name}/{version}; publish it first", code="RELEASE")
        origin = listed[0]
        path = self.store.directory / "targets" / origin.channel / name / f"{origin.digest}.{version}.json"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise RepositoryError(f"{path} cannot be read ({error.strerror}); publish the release again") from error
        if source.digest(content) != origin.digest:
            raise RepositoryError(f"{path} is not what was signed; publish the release again", code="HASH_MISMATCH")
        wanted = dataclasses.replace(origin, channel=channel, target=target_of(channel, name, version))
        return self._list(wanted, content, {}, ring, check=check)

    def _refresh(self, ring: Ring, *, check: bool) -> Change:
        state = self.store.load(self.trust_root)
        edit = Edit(state, ring, self.store.periods(), self.now)
        warnings = []
        for name, metadata in _all_roles(edit):
            left = metadata.signed.expires - self.now
            share = 2 if name in (store.SNAPSHOT, store.TIMESTAMP) else 4
            if left * share >= edit.period(name):
                continue
            if share == 2 or edit.can_sign(name):
                edit.touched.add(name)
            else:
                warnings.append(f"{name} expires on {metadata.signed.expires:%Y-%m-%d} and its keys were not given")
        before = _expiry_lines(edit)
        staged = edit.finish()
        self._apply(staged, check=check)
        return Change(bool(staged), before, _expiry_lines(edit), warnings=warnings)

    def _locked(self) -> t.ContextManager[None]:
        if not self.store.exists:
            self.store.load()  # raises and says what to do
        return self.store.lock()

    def _apply(self, staged: t.Mapping[str, bytes], *, check: bool, target: str | None = None) -> None:
        if not staged:
            return
        self.store.check(staged, self.trust_root, target)
        if not check:
            self.store.commit(staged)

    def _take_in(self, sha256: str, path: pathlib.Path) -> None:
        place = self.store.directory / "targets" / "payloads" / sha256
        length = path.stat().st_size
        if place.is_file() and place.stat().st_size == length and source.digest_of(place) == sha256:
            return
        files.make_directory(place.parent)
        files.copy_hashed(files.read_chunks(path), place, sha256=sha256, length=length)


def _releases(state: State, channel: str | None = None) -> list[Listed]:
    names = sorted(state.channels) if channel is None else [channel]
    if channel is not None and channel not in state.channels:
        raise RepositoryError(no_channel(channel, sorted(state.channels)))
    return [entry for name in names for entry in listed(name, state.channels[name].signed.targets)]


def _lines(releases: t.Iterable[Listed]) -> list[str]:
    return [str(entry) for entry in releases]


def _all_roles(edit: Edit) -> list[tuple[str, t.Any]]:
    top = [(store.ROOT, edit.root), (store.TARGETS, edit.targets)]
    return [*top, *sorted(edit.channels.items()), (store.SNAPSHOT, edit.snapshot), (store.TIMESTAMP, edit.timestamp)]


def _expiry_lines(edit: Edit) -> list[str]:
    return [
        f"{name}: version {one.signed.version}, expires {one.signed.expires:%Y-%m-%d}" for name, one in _all_roles(edit)
    ]


def _delegated(edit: Edit) -> dict[str, t.Any]:
    delegations = edit.targets.signed.delegations
    top = {name: edit.root.signed.roles[name] for name in store.TOP}
    return {**top, **((delegations.roles or {}) if delegations else {})}


def _role_lines(edit: Edit, periods: t.Mapping[str, int]) -> list[str]:
    roles = [
        f"{name}: {one.threshold} of {len(one.keyids)} keys ({', '.join(keyid[:8] for keyid in one.keyids)})"
        for name, one in _delegated(edit).items()
    ]
    return roles + [f"{name}: expires after {days} days" for name, days in sorted(periods.items())]


def _single(edit: Edit) -> list[str]:
    alone = [name for name, one in _delegated(edit).items() if one.threshold == 1]
    return [f"one key alone can sign for {', '.join(alone)}; a threshold of 2 survives a stolen key"] if alone else []
