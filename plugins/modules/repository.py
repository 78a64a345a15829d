#!/usr/bin/python

# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# DOCUMENTATION ONLY: this is an action, see plugins/action/repository.py

from __future__ import annotations

DOCUMENTATION = r"""
module: repository
short_description: Make or show a TUF repository for releases, its channels and keys
description:
  - Makes a repository of signed releases as The Update Framework (TUF) describes it, in a directory, or changes who
    signs for its roles and channels.
  - A channel is a delegated role with its own keys and threshold. Channels and roles that are not named stay as they
    are.
  - When keys change, everything that they had signed is signed again, and a new root is signed by the old root's keys
    too, so that devices which pinned the old one follow.
  - A key that is left out of a role is revoked; what it signed for that role is signed again in the same step by the
    keys that stay.
  - With O(propose), a change for which not all keys are at hand waits for them, also the making of the repository.
  - Every change is tried by a real client first and put in place so that the repository is whole at any moment.
version_added: 0.1.0
author:
  - fleet.ota contributors (@fleet-ota)
extends_documentation_fragment:
  - fleet.ota.attributes.controller
  - fleet.ota.control.requirements
  - fleet.ota.control.signing
  - fleet.ota.control.proposing
options:
  path:
    description: The repository's directory. C(metadata) and C(targets) below it are what a web server serves.
    type: path
    required: true
  keys_dir:
    description:
      - Where key files are, C(NAME.pem) with its public half C(NAME.pub). What is signed is signed with these, and with
        O(keys).
      - C(NAME.uri) holds the URI of a key that is no file (see O(keys)). C(NAME.pub) alone is enough for people who
        sign elsewhere; it may be an OpenSSH public key.
      - Required for V(present).
    type: path
  roles:
    description:
      - The keys that sign for the top-level roles.
      - A new repository uses one key of the role's own name for every role that is not given.
    type: dict
    suboptions:
      root: &role
        description: Keys and threshold of the role.
        type: dict
        suboptions:
          keys:
            description:
              - Names of keys in O(keys_dir), or paths, or URIs of an SSH agent or PKCS#11 token. A public
                key (C(NAME.pub)) is enough for a role that need not be signed now.
              - The default is one key with the name of the role or channel.
            type: list
            elements: str
          threshold:
            description: How many of the keys must sign. 1 is for small fleets; see RV(single_key).
            type: int
            default: 1
      targets: *role
      snapshot: *role
      timestamp: *role
  channels:
    description: Channels to make or change. Each lists releases below C(NAME/).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The channel's name of letters, digits, dash and underscore.
        type: str
        required: true
      keys:
        description:
          - Names of keys in O(keys_dir), or paths.
          - The default is one key with the name of the channel.
        type: list
        elements: str
      threshold:
        description: How many of the keys must sign a release.
        type: int
        default: 1
  approvals:
    description:
      - Approvals roles to make or change. They list what people approved below C(NAME/), and no releases.
      - Give them to other people than channels.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: V(approvals) or C(approvals-NAME).
        type: str
        required: true
      keys:
        description:
          - Names of keys in O(keys_dir), or paths.
          - The default is one key with the name of the role.
        type: list
        elements: str
      threshold:
        description: How many of the keys must sign an approval.
        type: int
        default: 1
  generate_keys:
    description: Make keys that are missing, private keys with mode 0600. A file is never replaced.
    type: bool
    default: false
  key_type:
    description:
      - Kind of the keys that are made. Every openssl since 1.1.1 can check V(ecdsa) (P-256, SHA-256); V(ed25519) needs
        openssl 3 or python3-cryptography on the device.
    type: str
    choices: [ecdsa, ed25519]
    default: ecdsa
  keys:
    description:
      - Further private keys to sign with, beside those in O(keys_dir), named by path or URI as in
        M(fleet.ota.release).
    type: list
    elements: str
  passphrase_file:
    description:
      - File with the passphrase of encrypted keys in its first line; keys that are made are encrypted with it.
      - Without it the environment variable E(FLEET_OTA_KEY_PASSPHRASE) of the controller is used. Without both, keys
        are not encrypted.
    type: path
  trust_root:
    description:
      - The file with the pinned root metadata, outside the repository. The repository is verified from it before
        anything is read or signed, so that a repository that an attacker replaced is refused.
      - A directory that does not hold the repository of this root (not mounted, misspelt) is refused, too.
      - Where neither the file nor the repository is there, V(present) makes a repository and writes its root to this
        file. Give it to everyone who signs, and to devices.
    type: path
    required: true
  expiry_days:
    description: Days until signed metadata expires. Kept in the repository for later publications.
    type: dict
    suboptions:
      root: {description: The root role; 365 in a new repository., type: int}
      targets: {description: The targets role; 365 in a new repository., type: int}
      channels: {description: Every channel; 90 in a new repository., type: int}
      approvals: {description: Every approvals role; 30 in a new repository., type: int}
      snapshot: {description: The snapshot role; 7 in a new repository., type: int}
      timestamp: {description: The timestamp role; 7 in a new repository., type: int}
  state:
    description:
      - V(present) makes or changes it.
      - V(shown) verifies it and returns the keys of each role, which have signed, expiry times and waiting proposals.
    type: str
    choices: [present, shown]
    default: present
seealso:
  - module: fleet.ota.release
  - module: fleet.ota.proposal
"""

