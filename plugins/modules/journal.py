#!/usr/bin/python

# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# DOCUMENTATION ONLY: this is an action, see plugins/action/journal.py

from __future__ import annotations

DOCUMENTATION = r"""
module: journal
short_description: Keep the hash-chained record of a rollout
description:
  - V(started) begins the journal of a plan's rollout, or resumes it with the next generation and says which devices
    are done and whose outcome is open.
  - V(recorded) adds what happened to a device. It is on disk when the task returns.
  - V(joined) takes part in a wave that a run opened for others (O(open_wave)), with the devices of the wave that are in
    this play; V(left) says that they are done.
  - V(concluded) seals the run, says what came of it, and hands a summary to ansible-runner and AWX as C(fleet_ota) in
    the artifacts. It succeeds whatever the result is; fail afterwards when RV(as_planned) is false.
  - V(read) verifies the chain and says what came of it so far.
  - V(approved) records the approval of a wave. V(settled) records which devices went back meanwhile.
  - V(reset) closes the breaker of O(channel), or lets the rollout at O(path) try again the
    devices that were taken back from it, and go on although devices witnessed more than its journal has (C(AHEAD)).
  - V(convicted) fails for the device with O(message). With O(outcome=deferred) the device counts as unreachable
    instead, so that C(ansible-playbook) ends with 4 where deferrals are all that is not as planned.
  - V(listed) says which rollouts there are in O(journal_dir).
version_added: 0.1.0
author:
  - fleet.ota contributors (@fleet-ota)
extends_documentation_fragment:
  - fleet.ota.attributes.controller
  - fleet.ota.control.requirements
options:
  state:
    description: What to do.
    type: str
    choices: [started, joined, left, recorded, concluded, read, approved, settled, reset, convicted, listed]
    required: true
  journal_dir:
    description:
      - Directory of all journals, each in a folder with the rollout's id. Required for V(started), V(joined) and
        V(listed).
    type: path
  plan:
    description: RV(fleet.ota.plan#module:plan). Required for V(started).
    type: dict
  take_over:
    description:
      - For V(started) and V(joined). Whether another run, on another machine, counts as dead although its last record
        is recent. A run that is alive on this machine is never taken over.
    type: bool
    default: false
  generation:
    description: For V(concluded), the generation of this run. Refused (C(STALE)) when a newer run follows the rollout.
    type: int
  path:
    description:
      - The journal, RV(path). Required for V(left), V(recorded), V(concluded), V(read), V(approved) and V(settled).
    type: path
  event:
    description: What to record.
    type: str
    choices: [device.pending, device.outcome, device.seen]
    default: device.outcome
  device:
    description: Inventory name of the device. Required for V(recorded).
    type: str
  outcome:
    description:
      - What came of the device. Required for V(event=device.outcome). For V(convicted) only V(deferred) matters.
    type: str
    choices: [broken, current, deferred, lost, refused, restored, rolled_back, timed_out, updated]
  code:
    description: Reason code.
    type: str
  message:
    description: The reason for people. Cut off after 4000 characters. Required for V(convicted).
    type: str
  data:
    description: What else belongs to the event, for example C(healthy) for V(event=device.seen).
    type: dict
    default: {}
  deferred_exit:
    description:
      - For V(concluded), the exit code of C(ansible-playbook) where deferrals are all that is not as planned. With V(0)
        RV(convicted) is empty then, for a scheduler that knows nothing between green and red.
    type: int
    choices: [0, 4]
    default: 4
    version_added: 0.1.0
  wave:
    description:
      - The wave that is approved, or joined. With V(started) the one that AWX's approval node let begin.
    type: str
  how:
    description: How it was approved. Required for V(approved).
    type: str
    choices: [signed, terminal, awx]
  by:
    description: Who approves or resets. The default is the user who runs Ansible.
    type: str
  remark:
    description: Why. Required for V(reset).
    type: str
  approved_waves:
    description: For V(started), RV(fleet.ota.plan#module:approved_waves).
    type: dict
    default: {}
  channel:
    description: For V(reset), the channel whose breaker is closed.
    type: str
  until_wave:
    description:
      - The wave after which the run is to end. V(started) refuses one that the plan does not have; V(concluded) does
        not miss later ones.
    type: str
  open_wave:
    description:
      - For V(started), the wave that O(fleet.ota.gate#module:open_wave) will open; refused if the plan does not
        have it.
    type: str
  bundle:
    description: For V(started) with O(open_wave), RV(fleet.ota.plan#module:bundle), which is kept for those who join.
    type: path
  rollout:
    description: For V(joined), the id of the rollout.
    type: str
  slice:
    description: For V(left), RV(slice).
    type: str
  plan_digest:
    description: For V(started), the digest of the plan that was approved elsewhere. Any other plan is refused.
    type: str
  watch:
    description:
      - For V(started), the seconds after its completion for which a rollout is watched. Until then a device that looks
        ill counts against the release; later it is told by M(fleet.ota.census) and takes nobody back.
      - By default the soak of the last wave.
    type: float
  penalty:
    description:
      - For V(started) and V(joined), what O(fleet.ota.gate#module:penalty) will be. What cannot be is refused before
        anything is recorded.
    type: dict
  notify:
    description: Who is told, as the guide on notifications says; whoever cannot be reached stops nothing.
    type: list
    elements: dict
    default: []
seealso:
  - module: fleet.ota.plan
  - module: fleet.ota.gate
"""

