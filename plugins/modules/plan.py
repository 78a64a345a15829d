#!/usr/bin/python

# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# DOCUMENTATION ONLY: this is an action, see plugins/action/plan.py

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Plan a rollout in waves
description:
  - Verifies the release and computes which host is updated in which wave, in which order, and who is skipped and why.
  - The same inventory and the same variables give the same plan. Nothing is changed and no device is contacted; the
    plan takes effect when M(fleet.ota.journal) starts with it.
  - Every mistake in the variables is reported at once.
version_added: 0.1.0
author:
  - fleet.ota contributors (@fleet-ota)
extends_documentation_fragment:
  - fleet.ota.attributes.controller
  - fleet.ota.control.requirements
  - fleet.ota.release
  - fleet.ota.release.tls
options:
  hosts:
    description: The targets in inventory order. The default is every host of the play (C(ansible_play_hosts_all)).
    type: list
    elements: str
  waves:
    description:
      - The waves in order. Each takes hosts that no earlier wave took, and has at least one of C(group), C(hosts),
        C(where), C(count), C(percent), C(grow), and optionally a C(name), C(soak) in seconds and C(approval).
      - C(count) and C(percent) (of all targets, or of those that C(group) and C(where) match; rounded up) can be
        combined with C(group) and C(where), a JMESPath expression over the variables of each host.
      - C(grow) with C(start) (default 1), C(factor) (default 2) and C(most) becomes waves that grow till all are taken.
      - The default is one host, then 25 percent, then the rest.
      - A wave for which nobody is left is left out of the plan and named in it.
    type: list
    elements: dict
  limits:
    description:
      - When the rollout halts. C(max_failures) (default 0, or null for no such limit), C(max_failure_percent) of
        executed devices (default null), and C(min_executed), from how many executed devices on the percentage counts
        (default 10).
    type: dict
  conditions:
    description:
      - What the gate asks for beside the limits. C(soak) (default 0), how many seconds a wave is left alone before each
        of its devices is looked at once more; C(on_halt), C(analysis), C(rules) and C(breaker) as the guide on gates
        says.
    type: dict
  order:
    description: Groups, earliest first. Devices of a later group are in a later batch or wave than those before.
    type: list
    elements: str
  together:
    description: A host variable. Devices with the same value of it are in the same wave, all or none of them.
    type: str
  budget:
    description:
      - How many devices may be out of service at once. Each entry has C(max_unavailable) or C(min_available), a number
        or a text such as C(10%), and C(by), the host variable whose values are counted apart; without it all count.
    type: list
    elements: dict
  windows:
    description:
      - When devices may be touched, for hosts that have no variable C(fleet_ota_windows) of their own. C(install) and
        C(download) are lists of windows, C(at_end) is V(stop) (the default) or V(finish).
    type: dict
  freezes:
    description:
      - When devices are not touched, for hosts that have no variable C(fleet_ota_freezes) of their own. Entries have
        C(from), C(until) and C(reason), or C(calendar), the path of an iCalendar file.
    type: list
    elements: dict
  expected_minutes:
    description:
      - How long the update of a device is expected to take, for the latest safe start, of hosts that have no variable
        C(fleet_ota_expected_minutes) of their own. The default is 10.
    type: float
  back_minutes:
    description:
      - How long its way back is expected to take, of hosts that have no variable C(fleet_ota_back_minutes) of their
        own. The default is 10.
    type: float
  urgent:
    description:
      - Whether the release passes windows and freezes, for hosts that have no variable C(fleet_ota_urgent) of their
        own. It never passes holds, dependencies or the budget.
      - A release is urgent for all targets or for none.
    type: bool
    default: false
  info:
    description:
      - What M(fleet.ota.info) returned, by host. Devices that would refuse the release by what they say are skipped,
        with the reason; nothing is said of those that are not in it.
    type: dict
  retry_rejected:
    description: Whether devices that rejected this release before are planned all the same.
    type: bool
    default: false
  journal_dir:
    description:
      - Where journals are. The plan is compared with the one that the rollout's journal there follows now, and
        C(changed) says whether they differ.
    type: path
  workers:
    description: The machines that the devices are updated by, as for M(fleet.ota.slices); for the estimate.
    type: list
    elements: dict
    default: []
  back_from:
    description:
      - Instead of a release, the id of a recorded rollout. The plan then takes back, in one wave, those of the hosts
        that this rollout left on its release, whichever of its runs did.
    type: str
  approved:
    description:
      - Whether to fail with C(APPROVAL) unless everybody has approved whom the fleet's policy asks for. A rollout
        begins with V(true).
      - The devices ask for the same approvals themselves, whatever this says.
    type: bool
    default: false
  wave:
    description: With O(back_from), only the devices that any run of that rollout had in the wave of that name.
    type: str
