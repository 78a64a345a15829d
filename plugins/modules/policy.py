#!/usr/bin/python

# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# DOCUMENTATION ONLY: this is an action, see plugins/action/policy.py

from __future__ import annotations

DOCUMENTATION = r"""
module: policy
short_description: Publish the fleet's policy
description:
  - The policy says how many people of which role approve a rollout to which devices, and which statements about its
    making a release needs. Controllers and devices follow the newest one.
  - It is signed by the top-level C(targets) role. The same policy again changes nothing.
version_added: 0.1.0
author:
  - fleet.ota contributors (@fleet-ota)
extends_documentation_fragment:
  - fleet.ota.attributes.controller
  - fleet.ota.control.requirements
  - fleet.ota.control.signing
  - fleet.ota.control.proposing
options:
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
  source:
    description: The policy, a YAML file as the approval reference describes it. Key files in it are relative to it.
    type: path
    required: true
seealso:
  - module: fleet.ota.approval
  - module: fleet.ota.repository
"""

EXAMPLES = r"""
- name: Two people approve what goes to production
  fleet.ota.policy:
    repository: /srv/ota/repository
    trust_root: /srv/ota/root.json
    source: policy.yml
    keys: [/media/stick/targets.pem, /srv/ota/keys]
  run_once: true
"""

RETURN = r"""
proposal:
  description: The id of the proposal if it waits for further signatures, otherwise null.
  returned: success
  type: str
summary_lines:
  description: The policy for people.
  returned: success
  type: list
  elements: str
  sample: ["rule production: every other device: 2 of approvals approves", "who asks may approve: no"]
"""