EXAMPLES = r"""
- name: Start or resume
  fleet.ota.journal:
    state: started
    journal_dir: /var/log/fleet-ota
    plan: "{{ plan.plan }}"
  run_once: true
  register: rollout

- name: A person looked at it
  fleet.ota.journal:
    state: recorded
    path: "{{ rollout.path }}"
    device: dev7
    outcome: restored
    code: REQUESTED
    message: put back by hand
  run_once: true

- name: Take part in a wave that a run opened for others
  fleet.ota.journal:
    state: joined
    journal_dir: /srv/fleet-ota/journal
    rollout: gateway-2.0-1a2b3c4d
    wave: all
  run_once: true
  register: joined

- name: Conclude
  fleet.ota.journal:
    state: concluded
    path: "{{ rollout.path }}"
  run_once: true
  register: conclusion

- name: Convict
  ansible.builtin.assert:
    that: conclusion.as_planned
    fail_msg: "{{ conclusion.summary_lines }}"
  run_once: true
"""

RETURN = r"""
path:
  description: The journal file.
  returned: for V(started) and V(joined)
  type: str
  sample: /var/log/fleet-ota/gateway-2.0-1a2b3c4d/journal.jsonl
rollout:
  description: The rollout's id.
  returned: all states but V(recorded) and V(left)
  type: str
  sample: gateway-2.0-1a2b3c4d
generation:
  description: 1 for the first run and one more with each further one.
  returned: all states but V(recorded) and V(left)
  type: int
slice:
  description: What names this part of the wave.
  returned: for V(joined)
  type: str
  sample: ota@awx-task-1:4711
bundle:
  description: The verified release that the opening run left for those who join.
  returned: for V(joined)
  type: str
serial:
  description: How many of RV(order) at a time, for C(serial).
  returned: for V(joined)
  type: list
  elements: int
steps:
  description: Which tasks the devices of the part need, as RV(fleet.ota.gate#module:steps).
  returned: for V(joined)
  type: str
open:
  description: Devices of the part that no outcome came of.
  returned: for V(left)
  type: list
  elements: str
resumed:
  description: Whether an earlier run began this rollout.
  returned: for V(started)
  type: bool
unresolved:
  description: Planned devices whose outcome is open; their own record must be read first.
  returned: for V(started)
  type: list
  elements: str
done:
  description: Planned devices that run the release already and looked healthy.
  returned: for V(started)
  type: list
  elements: str
watching:
  description: Whether a device that looks ill counts against the release, see O(watch).
  returned: for V(started)
  type: bool
touched:
  description: Devices to be asked first, RV(unresolved), RV(done) and those that run it and looked unhealthy.
  returned: for V(started)
  type: list
  elements: str
checkpoint:
  description:
    - C(rollout), C(size), C(head), C(journal) (hash of the first record), and C(since) if a run went on with an
      older copy of the journal. Devices keep it as witnesses. Null in check mode.
  returned: all states but V(joined) and V(left)
  type: dict
record:
  description: What was written.
  returned: for V(recorded)
  type: dict
result:
  description: V(complete) (every wave passed its gate), V(halted) or V(held).
  returned: for V(concluded) and V(read)
  type: str
reason:
  description: Why, in a sentence.
  returned: for V(concluded) and V(read)
  type: str
counts:
  description: Devices by outcome, and C(success), C(failure), C(executed), C(untouched).
  returned: for V(concluded) and V(read)
  type: dict
devices:
  description:
    - Every planned device with C(device), C(wave), C(outcome) (null if untouched), C(code), C(message), C(before),
      C(after), C(healthy).
  returned: for V(concluded) and V(read)
  type: list
  elements: dict
not_as_planned:
  description: Planned devices that do not run the release or looked ill.
  returned: for V(concluded) and V(read)
  type: list
  elements: str
as_planned:
  description: Whether there is none.
  returned: for V(concluded) and V(read)
  type: bool
convicted:
  description: Devices for a last play to fail, those that failed or else the first that is not as planned.
  returned: for V(concluded) and V(read)
  type: list
  elements: str
deferred:
  description: Whether devices that are deferred, and those that wait for them, are all that is not as planned.
  returned: for V(concluded) and V(read)
  type: bool
sentences:
  description: For every planned device what came of it, in a sentence.
  returned: for V(concluded) and V(read)
  type: dict
plan:
  description: The plan that the newest run follows.
  returned: for V(concluded) and V(read)
  type: dict
order:
  description:
    - The planned hosts in wave order. With V(joined) those of the wave and of this play that do not run the release
      yet.
  returned: for V(concluded), V(read) and V(joined)
  type: list
  elements: str
release:
  description: Name, version, counter, digest and channel.
  returned: for V(concluded) and V(read)
  type: dict
rollouts:
  description:
    - Every rollout and every way back, the one that was at work last first, with C(rollout), C(release), C(back_from),
      C(begun), C(last), C(result), C(reason) and C(counts).
  returned: for V(listed)
  type: list
  elements: dict
summary_lines:
  description: One line for the rollout and one for each device; for V(listed) one for each rollout.
  returned: for V(concluded), V(read) and V(listed)
  type: list
  elements: str
"""
