#!/usr/bin/python

# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# DOCUMENTATION ONLY: this is an action, see plugins/action/proposal.py

from __future__ import annotations

DOCUMENTATION = r"""
module: proposal
short_description: Sign, apply, deny, withdraw and show changes of a repository that wait for signatures
description:
  - A change of a repository that lacks signatures waits in it as a proposal, in plain files below C(proposals/). Every
    signer adds a signature on their own machine, with the repository shared by git, NFS or rsync. When the thresholds
    of all roles concerned are met, it can take effect.
  - Before anything is signed, the repository, the signatures that are there and the content are verified. What a
    signature covers is told by the diff, from the metadata itself; title, details and remarks are for people and not
    signed.
  - A proposal's id stands for the very bytes that are signed.
version_added: 0.1.0
author:
  - fleet.ota contributors (@fleet-ota)
extends_documentation_fragment:
  - fleet.ota.attributes.controller
  - fleet.ota.control.requirements
  - fleet.ota.control.signing
options:
  state:
    description:
      - V(signed) adds the signatures of the keys at hand that belong to the roles; those that signed already change
        nothing.
      - V(applied) puts it in force; needs the keys of snapshot and timestamp.
      - V(denied) and V(withdrawn) end it for good, with a remark.
      - V(shown) changes nothing and tells what waits, or with O(id) about that one.
    type: str
    choices: [signed, applied, denied, withdrawn, shown]
    default: signed
  repository:
    description: The repository's directory.
    type: path
    required: true
  id:
    description: The proposal, for example V(stable-7-0a1b2c3d4e5f6071). Required for all states but V(shown).
    type: str
  apply:
    description: For V(signed), put it in force when it was the last signature and the keys of snapshot and timestamp
      are at hand too.
    type: bool
    default: true
  remark:
    description: What the others should read. Required for V(denied).
    type: str
    default: ''
  by:
    description: The person who denies or withdraws. The default is the controller's user.
    type: str
  trust_root:
    description:
      - The file with the pinned root metadata, outside the repository. The repository is verified from it before
        anything is read or signed, so that a repository that an attacker replaced is refused.
      - A directory that does not hold the repository of this root (not mounted, misspelt) is refused, too.
    type: path
    required: true
seealso:
  - module: fleet.ota.repository
  - module: fleet.ota.release
"""

EXAMPLES = r"""
- name: Look at what waits
  fleet.ota.proposal:
    repository: ota/repository
    trust_root: /srv/ota/root.json
    state: shown
  run_once: true
  register: waiting

- name: Sign with a key of the SSH agent
  fleet.ota.proposal:
    repository: ota/repository
    trust_root: /srv/ota/root.json
    id: stable-7-0a1b2c3d4e5f6071
    keys: ["ssh-agent:"]
    remark: tested on the bench
  run_once: true

- name: Put it in force where the online keys are
  fleet.ota.proposal:
    repository: ota/repository
    trust_root: /srv/ota/root.json
    id: stable-7-0a1b2c3d4e5f6071
    state: applied
    keys: [/srv/ota/online]
  run_once: true

- name: Not this one
  fleet.ota.proposal:
    repository: ota/repository
    trust_root: /srv/ota/root.json
    id: stable-7-0a1b2c3d4e5f6071
    state: denied
    remark: it was never tried on model B
  run_once: true
"""

RETURN = r"""
proposal:
  description: The proposal afterwards.
  returned: all states but V(shown)
  type: dict
  contains: &proposal
    id: {description: Its id., type: str, returned: success}
    kind: {description: "V(release), V(document), V(roles), V(renewal) or V(repository).", type: str, returned: success}
    title: {description: What people wrote above it., type: str, returned: success}
    requested_by: {description: The requester., type: str, returned: success}
    requested_at: {description: When., type: str, returned: success}
    expires: {description: Until when it may be signed., type: str, returned: success}
    details: {description: Further details for people., type: dict, returned: success}
    state:
      description: V(open), V(ready), V(applied), V(denied), V(withdrawn), V(expired), V(stale) or V(damaged).
      type: str
      returned: success
    reason: {description: Why it can no longer be signed., type: str, returned: success}
    remarks:
      description: The actions of people, each with C(by), C(at), C(action) and C(text).
      type: list
      elements: dict
      returned: success
    roles:
      description: What every role needs, each with C(role), C(threshold), C(have), C(met), C(signed), C(missing), and
        C(previous) for what the root before demands.
      type: list
      elements: dict
      returned: success
proposals:
  description: All proposals, or the one.
  returned: for V(shown)
  type: list
  elements: dict
  contains: *proposal
content:
  description: What the proposed metadata says, as lines; for V(shown) what is new in it, by id.
  returned: success
  type: raw
removed:
  description: What it no longer says, by id.
  returned: for V(shown)
  type: dict
lines:
  description: The proposals as lines for people.
  returned: for V(shown)
  type: list
  elements: str
"""