EXAMPLES = r"""
- name: A repository for a small fleet, one key for each role
  fleet.ota.repository:
    path: /srv/ota/repository
    trust_root: /srv/ota/root.json
    keys_dir: /srv/ota/keys
    generate_keys: true
    channels:
      - name: pilot
      - name: stable
  run_once: true

- name: Two of three people sign what becomes stable
  fleet.ota.repository:
    path: /srv/ota/repository
    trust_root: /srv/ota/root.json
    keys_dir: /srv/ota/keys
    passphrase_file: /run/secrets/ota
    roles:
      root: {keys: [anna, ben, carla], threshold: 2}
      targets: {keys: [anna, ben, carla], threshold: 2}
      snapshot: {keys: [online]}
      timestamp: {keys: [online]}
    channels:
      - {name: stable, keys: [anna, ben, carla], threshold: 2}
    expiry_days:
      timestamp: 2
  run_once: true

- name: Root and targets stay with people, each with a key of their own SSH agent; anna begins
  fleet.ota.repository:
    path: ota/repository
    trust_root: /srv/ota/root.json
    keys_dir: ota/people            # anna.pub, ben.pub, carla.pub, online.pub
    keys: ["ssh-agent:"]
    roles:
      root: {keys: [anna, ben, carla], threshold: 2}
      targets: {keys: [anna, ben, carla], threshold: 2}
      snapshot: {keys: [online]}
      timestamp: {keys: [online]}
    channels:
      - {name: stable, keys: [anna, ben, carla], threshold: 2}
    approvals:
      - {name: approvals, keys: [dora, emil], threshold: 2}
    propose: true
  run_once: true

- name: Show the signatures, what is missing and what expires
  fleet.ota.repository:
    path: ota/repository
    trust_root: /srv/ota/root.json
    state: shown
  run_once: true
  register: repository
"""

RETURN = r"""
generated:
  description: Private keys that were made, or would be.
  returned: for V(present)
  type: list
  elements: str
  sample: [/srv/ota/keys/stable.pem]
trust_root:
  description: The file with the root to pin on controllers and devices, as O(trust_root).
  returned: for V(present), but not in check mode when keys are missing
  type: str
  sample: /srv/ota/root.json
roles:
  description: Every role and channel with its threshold and keys, and the expiry periods.
  returned: for V(present), but not in check mode when keys are missing
  type: list
  elements: str
  sample: ["stable: 2 of 3 keys (0a1b2c3d, 4e5f6071, 8293a4b5)"]
single_key:
  description: Says which roles one key alone can sign for.
  returned: for V(present), but not in check mode when keys are missing
  type: list
  elements: str
proposal:
  description: The proposal that waits for further signatures, as M(fleet.ota.proposal) returns it, or null.
  returned: for V(present), but not in check mode when keys are missing
  type: dict
repository:
  description: What state the repository is in, from its verified metadata.
  returned: for V(shown)
  type: dict
  contains:
    exists: {description: Whether there is one., type: bool, returned: success}
    roles:
      description: Every role, channel and approvals role.
      type: list
      elements: dict
      returned: success
      contains:
        name: {description: Its name., type: str, returned: success}
        kind: {description: "V(role), V(channel) or V(approvals).", type: str, returned: success}
        version: {description: Version of its metadata., type: int, returned: success}
        expires: {description: When its metadata expires., type: str, returned: success}
        days_left: {description: Days until then., type: int, returned: success}
        expired: {description: Whether it did., type: bool, returned: success}
        threshold: {description: How many keys must sign., type: int, returned: success}
        single_key: {description: Whether one key alone can sign., type: bool, returned: success}
        keys:
          description: Its keys, each with C(name), C(id), C(scheme), and whether it C(signed) the metadata.
          type: list
          elements: dict
          returned: success
    releases: {description: What the channels list., type: list, elements: dict, returned: success}
    documents:
      description: What approvals roles and the targets role list.
      type: list
      elements: str
      returned: success
    proposals:
      description: Every proposal, as M(fleet.ota.proposal) returns it.
      type: list
      elements: dict
      returned: success
    warnings:
      description: What expires soon and where one key is enough.
      type: list
      elements: str
      returned: success
lines:
  description: The same as a table for people; a star stands behind the keys that signed.
  returned: for V(shown)
  type: list
  elements: str
  sample: ["channel   stable           v4     2 of 3 (anna*, ben*, carla)  expires 2026-11-02"]
"""
