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
  - An option that the task does not give is read from the variable that the collection's playbooks have for it, such as
    C(fleet_ota_waves), where there is one.
  - Relative paths begin in the directory in which Ansible was started.
  - Problems end the task with C(code), a reason code of the outcomes reference such as V(EXPIRED), beside
    C(msg).
"""

    SIGNING = r"""
options:
  keys:
    description:
      - Private keys to sign with. A path names a PEM file, a file C(NAME.uri) with the URI of a key in its first line,
        or a directory of both. A URI names a key directly.
      - C(ssh-agent:) stands for every key of the SSH agent that can be used, C(ssh-agent:SHA256:...) for one of them
        (needs paramiko). C(hsm:ID?label=TOKEN) is a key on a PKCS#11 token (needs python-pkcs11, and E(PYKCS11LIB)
        with the path of the token's module). C(awskms:), C(gcpkms:) and C(azurekms:) are keys of cloud services (need
        C(securesystemslib[awskms]) and so on, and a file C(NAME.uri) beside C(NAME.pub)).
      - They are one bag for all roles. Each role is signed with all of its own keys that are in it.
    type: list
    elements: str
  passphrase_file:
    description:
      - File with the passphrase of encrypted keys in its first line.
      - Without it the environment variable E(FLEET_OTA_KEY_PASSPHRASE) of the controller is used.
    type: path
  pin_file:
    description:
      - File with the PIN of a PKCS#11 token in its first line.
      - Without it the environment variable E(FLEET_OTA_KEY_PIN) of the controller is used.
    type: path
"""

    PROPOSING = r"""
options:
  propose:
    description:
      - What lacks signatures is kept in the repository as a proposal, signed with the keys at hand, instead of being
        refused. Others sign it with M(fleet.ota.proposal) on their own machines. With all keys at hand the change
        takes effect at once.
      - The same change proposed again adds signatures to the proposal that waits.
    type: bool
    default: false
  title:
    description: What people read above a proposal. It is not signed.
    type: str
    default: ''
  requested_by:
    description: The requester. The default is the controller's user.
    type: str
  proposal_days:
    description: Days until the proposal can no longer be signed; by default when the proposed metadata expires.
    type: int
"""