seealso:
  - module: fleet.ota.release
  - module: fleet.ota.journal
  - module: fleet.ota.gate
"""

EXAMPLES = r"""
- name: Plan for every host of the play
  fleet.ota.plan:
    repository: /srv/ota/repository
    trust_root: files/root.json
    channel: stable
    release: gateway
    waves:
      - {name: canary, group: pilots, count: 2}
      - {name: north, group: site_north}
      - {percent: 50}
      - {percent: 100}
    limits:
      max_failures: 2
      max_failure_percent: 5
  run_once: true
  register: plan

- name: Show it
  ansible.builtin.debug:
    var: plan.summary_lines
  run_once: true
"""

RETURN = r"""
plan:
  description: The plan, as the plan reference describes it.
  returned: success
  type: dict
  contains:
    format: {description: Version of the format., type: int, returned: success}
    rollout: {description: The rollout's id., type: str, returned: success, sample: gateway-2.0-1a2b3c4d}
    release: {description: "Name, version, counter, digest and channel.", type: dict, returned: success}
    waves: {description: "C(index), C(name), C(hosts), C(turns).", type: list, elements: dict, returned: success}
    empty: {description: Names of waves for which no device was left., type: list, elements: str, returned: success}
    skipped: {description: "Entries of C(host), C(reason).", type: list, elements: dict, returned: success}
    limits: {description: The limits with their defaults., type: dict, returned: success}
    conditions: {description: The conditions with their defaults., type: dict, returned: success}
    targets: {description: How many hosts were targeted., type: int, returned: success}
    bytes_per_device: {description: Bytes of all payloads., type: int, returned: success}
    order: {description: The groups in order., type: list, elements: str, returned: when given}
    together: {description: The variable by which devices go together., type: str, returned: when given}
    dependencies: {description: "C(after), C(groups).", type: dict, returned: when a host has fleet_ota_after}
    budget: {description: The budget with who counts where., type: list, elements: dict, returned: when given}
    schedules: {description: Windows and freezes with their hosts., type: list, elements: dict, returned: when given}
    urgent: {description: Whether windows and freezes are passed., type: bool, returned: when true}
    digest: {description: SHA-256 of the plan without this key., type: str, returned: success}
serial:
  description: The sizes of the waves, for the play keyword C(serial).
  returned: success
  type: list
  elements: int
  sample: [2, 5, 20]
order:
  description: The hosts in wave order, for the play keyword C(hosts).
  returned: success
  type: list
  elements: str
explain:
  description:
    - For each target C(host), C(wave), C(turn) (both null if it is skipped) and C(reason).
    - Those that cannot take the release directly also have C(path), the releases that lead to it (C(name), C(version),
      C(counter), C(channel)), C(next), the variables of the next rollout for them, and C(dead_end), null or why no
      release leads there and what would be needed; then C(path) is empty and C(next) is null.
  returned: success
  type: list
  elements: dict
estimate:
  description:
    - What the rollout will probably take. C(per_device) has C(median) and C(p95) in seconds, C(samples) and C(source),
      where the figures are from; C(waves) and C(total) have C(bytes), C(seconds) and C(seconds_p95).
    - It is no part of the plan, because the next journal changes it.
  returned: success
  type: dict
download_now:
  description: The planned hosts that may be sent payloads at this moment.
  returned: success
  type: list
  elements: str
download_until:
  description:
    - The moment, in UTC, at which the download window ends that is open now, by host; for M(fleet.ota.stage). Only
      planned hosts with a download window are in it, and none if the release is urgent.
  returned: success
  type: dict
  sample: {d1: "2030-03-07T05:00:00Z"}
bundle:
  description: The file with the verified release, for other tasks of this collection; null with O(back_from).
  returned: success
  type: str
approvals:
  description: The approvals that the fleet's policy asks for, role to number of people. Empty without a policy.
  returned: success
  type: dict
  sample: {approvals: 2}
missing_approvals:
  description: Which of them are not there, and why what is there does not do. Null if nothing is missing.
  returned: success
  type: str
approved_waves:
  description: Waves that signatures let begin, with the paths of their approvals.
  returned: success
  type: dict
summary_lines:
  description: The plan for people.
  returned: success
  type: list
  elements: str
"""
