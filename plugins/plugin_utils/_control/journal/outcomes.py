# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Outcomes as the gate and the reports count them (docs/reference/outcomes.md)."""

from __future__ import annotations

import types
import typing as t

#: What else a record of an outcome holds.
Data = t.Mapping[str, t.Any]

SUCCESS = frozenset({"updated"})
FAILURE = frozenset({"restored", "refused", "lost", "timed_out", "broken"})
#: Nothing was proven either way; the device counts neither as success nor as failure.
NEITHER = frozenset({"current", "deferred", "rolled_back"})
ALL = SUCCESS | FAILURE | NEITHER
#: As the reference lists them, for whatever shows them.
ORDER = ("updated", "current", "deferred", "refused", "restored", "rolled_back", "lost", "timed_out", "broken")

#: The device runs the wanted release.
AS_PLANNED = frozenset({"updated", "current"})

#: Nobody knows yet what became of the device: its own record must be read before anything else is decided.
#: ``pending`` is no outcome: it stands for "touched, and nothing came back".
UNRESOLVED = frozenset({"pending", "lost", "timed_out"})


#: Codes of refusals that say something of the release. The cause of any other lies elsewhere (enrolment, metadata, TLS,
#: a program that is missing) and may be gone: the next run asks again.
OF_THE_RELEASE = frozenset(
    {"HASH_MISMATCH", "LENGTH_MISMATCH", "REHEARSAL", "REJECTED", "RELEASE", "UNLISTED_FILE", "UNSAFE_PATH"}
)


def is_asked_again(outcome: str, code: str | None) -> bool:
    """Whether the next run asks a device anew that came to this: it was not touched, and not because of the release."""
    return outcome == "refused" and code is not None and code not in OF_THE_RELEASE


class Standing(t.NamedTuple):
    """What the journal says about one device: its latest outcome (or ``pending``) and what was seen since."""

    device: str
    outcome: str
    code: str | None = None
    message: str | None = None
    #: False when the device was looked at after this outcome and did not look healthy
    healthy: bool = True
    #: ``data`` of the record: ``transaction``, ``before``, ``after``, ``seconds``
    data: Data = types.MappingProxyType({})
    #: why the last look at it said nothing of its health (no login, no sudo, no engine), None if it did
    unseen: str | None = None

    @property
    def taken_back(self) -> bool:
        """Whether the gate had it taken back from the release."""
        return self.outcome == "rolled_back"

    @property
    def ahead(self) -> bool:
        """Whether it has witnessed what this journal lacks."""
        return self.code == "AHEAD"

    @property
    def as_planned(self) -> bool:
        """Whether the device runs the wanted release and looked well when last seen."""
        return self.outcome in AS_PLANNED and self.healthy
