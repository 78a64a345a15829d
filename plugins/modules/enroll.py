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
  - O(tls) and O(sealed) that are not given leave what the device has.
version_added: 0.1.0
author:
  - fleet.ota contributors (@fleet-ota)
extends_documentation_fragment:
  - fleet.ota.attributes.device
  - fleet.ota.attributes.diff
  - fleet.ota.device
options:
  identity:
    description: The device's identity.
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
  tls:
    description:
      - How the device talks to https mirrors, PEM files on the controller. They lie on the device for root only.
      - What is left out is removed from the device; V({}) removes all.
    type: dict
    suboptions:
      ca:
        description: The only CA that mirrors are believed by. Without it, the device's own store.
        type: path
      certificate:
        description: The device's client certificate, with intermediates if need be.
        type: path
      key:
        description: The private key of O(tls.certificate), without a passphrase.
        type: path
  sealed:
    description:
      - Seals the device. From then on O(sealed.login) may run one root-owned program and nothing else, and that program
        holds the controller to these settings. Needs admin rights and sudo on the device.
      - Running it again with admin rights also renews the engine of a sealed device.
    type: dict
    suboptions:
      login:
        description: The login of the controller; it must exist, and be in no group but its own.
        type: str
        required: true
      require_approval:
        description: Whether a release needs an approved plan. The device's default is true.
        type: bool
      rollback:
        description: Whether the controller may go back from a confirmed release. The device's default is false.
        type: bool
      retry_rejected:
        description: Whether it may offer a release again that failed here. The device's default is false.
        type: bool
      protect:
        description: Absolute paths that it may name under C(protect). The device's default is none.
        type: list
        elements: str
      mirrors:
        description: URLs of repositories from which it may let the device pull. The device's default is none.
        type: list
        elements: str
      longest_deadline:
        description: Seconds that it may leave the device unconfirmed. The device's default is 86400.
        type: int
      inbox_bytes:
        description: Bytes that it may stage. The device's default is 4294967296.
        type: int
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
