# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What a channel lists, and what it may list next."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ...base.errors import RepositoryError
from . import store

if t.TYPE_CHECKING:
    from tuf.api.metadata import TargetFile

_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclasses.dataclass(frozen=True)
class Listed:
    """One release as a channel lists it; ``length`` in bytes is of the document."""

    channel: str
    name: str
    version: str
    counter: int
    digest: str
    target: str
    length: int

    def as_dict(self) -> dict[str, t.Any]:
        """For results and JSON."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return f"{self.channel}: {self.name} {self.version} (counter {self.counter}, digest {self.digest[:12]})"


def target_of(channel: str, name: str, version: str) -> str:
    """The TUF target path of a release."""
    return f"{channel}/{name}/{version}.json"


def listed(channel: str, targets: t.Mapping[str, TargetFile]) -> list[Listed]:
    """What a channel's verified ``targets`` list, by name and counter; entries that are no releases are left out."""
    entries = []
    for path, entry in targets.items():
        custom = entry.custom or {}
        name, version, counter = str(custom.get("name")), str(custom.get("version")), custom.get("counter")
        if isinstance(counter, int) and "sha256" in entry.hashes and path == target_of(channel, name, version):
            entries.append(Listed(channel, name, version, counter, entry.hashes["sha256"], path, entry.length))
    return sorted(entries, key=by_counter)


def no_channel(channel: str, channels: list[str]) -> str:
    """What to tell who names a channel that is not there."""
    return f"there is no channel {channel!r}, only {', '.join(channels) or 'none'}; make it with fleet.ota.repository"


def admit(wanted: Listed, entries: list[Listed], channels: list[str]) -> Listed | None:
    """The entry that lists ``wanted`` already, or None if it may be listed; RepositoryError if it may not."""
    if wanted.channel not in channels:
        raise RepositoryError(no_channel(wanted.channel, channels))
    same_name = [entry for entry in entries if entry.name == wanted.name]
    for entry in same_name:
        if entry.digest == wanted.digest and entry.channel == wanted.channel:
            return entry
        if entry.version == wanted.version and entry.digest != wanted.digest:
            raise RepositoryError(
                f"{wanted.name} {wanted.version} is published already with other content (channel {entry.channel}); "
                "give the changed release a new version and a higher counter",
                code="RELEASE",
            )
        if entry.counter == wanted.counter and entry.digest != wanted.digest:
            raise RepositoryError(
                f"counter {wanted.counter} belongs to {entry.name} {entry.version} (channel {entry.channel}); give "
                f"{wanted.version} a higher one",
                code="ROLLBACK",
            )
    newest = max((entry.counter for entry in same_name if entry.channel == wanted.channel), default=0)
    if wanted.counter <= newest:
        raise RepositoryError(
            f"channel {wanted.channel} lists {wanted.name} up to counter {newest}, and {wanted.version} has "
            f"{wanted.counter}: no device would take it; give it a counter above {newest}",
            code="ROLLBACK",
        )
    return None


def admit_document(role: str, paths: t.Iterable[str], delegated: list[str]) -> None:
    """Raise RepositoryError unless documents may be listed under ``paths`` in ``role``."""
    if role != store.TARGETS and not (store.is_approvals(role) and role in delegated):
        roles = [store.TARGETS, *filter(store.is_approvals, sorted(delegated))]
        raise RepositoryError(
            f"documents are listed in {', '.join(roles)}, not in {role!r}; add an approvals role with "
            "fleet.ota.repository"
        )
    for path in paths:
        first, *rest = path.split("/")
        shape = not rest if role == store.TARGETS else first == role and len(rest) == 2
        if not shape or not all(_SEGMENT.fullmatch(part) for part in (first, *rest)):
            form = "FILE" if role == store.TARGETS else f"{role}/NAME/FILE"
            raise RepositoryError(f"{path!r} cannot be listed in {role}; name it {form}")


def by_counter(entry: Listed) -> tuple[str, str, int]:
    """The order in which releases are listed."""
    return entry.channel, entry.name, entry.counter
