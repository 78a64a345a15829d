# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Whether an approval is enough: how many people, who asked, for what and until when (docs/reference/approval.md).

One answer: the device gives it before it takes a release, the controller before it begins a rollout.
"""

from __future__ import annotations

import typing as t

from ..base.errors import OtaError
from . import approval, policy


class Listed(t.NamedTuple):
    """An approval as verified metadata list it.

    ``role`` lists it itself, and ``threshold`` of its keys must sign; ``keyids`` are those of the distinct key values
    that did; ``custom`` is what the role says of it beside length and hashes.
    """

    path: str
    role: str
    content: bytes
    threshold: int
    keyids: tuple[str, ...]
    custom: t.Mapping[str, object]


class Wanted(t.NamedTuple):
    """What an approval is to be about.

    A release by ``digest`` and ``channel``, for the devices ``names``, at the time ``now`` (seconds since 1970);
    ``rollout`` is the one that it belongs to (None: none).
    """

    digest: str
    channel: str
    names: t.Collection[str]
    now: float
    rollout: str | None


class Demand(t.NamedTuple):
    """What the policy asks of a role: so many ``people``; with ``four_eyes`` who asked does not count."""

    role: str
    people: int
    four_eyes: bool


def demands(rules: policy.Policy, words: t.Mapping[str, str], channel: str) -> list[Demand]:
    """What a device with this identity asks for before it takes a release of ``channel``, by role.

    PolicyError ``APPROVAL`` when no rule is about it.
    """
    needed = policy.needed(rules, words, channel)
    return [Demand(role, needed[role], four_eyes(rules)) for role in sorted(needed)]


def four_eyes(rules: policy.Policy) -> bool:
    """Whether who asks for an approval does not count as one who approves."""
    return not rules.get("requester_may_approve", False)


def require(path: str, listed: Listed | None, demand: Demand, wanted: Wanted) -> approval.Approved:
    """OtaError unless what is ``listed`` as ``path`` meets ``demand``; what records keep of it.

    ``APPROVAL``, ``PLAN_MISMATCH`` or ``METADATA``.
    """
    if listed is None or listed.role != demand.role:
        raise OtaError("APPROVAL", "%s is not listed by %s itself; ask for the approval again" % (path, demand.role))
    value = approval.parse(listed.content)
    _require_about(value, path, wanted)
    require_people(listed, value, demand)
    return {"path": path, "by": value["requested"]["by"], "expires": value["expires"]}


def problem(path: str, listed: Listed | None, demand: Demand, wanted: Wanted) -> str | None:
    """Why :func:`require` refuses it; None if it does not."""
    try:
        require(path, listed, demand, wanted)
    except OtaError as error:
        return error.message
    return None


def has_people(listed: Listed, value: approval.Approval, demand: Demand) -> bool:
    """Whether enough people approved, by :func:`require_people`."""
    try:
        require_people(listed, value, demand)
    except OtaError:
        return False
    return True


def _require_about(value: approval.Approval, path: str, wanted: Wanted) -> None:
    """The approval is for this release and rollout, names these devices, and still holds."""
    plan, release = value["plan"], value["plan"]["release"]
    if "wave" in value:
        message = "%s lets wave %s begin and approves no rollout; ask for an approval of the plan"
        raise OtaError("PLAN_MISMATCH", message % (path, value["wave"]))
    if (release["digest"], release["channel"]) != (wanted.digest, wanted.channel):
        message = "the approved plan %s is for another release (digest %s); ask for an approval of this one"
        raise OtaError("PLAN_MISMATCH", message % (plan["rollout"], release["digest"][:12]))
    if wanted.rollout is not None and wanted.rollout != plan["rollout"]:
        message = "the approved plan is of rollout %s, not of %s; ask for an approval of this one"
        raise OtaError("PLAN_MISMATCH", message % (plan["rollout"], wanted.rollout))
    named = {name for wave in plan["waves"] for name in wave["hosts"]}
    strangers = [name for name in wanted.names if name not in named]
    if strangers:
        message = "the approved plan %s does not name %s; ask for an approval of one that does"
        raise OtaError("PLAN_MISMATCH", message % (plan["rollout"], ", ".join(strangers[:5])))
    if approval.seconds(value["expires"]) <= wanted.now:
        raise OtaError("APPROVAL", "the approval %s expired at %s; ask for it again" % (path, value["expires"]))


def require_people(listed: Listed, value: approval.Approval, demand: Demand) -> None:
    """OtaError ``APPROVAL`` unless enough different people approved; with four eyes the requester does not count.

    A key that signs a later version of the role's metadata vouches for all that it lists, so at least so many keys
    did, whichever version is seen. Who approved *this* is those who signed the version that listed it first: a later
    version says so in ``approved_by``, attested by its own threshold of signatures.
    """
    if listed.threshold < demand.people:
        message = "%s is signed by a role with a threshold of %d, and the fleet's policy asks for %d; raise it"
        raise OtaError("APPROVAL", message % (listed.path, listed.threshold, demand.people))
    if not demand.four_eyes:
        return
    people = listed.custom.get("approved_by", list(listed.keyids))
    asker = value["requested"].get("keyid")
    others = {one for one in people if isinstance(one, str) and one != asker} if isinstance(people, list) else set()
    if len(others) < demand.people:
        message = "%s has enough approvals by %s only with the requester's own; have another approver sign it too"
        raise OtaError("APPROVAL", message % (listed.path, listed.role))
