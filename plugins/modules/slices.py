#!/usr/bin/python

# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# DOCUMENTATION ONLY: this is an action, see plugins/action/slices.py

from __future__ import annotations

DOCUMENTATION = r"""
module: slices
short_description: Update devices by several machines, with one journal
description:
  - Gives each of several machines (I(workers)) a slice of the devices and lets it update them with the role
    C(fleet.ota.update) of this very collection, by the C(transmit), C(worker) and C(process) of ansible-runner.
  - Every device is recorded as pending before its slice begins, and what a worker records of it is adopted by the
    rollout's journal as soon as it is written there.
  - The devices of a worker that is gone, and that no outcome came of, are taken over by the others, and by this machine
    if none is left. Whoever takes over asks a device first what became of it.
version_added: 0.1.0
author:
  - fleet.ota contributors (@fleet-ota)
extends_documentation_fragment:
  - fleet.ota.attributes.controller
requirements:
  - ansible-runner here, ansible-core and ansible-runner on each worker
options:
  state:
    description:
      - V(done) lets workers update O(hosts). V(checked) only checks whether they could, and touches no device.
    type: str
    choices: [checked, done]
    default: done
  workers:
    description: The machines, each with O(workers[].host) or O(workers[].command).
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What it is called in the journal.
        type: str
        required: true
      host:
        description: Where it is reached by SSH, without a password and with a known host key.
        type: str
      user:
        description: The user that logs in there.
        type: str
      port:
        description: The port of its SSH server.
        type: int
      key:
        description: The private key of that login on this machine.
        type: path
      ssh:
        description: The program that is called for SSH, by default C(ssh).
        type: str
      ssh_args:
        description: More arguments for it.
        type: list
        elements: str
      command:
        description:
          - Instead of O(workers[].host), the command that runs its further arguments on that machine, as
            C(podman exec -i runner) does.
        type: list
        elements: str
      runner:
        description:
          - The program ansible-runner there, by default C(ansible-runner) on the PATH. The ansible-playbook beside a
            program with a folder is taken.
        type: str
      forks:
        description:
          - How many devices it works on at a time, by default as many as Ansible does here. One that takes over from
            another has up to twice as many.
        type: int
      variables:
        description: What devices have on this worker instead of what the inventory says.
        type: dict
  files:
    description:
      - A folder with the team's own files (hooks, roles, collections, C(ansible.cfg)); on each worker it is the folder
        of the playbook. Hooks must lie in it. What its links lead to travels in their place.
    type: path
  silence:
    description: Seconds without any sign after which a worker counts as gone.
    type: float
    default: 120
  hosts:
    description: The devices. For V(checked), by default all of the play.
    type: list
    elements: str
  journal:
    description: Path of the rollout's journal, RV(fleet.ota.journal#module:path).
    type: path
  generation:
    description:
      - The generation of this run. Nothing more is given to workers (C(STALE)) when a newer one follows the rollout.
    type: int
    default: 0
  bundle:
    description: The file with the verified release, RV(fleet.ota.plan#module:bundle).
    type: path
notes:
  - A worker gets the variables of its devices with all their secrets, the private keys of devices that the inventory
    names, and the release with its payloads, through the connection to it and into a folder that only its user may
    read. The folder is removed when the slice is over.
  - What is given to C(ansible-playbook) on the command line or in C(ansible.cfg) does not reach workers; variables do.
seealso:
  - module: fleet.ota.gate
  - module: fleet.ota.update
  - module: fleet.ota.journal
"""

EXAMPLES = r"""
- name: Update the devices of the turn on two machines
  fleet.ota.slices:
    workers:
      - {name: north, host: runner-north.example, user: ota, forks: 200}
      - {name: south, host: runner-south.example, user: ota, forks: 100, runner: /opt/ota/bin/ansible-runner}
    hosts: "{{ now.go }}"
    journal: "{{ rollout.path }}"
    generation: "{{ rollout.generation }}"
    bundle: "{{ rollout.bundle }}"
  run_once: true
"""

RETURN = r"""
outcomes:
  description: What came of each device.
  returned: O(state=done)
  type: dict
  sample: {d1: updated, d2: restored}
open:
  description: Devices that no outcome came of. They count as lost until they are asked.
  returned: O(state=done)
  type: list
  elements: str
slices:
  description:
    - Each slice with its C(worker), its C(devices), those that stayed C(open), and the C(reason) if any did. The worker
      C(controller) is this machine.
  returned: O(state=done)
  type: list
  elements: dict
forks:
  description: How many devices all workers together work on at a time.
  returned: O(state=checked)
  type: int
"""
