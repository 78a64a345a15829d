# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of C(fleet.ota.enroll), whose work is done by the action of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: enroll
short_description: Give a device its identity and pin its trust root
description:
  - The identity is what releases are compared with, never an inventory variable.
  - A trust root that is pinned already stays; another root of the same version is refused.
version_added: 0.1.0
author:
  - fleet.ota contributors (@fleet-ota)
extends_documentation_fragment:
  - fleet.ota.attributes.device
  - fleet.ota.attributes.diff
  - fleet.ota.device
options:
  identity:
    description: Who the device is.
    type: dict
    required: true
    suboptions:
      name:
        description: Its name; the inventory's by default.
        type: str
      hardware:
        description: The kind of hardware, as releases name it under C(compatible).
        type: str
        required: true
      site:
        description: Where it stands.
        type: str
        default: ""
      labels:
        description: Further facts, for C(compatible) and for C(${word}) in health checks.
        type: dict
        default: {}
  trust_root:
    description: The root.json to pin, a file on the controller.
    type: path
    required: true
seealso:
  - module: fleet.ota.info
  - module: fleet.ota.verify
"""

EXAMPLES = r"""
- name: Enroll
  fleet.ota.enroll:
    identity:
      hardware: edge-gw-1
      site: north
    trust_root: files/root.json
"""

RETURN = r"""
root_version:
  description: The version of the root that the device trusts.
  returned: success
  type: int
code:
  description: Why it failed, a code of the outcomes reference.
  returned: failure
  type: str
  sample: HASH_MISMATCH
"""
