#!/usr/bin/python

# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# DOCUMENTATION ONLY: this is an action, see plugins/action/awx.py

from __future__ import annotations

DOCUMENTATION = r"""
module: awx
short_description: Write a plan as a workflow of AWX
description:
  - Makes a playbook of the collection C(awx.awx) from a plan, with two job templates, a workflow with a survey, and a
    schedule. Nothing is sent to AWX; run the playbook for that.
  - The workflow plans first, then has a node for each wave, one after the other. An approval node comes before a wave
    with C(approval).
  - A user who launches the workflow can answer its survey only, so that no variable passes an approval node.
  - A run under C(--limit) is refused, because the jobs plan for all targets and would come to another plan.
  - Every mistake is reported at once, and then nothing is written.
version_added: 0.1.0
author:
  - fleet.ota contributors (@fleet-ota)
extends_documentation_fragment:
  - fleet.ota.attributes.controller
  - fleet.ota.control.requirements
options:
  plan:
    description: The plan, RV(fleet.ota.plan#module:plan).
    type: dict
    required: true
  dest:
    description: The file for the playbook. Without it the playbook is only returned.
    type: path
  organization:
    description: Name of the organization in AWX.
    type: str
    required: true
  project:
    description: Name of the project in AWX.
    type: str
    required: true
  inventory:
    description: Name of the inventory in AWX; the one of the plan.
    type: str
    required: true
  variables:
    description:
      - The variables of the rollout, at least C(fleet_ota_repository), C(fleet_ota_trust_root), C(fleet_ota_channel),
        C(fleet_ota_release) and C(fleet_ota_journal_dir), and those that the plan was made with. The jobs take the very
        release of the plan.
      - AWX shows them to every user who may see the job templates. Secrets belong into O(credentials).
    type: dict
    required: true
  extra_variables:
    description:
      - Whether the extra variables (C(-e)) of this run that a rollout knows are handed on too, as they were given.
        O(variables) comes before them. Those of the inventory are where the jobs find them.
      - Encrypted ones and addresses with credentials are refused, for C(fleet_ota_notify) also those with a path, query
        or fragment.
    type: bool
    default: false
  execution_environment:
    description: Name of the execution environment, with this collection and what it requires.
    type: str
  credentials:
    description: Names of credentials of the jobs.
    type: list
    elements: str
    default: []
  schedule:
    description: When the workflow is started, as AWX takes it, C(DTSTART) and C(RRULE) with C(INTERVAL) in one line.
    type: str
  prefix:
    description: What the names of the job templates and the workflow begin with, before the name of the rollout.
    type: str
    default: fleet.ota
  approval_timeout:
    description: Seconds after which a missing approval fails; 0 for never.
    type: int
    default: 0
  plan_playbook:
    description:
      - The playbook of the planning. AWX takes a name that is no file of the project only if the project allows branch
        override; else name a file that imports it.
    type: str
    default: fleet.ota.plan
  rollout_playbook:
    description: The playbook of the rollout, as O(plan_playbook).
    type: str
    default: fleet.ota.rollout
  slices:
    description:
      - By how many jobs at once, each with a part of the inventory (AWX's job slicing), a wave is done. Waves that go
        in several turns, and those of one device, are done by one.
    type: int
    default: 1
  join_playbook:
    description: The playbook of these jobs, as O(plan_playbook).
    type: str
    default: fleet.ota.join
  become:
    description:
      - Whether the jobs become root (privilege escalation of the job templates). The default is what this task does,
        and so what C(--become) of its run said.
    type: bool
  forks:
    description: How many devices a job works on at a time. The default is that of this run (C(--forks)).
    type: int
seealso:
  - module: fleet.ota.plan
  - module: fleet.ota.gate
"""

EXAMPLES = r"""
- name: Write the workflow
  fleet.ota.awx:
    plan: "{{ planned.plan }}"
    dest: awx/rollout.yml
    organization: Plant
    project: Fleet
    inventory: Gateways
    credentials: [Device SSH]
    schedule: DTSTART;TZID=Europe/Berlin:20300107T220000 RRULE:FREQ=WEEKLY;INTERVAL=1;BYDAY=MO
    variables:
      fleet_ota_repository: https://ota.example.com
      fleet_ota_trust_root: /etc/fleet-ota/root.json
      fleet_ota_channel: stable
      fleet_ota_release: gateway/2.0
      fleet_ota_journal_dir: /var/lib/fleet-ota/journals
  run_once: true
"""

RETURN = r"""
dest:
  description: The file, null without O(dest).
  returned: success
  type: str
content:
  description: The playbook.
  returned: success
  type: str
tasks:
  description: The tasks of the playbook.
  returned: success
  type: list
  elements: dict
"""
