# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""A proposed change: what is to be signed, who signed it already, who may still sign."""

from __future__ import annotations

import dataclasses
import typing as t

from ..metadata.releases import Listed

if t.TYPE_CHECKING:
    from tuf.api.metadata import Metadata

import datetime
import hashlib
import typing as t

from ...base import files

if t.TYPE_CHECKING:
    from tuf.api.metadata import Metadata

    from ..metadata.edit import Need

_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclasses.dataclass(frozen=True)
class Request:
    """How a change is to be proposed: what people are told about it, and until when it may be signed.

    ``expires`` is by default when the proposed metadata does. With ``apply``, a change for which all keys are at hand
    takes effect at once.
    """

    requested_by: str
    title: str = ""
    details: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    expires: datetime.datetime | None = None
    apply: bool = True


@dataclasses.dataclass(frozen=True)
class Remark:
    """What somebody wrote when signing, denying or withdrawing; not covered by any signature."""

    by: str
    at: str
    action: str
    text: str


@dataclasses.dataclass(frozen=True)
class Proposal:
    """One proposed change.

    ``roles`` is the proposed metadata with the signatures that count, by role; ``content`` what it lists, by name
    below the repository. ``state`` is one of ``open ready applied denied withdrawn expired stale refused damaged``,
    with ``reason`` saying why it can no longer be signed. ``before`` and ``after`` are what the metadata says now and
    would say, as lines.
    """

    id: str
    kind: str = ""
    title: str = ""
    requested_by: str = ""
    requested_at: str = ""
    expires: str = ""
    details: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    expiry_days: t.Mapping[str, int] | None = None
    roles: t.Mapping[str, Metadata[t.Any]] = dataclasses.field(default_factory=dict)
    content: t.Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    remarks: tuple[Remark, ...] = ()
    closed: str | None = None
    state: str = "damaged"
    reason: str = ""
    needs: tuple[Need, ...] = ()
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    def missing(self) -> list[Need]:
        """What the roles still need; empty when it can take effect."""
        return [need for need in self.needs if not need.met]

    def signatures(self) -> set[tuple[str, str]]:
        """Role and key id of every signature that counts."""
        return {(name, keyid) for name, metadata in self.roles.items() for keyid in metadata.signatures}

    def as_dict(self) -> dict[str, t.Any]:
        """For results and JSON."""
        names = ("id", "kind", "title", "requested_by", "requested_at", "expires", "state", "reason")
        return {
            **{name: getattr(self, name) for name in names},
            "details": dict(self.details),
            "remarks": [dataclasses.asdict(remark) for remark in self.remarks],
            "roles": [need.as_dict() for need in self.needs],
        }

    def __str__(self) -> str:
        those = "; ".join(
            f"{need.role}{' (previous root)' if need.previous else ''} {need.have} of {need.threshold}"
            for need in self.needs
        )
        # Title and name are not signed, and may not pass for more lines than this one.
        said = f"{self.title or self.kind}, by {self.requested_by}".replace("\n", " ")
        why = f": {self.reason}" if self.state in ("damaged", "refused") else ""
        return f"{self.id}: {self.state}, {said} ({those}){why}"


def in_order(roles: t.Iterable[str]) -> list[str]:
    """Names of roles as a proposal has them: those of the top level first."""
    return sorted(roles, key=lambda name: (name != "root", name != "targets", name))


def identify(roles: t.Mapping[str, Metadata[t.Any]], expiry_days: t.Mapping[str, int] | None) -> str:
    """The id of a proposal: it stands for the very bytes that are to be signed, and for what is set with them."""
    return ids(roles, expiry_days)[0]


def ids(roles: t.Mapping[str, Metadata[t.Any]], expiry_days: t.Mapping[str, int] | None) -> list[str]:
    """:func:`identify`, and what versions before 0.2 may have called it: by another of its roles."""
    whole: dict[str, t.Any] = {name: hashlib.sha256(one.signed_bytes).hexdigest() for name, one in roles.items()}
    digest = hashlib.sha256(files.canonical({"roles": whole, "expiry_days": expiry_days})).hexdigest()[:16]
    return [f"{name}-{roles[name].signed.version}-{digest}" for name in in_order(roles)]


def same(proposal: Proposal, roles: t.Mapping[str, Metadata[t.Any]], expiry_days: t.Mapping[str, int] | None) -> bool:
    """Whether ``proposal`` says what ``roles`` and ``expiry_days`` do.

    One that was made earlier may expire earlier. One that expires later says more: somebody else chose for how long.
    """

    def contents(roles: t.Mapping[str, Metadata[t.Any]]) -> dict[str, t.Any]:
        return {
            name: {key: value for key, value in metadata.signed.to_dict().items() if key != "expires"}
            for name, metadata in roles.items()
        }

    return (
        contents(proposal.roles) == contents(roles)
        and (proposal.expiry_days or None) == (dict(expiry_days) if expiry_days else None)
        and all(proposal.roles[name].signed.expires <= one.signed.expires for name, one in roles.items())
    )


def stamp(moment: datetime.datetime) -> str:
    """A time as files hold it."""
    return moment.astimezone(datetime.UTC).strftime(_TIME)


def moment(stamped: str) -> datetime.datetime:
    """The time that :func:`stamp` wrote."""
    return datetime.datetime.strptime(stamped, _TIME).replace(tzinfo=datetime.UTC)


@dataclasses.dataclass(frozen=True)
class Change:
    """What was done, or would be: the lists of releases and roles before and after as lines for people.

    ``proposal`` is set when it waits for further signatures instead of being in force.
    """

    changed: bool
    before: list[str]
    after: list[str]
    release: Listed | None = None
    warnings: list[str] = dataclasses.field(default_factory=list)
    proposal: Proposal | None = None
