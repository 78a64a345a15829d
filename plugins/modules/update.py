# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of C(fleet.ota.update), whose work is done by the action of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: update
short_description: Update a device by a transaction that goes back by itself
description:
  - The device verifies the release, takes a snapshot, arms a guard, installs and checks its health; then it waits
    for a confirm. Unless it is confirmed over a new connection before the deadline, it goes back to exactly what it
    was, by itself.
  - Every change of state is on the device's own disk before its step runs, so whatever disappears in the middle,
    the device ends on the old release or on the new one proven healthy, and knows which.
  - A lost connection is normal until the deadline and never makes the device unreachable for the play. Whatever
    happens becomes one outcome, written to the journal before the device is touched and again after.
  - An option that the role C(fleet.ota.update) has as a variable C(fleet_ota_OPTION), such as O(deadline) as
    C(fleet_ota_deadline), is read from that variable of the host where the task does not give it.
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
options:
  state:
    description:
      - V(applied) installs the release, up to waiting for the confirm. A device that has it already is V(current).
      - V(extended) moves the deadline of a device that waits for its confirm to O(deadline) seconds from now, for
        soaks and checks that take longer; it never comes earlier.
      - V(confirmed) keeps what is installed.
      - V(restored) goes back from what is not confirmed, for C(rescue); it does not fail, the outcome tells.
      - V(observed) looks once more, and learns what became of a device that an earlier run lost.
      - V(rolled_back) goes back to the release before the confirmed one, by the same transaction, up to waiting for
        the confirm.
    type: str
    choices: [applied, extended, confirmed, restored, observed, rolled_back]
    default: applied
  confirm:
    description:
      - With O(state=applied) and O(state=rolled_back), confirm at once over a new connection, as O(state=confirmed)
        does, instead of leaving the device waiting for it. For devices on which no handlers and no tasks of a team
        check anything in between.
    type: bool
    default: false
  peers:
    description:
      - How many devices are updated at the same time by this task. With more than one, a device that waits for its
        confirm is given the time that any other may take to get there (twice O(deadline), O(first_contact) and 20
        seconds), because Ansible confirms the first when it is done with the last.
    type: int
    default: 1
  first_contact:
    description: How long a device that has not answered yet is tried, in seconds.
    type: float
    default: 25
  wanted:
    description:
      - For V(observed), C(name) and C(digest) of the release that the device should run. One that is on record as
        planned and runs another one since becomes C(deferred) with the code C(MOVED), and is updated again by the
        next run.
    type: dict
  asking:
    description:
      - For V(observed) at the begin of a run. Whether a device that is on record as planned stays so if it gives no
        answer.
    type: bool
    default: false
  watching:
    description:
      - For V(observed). Whether a device that looks ill is on record as such. Not once a rollout was complete for as
        long as it is watched (O(fleet.ota.journal#module:watch)).
    type: bool
    default: true
  journal:
    description: The rollout's journal file on the controller; without it nothing is recorded.
    type: path
  rollout:
    description: The rollout's id. A device is in one rollout at a time.
    type: str
  generation:
    description:
      - The generation of this run. A device refuses an older one of the same O(journal) than it has seen, and while it
        has not come to an end any run with another journal.
    type: int
    default: 0
  take_over:
    description:
      - For V(applied) and V(rolled_back), take over what a run of the same rollout with another journal left open on
        the device. That run touches the device no more.
    type: bool
    default: false
  deadline:
    description: Seconds after which the device goes back if nobody confirmed.
    type: int
    default: 600
  timeout:
    description: Seconds that the way to an installed and healthy release may take.
    type: float
    default: 1800
  wait:
    description: Seconds that one call stays on the device while it works, so that a short change needs one round trip.
    type: float
    default: 20
  guard:
    description:
      - Who sends the device back. V(auto) takes V(systemd), or where there is none V(process) with a hook that starts
        it at boot (OpenRC, a BusyBox C(rcS), cron), and refuses where there is neither.
      - V(process) without such a hook does not survive a reboot; V(none) leaves nobody. Either has to be asked for, and
        no release that reboots is taken with it.
    type: str
    choices: [auto, systemd, process, none]
    default: auto
  snapshot:
    description: The kind of snapshot; V(auto) takes the best that works there.
    type: str
    choices: [auto, files, btrfs, lvm]
    default: auto
  rehearsal:
    description: |-
      Whether packages are installed in a throw-away copy of the device first, to see that they can be and what they
      touch. V(auto) goes on without where a device cannot have such a copy, V(required) refuses.
    type: str
    choices: [auto, required, 'off']
    default: auto
  protect:
    description: Absolute paths that go back together with the release's own.
    type: list
    elements: str
    default: []
  keep_snapshots:
    description:
      - How many ways back stay after this update is confirmed, and so how often O(state=rolled_back) can go back in a
        row. At least 1.
      - The one that leads back from what is installed always stays. Fewer than before takes effect with the next
        confirm.
    type: int
    default: 1
  data:
    description:
      - Paths with data of this device. It is decided here also for paths that the release names; how data is migrated
        only the release says.
      - What the release installs cannot be kept. A rollback goes by what was chosen when the update was made.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: An absolute path.
        type: str
        required: true
      on_restore:
        description: Whether it stays as it is when the device goes back, or goes back too.
        type: str
        choices: [keep, restore]
        required: true
      backup:
        description:
          - Whether it is backed up elsewhere before anything is touched, with restic, to the repository that the device
            itself names in C(/etc/fleet-ota/restic.env). If that fails the update is refused.
          - By default as the release says, or not at all.
        type: bool
  interlocks:
    description:
      - What makes this device say I(not now), beside what its own files in C(/etc/fleet-ota/interlocks.d) say. While
        one holds, the outcome is V(deferred) with the code C(INTERLOCK), nothing is touched, and the next run asks
        again.
      - Each has C(name), C(type) (C(file), C(unit), C(command), C(http), C(power), C(temperature), C(free_space) or
        C(logged_in)) and what its type needs; C(unknown) says whether one that cannot tell means V(hold) (the default)
        or V(go), C(timeout) how many seconds it has (5, at most 30).
      - Also O(state=rolled_back) asks them. What goes back from an update that is not confirmed does not.
    type: list
    elements: dict
    default: []
  name:
    description: With O(state=rolled_back), the release name to go back from; by default the one confirmed last.
    type: str
  overwrite:
    description: With O(state=rolled_back), go back even where others have changed since what would be put back.
    type: bool
    default: false
  outcome:
    description: With O(state=restored), the outcome of the step that failed; what was not touched is left alone.
    type: str
  reason:
    description: With O(state=restored), why, for people.
    type: str
seealso:
  - module: fleet.ota.plan
  - module: fleet.ota.gate
  - module: fleet.ota.journal
  - module: fleet.ota.health
  - module: fleet.ota.snapshot
"""

EXAMPLES = r"""
- name: Update with a way back
  block:
    - name: Verify, snapshot, guard, install, check
      fleet.ota.update:
        bundle: "{{ release.bundle }}"
        interlocks:
          - {name: press-runs, type: unit, unit: press.service}
          - {name: on-mains, type: power, min_percent: 50}
      register: applied
      notify: check device health

    - name: The team's own checks listen on that topic
      ansible.builtin.meta: flush_handlers

    - name: Keep it
      fleet.ota.update:
        state: confirmed
  rescue:
    - name: Go back
      fleet.ota.update:
        state: restored
        outcome: "{{ applied.outcome | default('') }}"
"""

RETURN = r"""
outcome:
  description: One of the outcomes reference; null while the device waits for a confirm.
  returned: always
  type: str
  sample: updated
state:
  description: The state of the device's transaction.
  returned: always
  type: str
  sample: unconfirmed
rebooted:
  description: Whether the device was booted on the way, told by its boot id.
  returned: O(state=applied) and O(state=rolled_back)
  type: bool
transaction:
  description: The id of the device's transaction; null if none was opened.
  returned: always
  type: str
release:
  description: C(name), C(version), C(counter) and C(digest) of the release.
  returned: always
  type: dict
before:
  description: What was installed before; null if nothing.
  returned: always
  type: dict
health:
  description: For each check C(ok), C(reason) and what was C(measured).
  returned: always
  type: dict
seconds:
  description: How long the transaction took on the device.
  returned: always
  type: float
healthy:
  description: Whether the device looked healthy.
  returned: for V(observed)
  type: bool
recorded:
  description: The records that this step wrote, for whoever adopts them.
  returned: with the journal of a slice
  type: list
  elements: dict
settled:
  description: Whether this step recorded an outcome other than V(lost).
  returned: with the journal of a slice
  type: bool
remembered:
  description: C(instance) and C(sequence), how many transactions the device has begun.
  returned: with the journal of a slice
  type: dict
code:
  description: Why it failed, a code of the outcomes reference.
  returned: failure
  type: str
  sample: HASH_MISMATCH
"""
