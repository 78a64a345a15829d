# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The fleet's policy as a person writes it, and what it asks of a plan (docs/reference/approval.md)."""

from __future__ import annotations

import json
import pathlib
import typing as t

from ....module_utils._device.documents import approved, policy
from ..base import files, yamlfile
from ..base.errors import RepositoryError
from ..keys import ring

Policy = policy.Policy
TARGET = policy.TARGET


def read(path: pathlib.Path) -> bytes:
    """The policy that the YAML file ``path`` describes, as the bytes to sign; key files in it become public keys.

    Paths of keys are relative to ``path``. Raises :class:`RepositoryError` with ``POLICY`` and every mistake in
    ``detail['problems']``.
    """
    written = yamlfile.load(path)
    problems = policy.validate(written)
    if problems:
        raise RepositoryError(f"{path} has errors: {'; '.join(problems)}", code="POLICY", problems=problems)
    signed = dict(written)
    if "custody" in written:
        signed["custody"] = [
            {**entry, "keys": [_key(path.parent / name) for name in entry["keys"]]} for entry in written["custody"]
        ]
    return files.canonical(signed) + b"\n"


def parse(content: bytes) -> Policy:
    """The policy from its verified bytes. Raises :class:`RepositoryError` with ``POLICY``."""
    try:
        return policy.parse(content)
    except policy.PolicyError as error:
        raise RepositoryError(error.message, code="POLICY") from error


def unknown_or_doubled(rules: Policy, channels: t.Collection[str]) -> list[str]:
    """Mistakes of a policy that nobody would notice: ``channels`` are those of the repository.

    A rule for a channel that is misspelt is never asked, and of a key that stands twice one signature counts.
    """
    problems = []
    named: list[tuple[str, t.Mapping[str, t.Any]]] = [(f"rule {rule['name']}", rule) for rule in rules["rules"]]
    named += [(f"custody of {entry['predicate']}", entry) for entry in rules.get("custody", [])]
    for where, entry in named:
        unknown = [name for name in entry.get("channels", []) if name not in channels]
        if unknown:
            there = ", ".join(sorted(channels)) or "none"
            problems.append(f"{where}: the repository has no channel {', '.join(unknown)}, only {there}")
        keys = [json.dumps(key["keyval"], sort_keys=True) for key in entry.get("keys", []) if isinstance(key, dict)]
        if len(set(keys)) < len(keys):
            problems.append(f"{where}: a key stands twice, and counts once; name it once")
    return problems


def demands(rules: Policy, words: t.Mapping[str, str], channel: str) -> list[approved.Demand]:
    """What a device with this identity asks for, by role. Raises :class:`RepositoryError`."""
    try:
        return approved.demands(rules, words, channel)
    except policy.PolicyError as error:
        raise RepositoryError(error.message, code=error.code) from error


def lines(rules: Policy | None) -> list[str]:
    """The policy for people, one rule a line; empty for none."""
    if rules is None:
        return []
    text = []
    for rule in rules["rules"]:
        who = " and ".join(f"{key} is {' or '.join(allowed)}" for key, allowed in sorted(rule.get("match", {}).items()))
        where = f", channels {', '.join(rule['channels'])}" if "channels" in rule else ""
        asked = " and ".join(f"{count} of {role}" for role, count in sorted(rule["approvals"].items()))
        verdict = f"{asked} approves" if asked else "needs no approval"
        text.append(f"rule {rule['name']}: {who or 'every other device'}{where}: {verdict}")
    text.append(f"who asks may approve: {'yes' if rules.get('requester_may_approve', False) else 'no'}")
    for entry in rules.get("custody", []):
        where = f" in {', '.join(entry['channels'])}" if "channels" in entry else ""
        must = "" if entry.get("required", True) else ", if there is one"
        count = f"{entry.get('threshold', 1)} of {len(entry['keys'])} keys"
        text.append(f"custody{where}: {entry['predicate']} by {count}{must}")
    return text


def _key(path: pathlib.Path) -> dict[str, t.Any]:
    key = ring.public(path)
    return {"keyid": key.keyid, **key.to_dict()}
