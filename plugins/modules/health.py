# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of C(fleet.ota.health), whose work is done by the action of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health
short_description: Check the health of a device
description:
  - Runs checks on the device until each passed several times in a row, or the time is over. Inconclusive is not
    healthy.
  - Without O(checks), those of every release that is confirmed on the device.
version_added: 0.1.0
author:
  - fleet.ota contributors (@fleet-ota)
extends_documentation_fragment:
  - fleet.ota.attributes.device
  - fleet.ota.attributes.no_diff
  - fleet.ota.device
options:
  checks:
    description: The checks, each with C(name), C(type) and its own keys, as the guide to health describes them.
    type: list
    elements: dict
  passes:
    description: With O(checks), passes in a row that make a check healthy.
    type: int
    default: 2
  interval:
    description: With O(checks), seconds between two looks.
    type: float
    default: 1.0
  timeout:
    description: With O(checks), seconds after which a check that has not passed is a failure.
    type: float
    default: 60.0
  settle:
    description: With O(checks), seconds before the first look.
    type: float
    default: 0.0
seealso:
  - module: fleet.ota.update
  - module: fleet.ota.info
"""

EXAMPLES = r"""
- name: Is it well?
  fleet.ota.health:

- name: Does the line controller answer?
  fleet.ota.health:
    checks:
      - {name: plc, type: tcp, host: 192.0.2.7, port: 502}
    timeout: 10

- name: Is there room, and is the service quiet?
  fleet.ota.health:
    checks:
      - {name: room, type: resources, memory_available: 50000000, free_space: 100000000}
      - {name: quiet, type: journal, unit: gateway.service, priority: err, window: 60}
      - {name: ready, type: file, path: /run/gateway/ready}
    settle: 5
"""

RETURN = r"""
healthy:
  description: Whether every check passed.
  returned: always
  type: bool
checks:
  description: For each check C(ok), C(reason) and what was C(measured).
  returned: always
  type: dict
code:
  description: Why it failed, a code of the outcomes reference.
  returned: failure
  type: str
  sample: HASH_MISMATCH
"""
