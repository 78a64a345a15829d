# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of C(fleet.ota.info), whose work is done by the action of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: info
short_description: Ask a device for its own truth
description:
  - Identity, installed releases, rejected releases, the open or last transaction, and what the device can do.
  - Changes nothing. The answer comes from the device's own disk, never from a cache.
version_added: 0.1.0
author:
  - fleet.ota contributors (@fleet-ota)
extends_documentation_fragment:
  - fleet.ota.attributes.device
  - fleet.ota.attributes.no_diff
  - fleet.ota.device
options:
  logs:
    description:
      - Also bring the logs of the last transaction. Of each the newest 64 KiB are returned; values that look like
        passwords, tokens or keys are masked.
    type: bool
    default: false
  transaction:
    description:
      - With O(logs), the id of the transaction whose logs are meant. A device keeps those of its last transaction only;
        for any other one it refuses with C(NO_PREVIOUS).
    type: str
seealso:
  - module: fleet.ota.update
  - module: fleet.ota.health
"""

EXAMPLES = r"""
- name: Ask
  fleet.ota.info:
  register: device

- name: Show it in one line
  ansible.builtin.debug:
    var: device.summary

- name: Ask for the logs of its last transaction
  fleet.ota.info:
    logs: true
  register: device

- name: Show what its steps and programs said
  ansible.builtin.debug:
    msg: "{{ device.logs.log }}"
"""

RETURN = r"""
summary:
  description: The device in one line.
  returned: success
  type: str
  sample: gateway 2.0, last transaction updated
identity:
  description: C(name), C(hardware), C(site), C(labels); null before it is enrolled.
  returned: success
  type: dict
enrolled:
  description: Whether a trust root is pinned.
  returned: success
  type: bool
instance:
  description: The random id of this enrolment; two devices that show the same one are copies of each other.
  returned: success
  type: str
releases:
  description: For each release name C(current), C(previous) and C(counter), the highest counter confirmed.
  returned: success
  type: dict
rejected:
  description: Digests of releases that failed here, with C(code), C(message) and C(time).
  returned: success
  type: dict
transaction:
  description: The open or last transaction, as the engine reference describes it; null if there was none.
  returned: success
  type: dict
witness:
  description:
    - Checkpoints of the rollout journals that the device has witnessed last, RV(fleet.ota.journal#module:checkpoint).
  returned: success
  type: list
  elements: dict
capabilities:
  description: Payload types, checks, kinds of snapshot, guard, Python, architecture, free bytes.
  returned: success
  type: dict
logs:
  description:
    - The logs of a transaction, without secrets. C(log) is of its steps and of the programs that they ran, both outputs
      whole; C(worker) and C(guard) are what these processes themselves said. C(cut) names those that are longer.
  returned: with O(logs)
  type: dict
  sample: {transaction: 4d1f0c2b9a77, log: "...", worker: "", guard: "", cut: []}
code:
  description: Why it failed, a code of the outcomes reference.
  returned: failure
  type: str
  sample: HASH_MISMATCH
"""
