# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of C(fleet.ota.stage), whose work is done by the action of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stage
short_description: Bring payloads to a device ahead of time
description:
  - Nothing is installed. What is staged is checked when it arrives and again when it is used.
  - Staging that was cut off goes on where it ended.
version_added: 0.1.0
author:
  - fleet.ota contributors (@fleet-ota)
extends_documentation_fragment:
  - fleet.ota.attributes.device
  - fleet.ota.attributes.no_diff
  - fleet.ota.device
  - fleet.ota.release
  - fleet.ota.release.tls
  - fleet.ota.device.transfer
options:
  window_end:
    description:
      - The moment, as C(2030-03-07T05:00:00Z), after which nothing is begun; RV(fleet.ota.plan#module:download_until)
        says it of each device. What has begun by then goes on to its end.
      - It is looked at when the task begins, and again right before payloads are sent or pulled, after O(splay). A
        device that comes too late is skipped.
    type: str
seealso:
  - module: fleet.ota.update
  - module: fleet.ota.release
"""

EXAMPLES = r"""
- name: At night, bring tomorrow's release
  fleet.ota.stage:
    bundle: "{{ release.bundle }}"
    transfer: pull
    mirrors: [https://mirror.plant.example/ota]
"""

RETURN = r"""
staged:
  description: Names of the payload files that were (or would be) brought.
  returned: success
  type: list
  elements: str
bytes:
  description: How many bytes that were.
  returned: success
  type: int
msg:
  description: Why nothing was brought, and what to do.
  returned: failure, or after O(window_end)
  type: str
code:
  description: Why it failed, a code of the outcomes reference.
  returned: failure
  type: str
  sample: HASH_MISMATCH
"""
