# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options that the actions of the controller share."""

from __future__ import annotations


class ModuleDocFragment:
    """C(fleet.ota.control) and its parts."""

    REQUIREMENTS = r"""
options: {}
requirements:
  - tuf >= 7.0.1 (on the controller)
  - securesystemslib[crypto] >= 1.6.0 (on the controller)
notes:
  - Relative paths begin in the directory in which Ansible was started.
  - Problems end the task with C(code), a reason code of the outcomes reference such as V(EXPIRED), beside
    C(msg).
"""

    SIGNING = r"""
options:
  keys:
    description:
      - Private keys to sign with, PEM files or directories of them (every C(*.pem) with a private key).
      - They are one bag for all roles. Each role is signed with all of its own keys that are in it.
    type: list
    elements: path
  passphrase_file:
    description:
      - File with the passphrase of encrypted keys in its first line.
      - Without it the environment variable E(FLEET_OTA_KEY_PASSPHRASE) of the controller is used.
    type: path
"""

    TLS = r"""
options:
  tls:
    description: TLS files of the controller for an https repository, PEM. Verification is never off.
    type: dict
    suboptions:
      ca:
        description: The only CA that the repository's server is believed by. Without it, the system's store.
        type: path
      certificate:
        description: A client certificate of the controller, with intermediates if need be.
        type: path
      key:
        description: The private key of O(tls.certificate), without a passphrase.
        type: path
"""
