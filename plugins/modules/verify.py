# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of C(fleet.ota.verify), whose work is done by the action of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: verify
short_description: Ask whether a device would take a release
description:
  - The device verifies signatures up to their thresholds from its own pinned root, freshness, versions against what
    it has seen, its identity against the release, and its memory of failed releases.
  - Changes nothing on the device.
version_added: 0.1.0
author:
  - fleet.ota contributors (@fleet-ota)
extends_documentation_fragment:
  - fleet.ota.attributes.device
  - fleet.ota.attributes.no_diff
  - fleet.ota.device
  - fleet.ota.release
  - fleet.ota.release.tls
  - fleet.ota.device.retry
options: {}
seealso:
  - module: fleet.ota.release
  - module: fleet.ota.update
"""

EXAMPLES = r"""
- name: Would it be taken?
  fleet.ota.verify:
    release: gateway/2.0
    channel: stable
    repository: /srv/ota/repository
    trust_root: files/root.json
"""

RETURN = r"""
release:
  description: C(name), C(version), C(counter) and C(digest) of the release.
  returned: success
  type: dict
  sample: {name: gateway, version: "2.0", counter: 2, digest: 1a2b3c4d}
verdict:
  description: C(channel), C(target), C(threshold) (such as C(2 of 3)) and C(root_version) that vouch for it.
  returned: success
  type: dict
code:
  description: Why it failed, a code of the outcomes reference.
  returned: failure
  type: str
  sample: HASH_MISMATCH
"""
