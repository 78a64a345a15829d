# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Outcomes as the gate and the reports count them (docs/reference/outcomes.md)."""

from __future__ import annotations

import typing as t

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


class Standing(t.NamedTuple):
    """What the journal says about one device: its latest outcome (or ``pending``) and what was seen since."""

    device: str
    outcome: str
    code: str | None = None
    message: str | None = None
    #: False when the device was looked at after this outcome and did not look healthy
    healthy: bool = True
    #: ``data`` of the record: ``transaction``, ``before``, ``after``, ``seconds``
    data: t.Mapping[str, t.Any] = {}

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


def standings(records: t.Iterable[t.Mapping[str, t.Any]]) -> dict[str, Standing]:
    """The latest outcome of every device that was touched, in the order in which they were first touched.

    A device that was touched again and did not answer since stands as ``pending``.
    """
    found: dict[str, Standing] = {}
    for record in records:
        device = record.get("device")
        if record["event"] == "rollout.reset":
            # who was taken back may be brought to the release again, who was ahead is asked again
            found = {name: known for name, known in found.items() if not (known.taken_back or known.ahead)}
        if device is None:
            continue
        if record["event"] == "device.pending":
            found[device] = Standing(device, "pending", data=record["data"])
        elif record["event"] == "device.outcome":
            found[device] = Standing(
                device, record["outcome"], record.get("code"), record.get("message"), data=record["data"]
            )
        elif record["event"] == "device.seen" and device in found:
            found[device] = found[device]._replace(healthy=bool(record["data"].get("healthy")))
    return found
