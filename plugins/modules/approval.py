#!/usr/bin/python

# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# DOCUMENTATION ONLY: this is an action, see plugins/action/approval.py

from __future__ import annotations

DOCUMENTATION = r"""
module: approval
short_description: Ask for approvals of a rollout, show, sign, deny and revoke them
description:
  - An approval is a rollout's plan that people sign. Devices take a release only with the approvals that the fleet's
    policy asks for, and check them themselves.
  - V(requested) lays the plan before the approvers of each role, V(shown) tells what waits for signatures and exactly
    what would be signed, V(signed) adds signatures, V(denied) records a denial and its reason.
  - V(revoked) takes back approvals that are in force. The role's threshold of people signs that, too. What lacks
    signatures waits, and others sign it as they sign an approval. A running rollout stops before its next turn.
  - V(signed) signs what the keys at hand may sign, and leaves other approvals to others.
  - A signed approval is put in force as soon as enough people have signed and the keys of snapshot and timestamp are
    at hand.
version_added: 0.1.0
author:
  - fleet.ota contributors (@fleet-ota)
extends_documentation_fragment:
  - fleet.ota.attributes.controller
  - fleet.ota.control.requirements
  - fleet.ota.control.signing
options:
  state:
    description: What to do.
    type: str
    choices: [shown, requested, signed, denied, revoked]
    default: shown
  repository:
    description: The repository's directory.
    type: path
    required: true
  trust_root:
    description:
      - The file with the pinned root metadata, outside the repository. The repository is verified from it before
        anything is read or signed, so that a repository that an attacker replaced is refused.
      - A directory that does not hold the repository of this root (not mounted, misspelt) is refused, too.
    type: path
    required: true
  plan:
    description: The plan to approve, as M(fleet.ota.plan) returns it. Required for V(requested).
    type: dict
  roles:
    description: The roles to ask, such as the keys of C(approvals) of M(fleet.ota.plan). Required for V(requested).
    type: list
    elements: str
  wave:
    description: For V(requested), the one wave of the plan that is to begin; without it the whole plan.
    type: str
  requested_by:
    description: For V(requested) and V(revoked), the requester. The default is the controller's user.
    type: str
  requested_by_key:
    description:
      - A key of the requester, if they hold one of a role themselves; its public half is enough.
      - Signatures by this key do not count, unless the fleet's policy lets them.
    type: str
  hours:
    description: For V(requested), how long the approval holds.
    type: float
    default: 72
  proposals:
    description:
      - Ids of the approvals, as V(shown) returns them. An id stands for the very bytes that are to be signed.
      - Required for V(signed) and V(denied); limits V(shown).
    type: list
    elements: str
  rollout:
    description: Only approvals of this rollout. Required for V(revoked).
    type: str
  remark:
    description: What approvers should know, or why it is denied or revoked. Required for V(denied) and V(revoked).
    type: str
  by:
    description: The person who denies. Required for V(denied).
    type: str
seealso:
  - module: fleet.ota.plan
  - module: fleet.ota.policy
"""

EXAMPLES = r"""
- name: Ask for approval of what was planned
  fleet.ota.approval:
    state: requested
    repository: /srv/ota/repository
    trust_root: /srv/ota/root.json
    plan: "{{ planned.plan }}"
    roles: "{{ planned.approvals | list }}"
    requested_by: anna
    remark: Fixes the leak of ticket 4711
  run_once: true

- name: See what waits
  fleet.ota.approval:
    repository: /srv/ota/repository
    trust_root: /srv/ota/root.json
  register: waiting
  run_once: true

- name: Sign it
  fleet.ota.approval:
    state: signed
    repository: /srv/ota/repository
    trust_root: /srv/ota/root.json
    proposals: "{{ waiting.ids }}"
    keys: [/media/stick/ben.pem]
  run_once: true

- name: Or do not
  fleet.ota.approval:
    state: denied
    repository: /srv/ota/repository
    trust_root: /srv/ota/root.json
    proposals: "{{ waiting.ids }}"
    by: ben
    remark: Not in the week of the audit
  run_once: true

- name: Take back what is in force
  fleet.ota.approval:
    state: revoked
    repository: /srv/ota/repository
    trust_root: /srv/ota/root.json
    rollout: gateway-2.0-1a2b3c4d
    remark: The bench found a leak
    keys: [/media/stick/ben.pem]
  run_once: true
"""

RETURN = r"""
approvals:
  description: The approvals that this was about.
  returned: success
  type: list
  elements: dict
  contains:
    id: {description: The proposal's id., type: str, returned: success}
    state: {description: "V(open), V(ready), V(applied) or V(denied).", type: str, returned: success}
    lines: {description: Exactly what would be signed., type: list, elements: str, returned: success}
    roles: {description: Keys that signed and keys that may sign., type: list, elements: dict, returned: success}
ids:
  description: Their ids.
  returned: success
  type: list
  elements: str
  sample: [approvals-3-1a2b3c4d5e6f7a8b]
summary_lines:
  description: All of it for people.
  returned: success
  type: list
  elements: str
"""
