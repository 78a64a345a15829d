# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""How an approvals role lists an approval: under which path, and with what beside it."""

from __future__ import annotations

import hashlib

from ....module_utils._device.documents import approval
from ..base.plan import Plan, digest


def path_of(role: str, plan: Plan, wave: str | None = None) -> str:
    """The TUF target path of the approval of ``plan``, or of one ``wave`` of it, by ``role``."""
    # a wave's name may hold what is no good in a path
    part = "" if wave is None else f".wave-{hashlib.sha256(wave.encode()).hexdigest()[:8]}"
    return f"{role}/{plan.rollout}/{plan.digest[:16]}{part}.json"


def custom(content: bytes) -> dict[str, str]:
    """What stands beside an approval in the role's metadata, so that it is found without being downloaded."""
    value = approval.parse(content)
    plan = Plan.of(value["plan"])
    names = {"rollout": plan.rollout, "plan": plan.digest, "release": plan.release["digest"]}
    return {**names, "expires": value["expires"]}


def problems(role: str, path: str, content: bytes, custom_data: object) -> list[str]:
    """What keeps ``content``, listed by ``role`` as ``path``, from being one approval and nothing else.

    An approval has one form: what two readers could read in two ways is none.
    """
    try:
        value = approval.parse(content)
        plan = Plan.of(value["plan"])
        found = [] if content == approval.canonical(value) else ["it is not in its canonical form"]
        if plan.digest != digest(plan.document):
            found.append("its plan has not the digest that it names")
        if path != path_of(role, plan, value.get("wave")):
            found.append(f"{path!a} is not the path of this plan")
        if custom_data != custom(content):
            found.append(f"what stands beside it is about something else: {custom_data!a}")
    except (approval.ApprovalError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return [f"it is no approval ({error})"]
    return found
