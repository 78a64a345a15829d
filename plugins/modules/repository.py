#!/usr/bin/python

# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# DOCUMENTATION ONLY: this is an action, see plugins/action/repository.py

from __future__ import annotations

DOCUMENTATION = r"""
module: repository
short_description: Make a TUF repository for releases, its channels and keys
description:
  - Makes a repository of signed releases as The Update Framework (TUF) describes it, in a directory, or changes who
    signs for its roles and channels.
  - A channel is a delegated role with its own keys and threshold. Channels and roles that are not named stay as they
    are.
  - When keys change, everything that they had signed is signed again, and a new root is signed by the old root's keys
    too, so that devices which pinned the old one follow.
  - Every change is tried by a real client first and put in place so that the repository is whole at any moment.
version_added: 0.1.0
author:
  - fleet.ota contributors (@fleet-ota)
extends_documentation_fragment:
  - fleet.ota.attributes.controller
  - fleet.ota.control.requirements
options:
  path:
    description: The repository's directory. C(metadata) and C(targets) below it are what a web server serves.
    type: path
    required: true
  keys_dir:
    description: Where key files are, C(NAME.pem) with its public half C(NAME.pub).
    type: path
    required: true
  roles:
    description:
      - Who signs for the top-level roles.
      - A new repository uses one key of the role's own name for every role that is not given.
    type: dict
    suboptions:
      root: &role
        description: Keys and threshold of the role.
        type: dict
        suboptions:
          keys:
            description:
              - Names of keys in O(keys_dir), or paths. A public key (C(NAME.pub)) is enough for a role that need not
                be signed now.
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
  passphrase_file:
    description:
      - File with the passphrase of encrypted keys in its first line; keys that are made are encrypted with it.
      - Without it the environment variable E(FLEET_OTA_KEY_PASSPHRASE) of the controller is used. Without both, keys
        are not encrypted.
    type: path
  expiry_days:
    description: Days until signed metadata expires. Kept in the repository for later publications.
    type: dict
    suboptions:
      root: {description: The root role; 365 in a new repository., type: int}
      targets: {description: The targets role; 365 in a new repository., type: int}
      channels: {description: Every channel; 90 in a new repository., type: int}
      snapshot: {description: The snapshot role; 7 in a new repository., type: int}
      timestamp: {description: The timestamp role; 7 in a new repository., type: int}
  state:
    description: There is only one.
    type: str
    choices: [present]
    default: present
seealso:
  - module: fleet.ota.release
"""

EXAMPLES = r"""
- name: A repository for a small fleet, one key for each role
  fleet.ota.repository:
    path: /srv/ota/repository
    keys_dir: /srv/ota/keys
    generate_keys: true
    channels:
      - name: pilot
      - name: stable
  run_once: true

- name: Two of three people sign what becomes stable
  fleet.ota.repository:
    path: /srv/ota/repository
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
"""

RETURN = r"""
generated:
  description: Private keys that were made, or would be.
  returned: success
  type: list
  elements: str
  sample: [/srv/ota/keys/stable.pem]
trust_root:
  description: The file to pin on controllers and devices.
  returned: success, but not in check mode when keys are missing
  type: str
  sample: /srv/ota/repository/metadata/1.root.json
roles:
  description: Every role and channel with its threshold and keys, and the expiry periods.
  returned: success, but not in check mode when keys are missing
  type: list
  elements: str
  sample: ["stable: 2 of 3 keys (0a1b2c3d, 4e5f6071, 8293a4b5)"]
single_key:
  description: Says which roles one key alone can sign for.
  returned: success, but not in check mode when keys are missing
  type: list
  elements: str
"""
