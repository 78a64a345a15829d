# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Whether enough people approved this rollout of this release to this device (docs/reference/approval.md).

An approval is a TUF target of an approval role, verified like everything else. What it must say is checked by the
function that the controller uses, too (``documents/approved``).
"""

from __future__ import annotations

import typing as t

from .. import trust
from ..base.errors import OtaError
from ..documents import approval, approved, policy


class Asked(t.NamedTuple):
    """What a device compares an approval with.

    ``words`` are its identity, ``now`` is the time that it believes (seconds since 1970), ``rollout`` the rollout that
    the request belongs to (None: none).
    """

    words: t.Mapping[str, str]
    now: float
    rollout: str | None


def require_approved(
    accepted: trust.Accepted, paths: t.Sequence[str], asked: Asked, *, required: bool = False
) -> dict[str, approval.Approved]:
    """OtaError unless enough people approved a rollout of this release to this device.

    ``paths`` are the approvals that the request names. Without a policy in the repository nothing is needed, unless
    ``required``. Returns by role the approvals that were needed. Raises OtaError with ``APPROVAL``,
    ``PLAN_MISMATCH`` or what verifying brings.
    """
    document = accepted.document(policy.TARGET)
    if document is None:
        if required:
            message = "this device takes nothing without approval, and the repository has no %s; publish one"
            raise OtaError("APPROVAL", message % policy.TARGET)
        return {}
    rules = policy.parse(document.content)
    demands = approved.demands(rules, asked.words, accepted.channel)
    if required and not demands:
        message = "this device takes nothing without approval, and the fleet's policy asks for none; change its rule"
        raise OtaError("APPROVAL", message)
    wanted = approved.Wanted(accepted.digest, accepted.channel, [asked.words["name"]], asked.now, asked.rollout)
    return {demand.role: _first_good(accepted, _of(paths, demand), demand, wanted) for demand in demands}


def _of(paths: t.Sequence[str], demand: approved.Demand) -> list[str]:
    mine = [path for path in paths if path.startswith(demand.role + "/")]
    if not mine:
        message = "the fleet's policy asks for %d approvals by %s and there is none; ask with fleet.ota.approve"
        raise OtaError("APPROVAL", message % (demand.people, demand.role))
    return mine


def _first_good(
    accepted: trust.Accepted, paths: t.Sequence[str], demand: approved.Demand, wanted: approved.Wanted
) -> approval.Approved:
    """What the first of ``paths`` that is good says; the last one's OtaError when none is."""
    for number, path in enumerate(paths, 1):
        try:
            return approved.require(path, _listed(accepted, path), demand, wanted)
        except OtaError:
            if number == len(paths):
                raise
    raise AssertionError("no path was given")


def _listed(accepted: trust.Accepted, path: str) -> approved.Listed | None:
    one = accepted.document(path)
    if one is None:
        return None
    return approved.Listed(path, one.role, one.content, one.threshold, one.keyids, one.custom)
