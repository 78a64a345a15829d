# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Whether enough people approved this rollout of this release to this device (docs/reference/approval.md).

An approval is a TUF target of an approval role, verified like everything else; what is checked here is what it says.
"""

from __future__ import annotations

import typing as t

from .. import trust
from ..base.errors import OtaError
from ..documents import approval, policy


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
    needed = policy.needed(rules, asked.words, accepted.channel)
    if required and not needed:
        message = "this device takes nothing without approval, and the fleet's policy asks for none; change its rule"
        raise OtaError("APPROVAL", message)
    four_eyes = not rules.get("requester_may_approve", False)
    return {
        role: _first_good(accepted, _of(paths, role, count), role, count, four_eyes, asked)
        for role, count in sorted(needed.items())
    }


def _of(paths: t.Sequence[str], role: str, count: int) -> list[str]:
    mine = [path for path in paths if path.startswith(role + "/")]
    if not mine:
        message = "the fleet's policy asks for %d approvals by %s and there is none; ask with fleet.ota.approve"
        raise OtaError("APPROVAL", message % (count, role))
    return mine


def _first_good(
    accepted: trust.Accepted, paths: t.Sequence[str], role: str, count: int, four_eyes: bool, asked: Asked
) -> approval.Approved:
    """What the first of ``paths`` that is good says; the last one's OtaError when none is."""
    for number, path in enumerate(paths, 1):
        try:
            document = accepted.document(path)
            if document is None or document.role != role:
                raise OtaError("APPROVAL", "%s is not listed by %s itself; ask for the approval again" % (path, role))
            value = approval.parse(document.content)
            _require_about(accepted, value, path, asked)
            _require_people(document, value, path, count, four_eyes)
            return {"path": path, "by": value["requested"]["by"], "expires": value["expires"]}
        except OtaError:
            if number == len(paths):
                raise
    raise AssertionError("no path was given")


def _require_about(accepted: trust.Accepted, value: approval.Approval, path: str, asked: Asked) -> None:
    """The approval is for this release and rollout, names this device, and still holds."""
    plan, release, name = value["plan"], value["plan"]["release"], asked.words["name"]
    if "wave" in value:
        message = "%s lets wave %s begin and approves no rollout; ask for an approval of the plan"
        raise OtaError("PLAN_MISMATCH", message % (path, value["wave"]))
    if (release["digest"], release["channel"]) != (accepted.digest, accepted.channel):
        message = "the approved plan %s is for another release (digest %s); ask for an approval of this one"
        raise OtaError("PLAN_MISMATCH", message % (plan["rollout"], release["digest"][:12]))
    if asked.rollout is not None and asked.rollout != plan["rollout"]:
        message = "the approved plan is of rollout %s, not of %s; ask for an approval of this one"
        raise OtaError("PLAN_MISMATCH", message % (plan["rollout"], asked.rollout))
    if not any(name in wave["hosts"] for wave in plan["waves"]):
        message = "the approved plan %s does not name %s; ask for an approval of one that does"
        raise OtaError("PLAN_MISMATCH", message % (plan["rollout"], name))
    if approval.seconds(value["expires"]) <= asked.now:
        raise OtaError("APPROVAL", "the approval %s expired at %s; ask for it again" % (path, value["expires"]))


def _require_people(document: trust.Document, value: approval.Approval, path: str, count: int, four_eyes: bool) -> None:
    """OtaError unless enough different people approved; with ``four_eyes`` the requester does not count.

    A key that signs a later version of the role's metadata vouches for all that it lists, so at least ``count`` keys
    did, whichever version the device sees. Who approved *this* is those who signed the version that listed it first: a
    later version says so in ``approved_by``, attested by its own threshold of signatures.
    """
    if document.threshold < count:
        message = "%s is signed by a role with a threshold of %d, and the fleet's policy asks for %d; raise it"
        raise OtaError("APPROVAL", message % (path, document.threshold, count))
    people = document.custom.get("approved_by", list(document.keyids))
    asker = value["requested"].get("keyid")
    if four_eyes and len({keyid for keyid in people if keyid != asker}) < count:
        message = "%s has enough approvals by %s only with the requester's own; have another approver sign it too"
        raise OtaError("APPROVAL", message % (path, document.role))
