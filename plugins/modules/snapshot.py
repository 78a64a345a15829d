# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of C(fleet.ota.snapshot), whose work is done by the action of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot
short_description: Make snapshots of paths on a device, and put them back
description:
  - Content, owner, mode, times, extended attributes and hard links of the paths and all below them. A snapshot is
    read back whole before it counts as made, and a restore is compared with it afterwards.
  - Snapshots of transactions are the engine's own and cannot be touched by this module.
version_added: 0.1.0
author:
  - fleet.ota contributors (@fleet-ota)
extends_documentation_fragment:
  - fleet.ota.attributes.device
  - fleet.ota.attributes.no_diff
  - fleet.ota.device
options:
  state:
    description:
      - V(present) makes it unless there is one of that O(name); V(absent) removes it.
      - V(restored) puts back what differs, and proves it; V(proven) reads the snapshot whole.
      - V(listed) returns all.
    type: str
    choices: [present, absent, restored, proven, listed]
    default: present
  name:
    description: Its name, letters, digits, C(.), C(_) and C(-).
    type: str
  paths:
    description: Absolute paths to include, with all below them.
    type: list
    elements: str
  kind:
    description: How. V(auto) takes V(btrfs) or V(lvm) where the root file system allows it, else V(files).
    type: str
    choices: [auto, files, btrfs, lvm]
    default: auto
seealso:
  - module: fleet.ota.update
  - module: fleet.ota.install
"""

EXAMPLES = r"""
- name: Before the technician comes
  fleet.ota.snapshot:
    name: before-visit
    paths: [/etc, /opt/line]

- name: And back
  fleet.ota.snapshot:
    name: before-visit
    state: restored
"""

RETURN = r"""
snapshots:
  description: The snapshots that people made, with C(id), C(kind), C(created).
  returned: for V(listed) and when nothing had to be done
  type: list
  elements: dict
kind:
  description: How it was made.
  returned: when one was made
  type: str
paths:
  description: What was put back.
  returned: for V(restored)
  type: list
  elements: str
code:
  description: Why it failed, a code of the outcomes reference.
  returned: failure
  type: str
  sample: HASH_MISMATCH
"""
