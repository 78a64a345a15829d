#!/usr/bin/python

# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# DOCUMENTATION ONLY: this is an action, see plugins/action/census.py

from __future__ import annotations

DOCUMENTATION = r"""
module: census
short_description: Tell the fleet in one table
description:
  - Puts what M(fleet.ota.info) registered for each host side by side, with where rollouts have it, and counts releases.
  - A host that gave no answer is a row too. What is not known is null, and C(unknown) in the lines.
  - Changes nothing.
version_added: 0.1.0
author:
  - fleet.ota contributors (@fleet-ota)
extends_documentation_fragment:
  - fleet.ota.attributes.controller
  - fleet.ota.control.requirements
options:
  hosts:
    description: The hosts of the table, in its order. The default is all hosts of the play.
    type: list
    elements: str
  info:
    description:
      - For each host what M(fleet.ota.info) registered, failed and unreachable ones too. The default is what each host
        has registered as C(fleet_ota_info).
    type: dict
  health:
    description:
      - For each host what M(fleet.ota.health) registered, if it was asked. The default is what each host has registered
        as C(fleet_ota_health).
    type: dict
  journal_dir:
    description:
      - Directory of all journals. Of each host the newest rollout that plans it is told, without ways back; also the
        health that it showed there when last seen, where O(health) does not say.
    type: path
seealso:
  - module: fleet.ota.info
  - module: fleet.ota.journal
"""

EXAMPLES = r"""
- name: Put the answers side by side
  fleet.ota.census:
    info: "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars, 'device'))) }}"
    journal_dir: /var/lib/fleet-ota/journals
  register: fleet
  run_once: true

- name: Show it
  ansible.builtin.debug:
    var: fleet.summary_lines
  run_once: true
"""

RETURN = r"""
devices:
  description:
    - A row for each host with C(device), C(reached), C(problem) (why nothing is known, else null), C(enrolled),
      C(releases) and C(previous) (lists of name and version), C(transaction) (C(state), C(outcome), C(code),
      C(rollout) of the last one), C(waiting) (whether it is not at its end), C(healthy), C(rollout), C(wave),
      C(outcome) (there; null if untouched), and C(ahead) (whether it witnessed more of that rollout's journal than
      there is).
  returned: success
  type: list
  elements: dict
totals:
  description: How many hosts run each release; C(no release) and C(unknown) count too.
  returned: success
  type: dict
  sample: {gateway 2.0: 41, gateway 1.9: 2, unknown: 1}
unreached:
  description: Hosts that could not be reached.
  returned: success
  type: list
  elements: str
problems:
  description:
    - Journals that cannot be read, and why. Where devices, or other journals, tell another story than a journal.
  returned: success
  type: list
  elements: str
summary_lines:
  description: The table, the totals and what is wrong, one line each.
  returned: success
  type: list
  elements: str
"""
