#!/usr/bin/python

# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# DOCUMENTATION ONLY: this is an action, see plugins/action/gate.py

from __future__ import annotations

DOCUMENTATION = r"""
module: gate
short_description: Decide before and after a wave whether the rollout goes on
description:
  - Reads what the journal recorded of all waves against all targets, decides, and records the decision.
  - V(halt) when a device is broken, failures exceed the limits of the plan, or an analysis failed; V(hold) when a wave
    brought no evidence (none of its devices runs the release), an analysis was inconclusive, or an approval is missing;
    else V(promote). The plan's rules can say V(hold) and V(halt) too.
  - Devices of finished waves without an outcome count as lost. Ansible's own failures do not matter.
  - In check mode nothing is recorded, and only failures that real runs recorded count.
version_added: 0.1.0
author:
  - fleet.ota contributors (@fleet-ota)
extends_documentation_fragment:
  - fleet.ota.attributes.controller
  - fleet.ota.control.requirements
options:
  journal:
    description: Path of the rollout's journal, RV(fleet.ota.journal#module:path).
    type: path
    required: true
  point:
    description:
      - V(before) the wave touches its first device, or V(after) all of them.
      - V(turn) before the devices of one batch of it are updated. Which must wait is told in RV(deferred) and recorded
        as C(deferred), unless more is recorded of the device already.
    type: str
    choices: [before, turn, after]
    required: true
  turn:
    description: Index of the batch within the wave, from 0.
    type: int
  wave:
    description: Index of the wave, from 0. The default is the wave that the hosts of the batch belong to.
    type: int
  generation:
    description: The generation of this run. A gate refuses (C(STALE)) when a newer run follows the rollout.
    type: int
  hosts:
    description: For V(turn). Those of the batch that are asked for, by default all.
    type: list
    elements: str
  watching:
    description: For V(before), RV(fleet.ota.journal#module:watching).
    type: bool
    default: true
  bundle:
    description:
      - For V(turn), the saved release that the devices get. Metadata in it that expire within an hour are renewed from
        the repository, so that a rollout may take longer than they hold. Needs O(trust_root).
    type: path
  trust_root:
    description: For V(turn), the pinned root metadata.
    type: path
  open_wave:
    description:
      - For V(before), the wave that is left to those who join it (RV(opened)), instead of being done by this run.
    type: str
  workers:
    description:
      - The workers that update the batches, as for M(fleet.ota.slices). Their forks decide how large batches are.
    type: list
    elements: dict
    default: []
  penalty:
    description:
      - For V(turn). How long a device that failed in an earlier run is left alone. C(first) seconds (default 3600)
        after its first failure, each further time C(factor) (default 2) times as long, up to C(most) seconds (default
        86400). C(first) 0 for no pauses.
    type: dict
  notify:
    description: Who is told, as the guide on notifications says; whoever cannot be reached stops nothing.
    type: list
    elements: dict
    default: []
seealso:
  - module: fleet.ota.plan
  - module: fleet.ota.journal
"""

EXAMPLES = r"""
- name: May the next wave begin?
  fleet.ota.gate:
    journal: "{{ rollout.path }}"
    point: after
  run_once: true
  register: gate

# default(true): a gate that says nothing stops too
- name: Stop all waves without blaming a host
  ansible.builtin.meta: end_play
  when: gate.stop | default(true)
"""

RETURN = r"""
decision:
  description: V(promote), V(hold) or V(halt).
  returned: success
  type: str
reason:
  description: Why, in a sentence.
  returned: success
  type: str
  sample: "1 failed, 0 allowed: dev1 restored"
stop:
  description: Whether nothing more may be touched now.
  returned: success
  type: bool
counts:
  description: Devices by outcome, and C(success), C(failure), C(executed) (their sum).
  returned: success
  type: dict
  sample: {updated: 2, restored: 1, success: 2, failure: 1, executed: 3}
failures:
  description: Devices that count as failed, with C(device), C(outcome), C(code), C(message), C(healthy).
  returned: success
  type: list
  elements: dict
wave:
  description: Index of the wave; null in check mode without a journal.
  returned: success
  type: int
wave_name:
  description: Name of the wave; null in check mode without a journal.
  returned: success
  type: str
hosts:
  description: All hosts of the wave, also those that Ansible dropped.
  returned: success
  type: list
  elements: str
turns:
  description:
    - The batches of the wave, each with its C(index) and its C(hosts), in pieces of as many hosts as Ansible, or
      all workers together, have forks.
  returned: O(point=before) and O(point=after)
  type: list
  elements: dict
turn_of:
  description:
    - For each host with a batch, in a list, the position of that in RV(turns). Empty after the wave.
  returned: O(point=before) and O(point=after)
  type: dict
  sample: {"dev1": [0], "dev2": [0]}
steps:
  description:
    - Which tasks the devices of the wave need. V(hooks) are those of the role C(fleet.ota.update), because one of the
      hosts has tasks of a team, V(devices) one that updates and confirms, V(workers) none, because O(workers) do them.
    - Null for a wave that does not begin.
  returned: O(point=before)
  type: str
watching:
  description: Whether a device of the wave that looks ill afterwards counts against the release.
  returned: O(point=before)
  type: bool
idle:
  description:
    - Whether nothing is to be done in this wave, because all of its devices are as planned and it passed its gate
      before. Then it has no batches and no soak, and nothing is recorded.
  returned: O(point=before) and O(point=after)
  type: bool
opened:
  description:
    - Whether the wave may begin and is left to those who join it, by M(fleet.ota.journal) with
      O(fleet.ota.journal#module:state=joined).
  returned: O(point=before) and O(point=after)
  type: bool
approval_wanted:
  description: Whether the wave waits for nothing but an approval.
  returned: O(point=before) and O(point=after)
  type: bool
roll_back:
  description: Hosts that go back because the rollout is halted, by C(conditions.on_halt).
  returned: O(point=before) and O(point=after)
  type: list
  elements: str
analysis:
  description: What each metric came to, with C(metric), C(verdict), C(reason), C(dry_run), C(measurements).
  returned: O(point=before) and O(point=after)
  type: list
  elements: dict
soak:
  description: Seconds in which the wave is left alone before it is looked at once more; 0 in check mode.
  returned: O(point=before) and O(point=after)
  type: int
go:
  description: Hosts of the batch that may be updated now.
  returned: O(point=turn)
  type: list
  elements: str
deferred:
  description: Hosts of the batch that must wait, with C(device), C(code) and C(message).
  returned: O(point=turn)
  type: list
  elements: dict
"""
