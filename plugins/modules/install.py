# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of C(fleet.ota.install), whose work is done by the action of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: install
short_description: Verify and install a release without a transaction
description:
  - Verifies and installs in one step under one lock. There is no snapshot, no guard and no health check. It is for
    teams that bring their own way back; everybody else takes M(fleet.ota.update).
  - The device does not count such an install as confirmed.
version_added: 0.1.0
author:
  - fleet.ota contributors (@fleet-ota)
extends_documentation_fragment:
  - fleet.ota.attributes.device
  - fleet.ota.attributes.diff
  - fleet.ota.device
  - fleet.ota.release
  - fleet.ota.release.tls
  - fleet.ota.device.retry
  - fleet.ota.device.repair
  - fleet.ota.device.transfer
options: {}
seealso:
  - module: fleet.ota.update
  - module: fleet.ota.snapshot
"""

EXAMPLES = r"""
- name: Keep the state before, by name
  fleet.ota.snapshot:
    name: before-gateway
    paths: [/opt/gateway, /etc/gateway]

- name: Install
  fleet.ota.install:
    bundle: "{{ release.bundle }}"
"""

RETURN = r"""
release:
  description: C(name), C(version), C(counter) and C(digest) of the release.
  returned: success
  type: dict
  sample: {name: gateway, version: "2.0", counter: 2, digest: 1a2b3c4d}
code:
  description: Why it failed, a code of the outcomes reference.
  returned: failure
  type: str
  sample: HASH_MISMATCH
"""
