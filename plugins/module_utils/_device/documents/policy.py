# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The fleet's policy: how many people of which role approve a rollout to which devices (docs/reference/approval.md).

A target of the top-level ``targets`` role, so that only the holders of its offline keys change it. Serves device and
controller alike.
"""

from __future__ import annotations

import json
import re
import typing as t

from ..base import schema
from ..base.errors import OtaError
from ..base.typed import TypedDict

FORMAT = 1
#: Where the repository lists it.
TARGET = "policy.json"
#: Roles that approve; everything else that targets delegates to is a channel.
ROLE = re.compile(r"^approvals(-[A-Za-z0-9][A-Za-z0-9_-]{0,53})?$")


class _Rule(TypedDict):
    name: str
    approvals: dict[str, int]


class Rule(_Rule, total=False):
    """How many approvals of which role a rollout to some devices needs."""

    match: dict[str, list[str]]
    channels: list[str]


class _Custody(TypedDict):
    predicate: str
    keys: list[t.Any]


class Custody(_Custody, total=False):
    """Who must have attested what about a release; the controller's matter."""

    threshold: int
    required: bool
    channels: list[str]


class _Policy(TypedDict):
    format: int
    rules: list[Rule]


class Policy(_Policy, total=False):
    """The fleet's policy; the first rule that matches counts."""

    requester_may_approve: bool
    custody: list[Custody]


class PolicyError(OtaError):
    """The policy cannot be used (``METADATA``), or has no rule for this device (``APPROVAL``)."""


def _roles(value: object) -> str | None:
    if not isinstance(value, dict):
        return "must be a mapping of roles to numbers of approvals, not %s" % schema.kind(value)
    for role, count in value.items():
        if not isinstance(role, str) or not ROLE.match(role):
            return "%r is no approval role; they are called approvals or approvals-NAME" % (role,)
        wrong = schema.whole(1, 100)(count)
        if wrong:
            return "%s: %s" % (role, wrong)
    return None


_RULES: dict[str, schema.Rule] = {
    "format": schema.choice(FORMAT),
    "rules": schema.list_of(schema.anything, least=1),
    "requester_may_approve": schema.choice(True, False),
    "custody": schema.list_of(schema.anything),
}
_RULE: dict[str, schema.Rule] = {
    "name": schema.matching(schema.NAME),
    "match": schema.anything,
    "channels": schema.list_of(schema.text, least=1),
    "approvals": _roles,
}
_LIST = schema.list_of(schema.text, least=1)
_CUSTODY: dict[str, schema.Rule] = {
    "predicate": schema.text,
    "keys": schema.list_of(schema.anything, least=1),
    "threshold": schema.whole(1),
    "required": schema.choice(True, False),
    "channels": schema.list_of(schema.text, least=1),
}


def validate(value: object) -> list[str]:
    """Every mistake in a policy, in its signed form or as its author wrote it."""
    problems = schema.Problems()
    if not problems.mapping("", value, _RULES, required=("format", "rules")) or not isinstance(value, dict):
        return problems.found
    names: list[object] = []
    for index, rule in enumerate(_listed(value, "rules")):
        where = "rules[%d]" % index
        if not problems.mapping(where, rule, _RULE, required=("name", "approvals")):
            continue
        if rule.get("name") in names:
            problems.add(where + ".name", "%r is taken by an earlier rule; names are unique" % rule["name"])
        names.append(rule.get("name"))
        match = rule.get("match", {})
        problems.mapping(where + ".match", match, dict.fromkeys(match if isinstance(match, dict) else (), _LIST))
    for index, entry in enumerate(_listed(value, "custody")):
        where = "custody[%d]" % index
        if problems.mapping(where, entry, _CUSTODY, required=("predicate", "keys")):
            count, threshold = len(_listed(entry, "keys")), entry.get("threshold", 1)
            if count and schema.whole(1)(threshold) is None and threshold > count:
                problems.add(where + ".threshold", "%d is more than its %d keys" % (threshold, count))
    return problems.found


def _listed(value: t.Mapping[str, t.Any], key: str) -> list[t.Any]:
    entries = value.get(key)
    return entries if isinstance(entries, list) else []


def parse(content: bytes) -> Policy:
    """The policy from its verified bytes; PolicyError ``METADATA`` with every mistake."""
    try:
        value = json.loads(content)
    except ValueError as error:
        raise PolicyError("METADATA", "the fleet's policy is not JSON (%s); publish it again" % error) from None
    problems = validate(value)
    if problems:
        raise PolicyError("METADATA", "the fleet's policy has errors: %s; publish it again" % "; ".join(problems))
    return t.cast(Policy, value)


def needed(policy: Policy, words: t.Mapping[str, str], channel: str) -> dict[str, int]:
    """How many approvals of which role a device needs before it takes a release of ``channel``; empty for none.

    ``words`` are the device's identity (name, hardware, site and labels). The first rule that matches counts;
    PolicyError ``APPROVAL`` when none does: a device without a rule takes nothing.
    """
    for rule in policy["rules"]:
        if channel not in rule.get("channels", [channel]):
            continue
        if all(words.get(key) in allowed for key, allowed in rule.get("match", {}).items()):
            return dict(rule["approvals"])
    message = "no rule of the fleet's policy is about %s (channel %s); add one to it"
    raise PolicyError("APPROVAL", message % (words.get("name", "this device"), channel))
