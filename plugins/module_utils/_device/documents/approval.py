# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The form of an approval: a plan, who asked for it, and until when it holds (docs/reference/approval.md).

One with a ``wave`` lets that wave of a rollout begin and is for the controller alone: a device takes none for itself.

Serves device and controller alike; what an approval must say to a device is in ``authorize``.
"""

from __future__ import annotations

import calendar
import json
import time
import typing as t

from ..base import schema
from ..base.errors import OtaError
from ..base.typed import TypedDict

FORMAT = 1
TIME = "%Y-%m-%dT%H:%M:%SZ"


class PlannedRelease(TypedDict):
    """The release of a plan."""

    name: str
    digest: str
    channel: str


class PlannedWave(TypedDict):
    """A wave of a plan."""

    name: str
    hosts: list[str]


class Plan(TypedDict):
    """As much of a plan as is approved; the controller's plans have more."""

    digest: str
    rollout: str
    release: PlannedRelease
    waves: list[PlannedWave]


class _Requested(TypedDict):
    by: str
    time: str


class Requested(_Requested, total=False):
    """Who asked for an approval, and when."""

    keyid: str
    remark: str


class _Approval(TypedDict):
    format: int
    plan: Plan
    requested: Requested
    expires: str


class Approval(_Approval, total=False):
    """An approval (docs/reference/approval.md)."""

    wave: str


class Approved(TypedDict):
    """The approval of one role that counted, as records have it."""

    path: str
    by: str
    expires: str


class ApprovalError(OtaError):
    """What is listed as an approval is none (``METADATA``)."""


_RULES: dict[str, schema.Rule] = {
    "format": schema.choice(FORMAT),
    "plan": schema.anything,
    "requested": schema.anything,
    "expires": schema.text,
    "wave": schema.text,
}
_REQUESTED: dict[str, schema.Rule] = {
    "by": schema.text,
    "keyid": schema.text,
    "time": schema.text,
    "remark": schema.text,
}


def canonical(value: t.Mapping[str, object]) -> bytes:
    """The bytes that are signed: ASCII JSON, sorted keys, no blanks, one line feed at the end."""
    return (json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n").encode("ascii")


def validate(value: object) -> list[str]:
    """Every mistake in the form of an approval."""
    problems = schema.Problems()
    required = ("format", "plan", "requested", "expires")
    if not problems.mapping("", value, _RULES, required=required) or not isinstance(value, dict):
        return problems.found
    problems.mapping("requested", value.get("requested"), _REQUESTED, required=("by", "time"))
    try:
        plan = value["plan"]
        whole = all(isinstance(name, str) for wave in plan["waves"] for name in wave["hosts"])
        if not whole or not all(isinstance(plan["release"][key], str) for key in ("name", "digest", "channel")):
            raise TypeError
        if not isinstance(plan["rollout"], str):
            raise TypeError
    except (KeyError, TypeError):
        problems.add("plan", "is not a plan")
    try:
        seconds(value.get("expires"))
    except (ValueError, TypeError):
        problems.add("expires", "must be a time such as 2026-01-31T12:00:00Z")
    return problems.found


def parse(content: bytes) -> Approval:
    """An approval from its verified bytes; ApprovalError otherwise."""
    try:
        value = json.loads(content)
    except ValueError:
        value = None
    problems = validate(value)
    if problems:
        raise ApprovalError("METADATA", "an approval has errors: %s; ask for it again" % "; ".join(problems))
    return t.cast(Approval, value)


def seconds(text: t.Any) -> int:
    """Seconds since 1970 of a time in an approval; ValueError or TypeError for anything else."""
    return calendar.timegm(time.strptime(text, TIME))
