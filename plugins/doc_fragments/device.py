# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options that the modules of a device share."""

from __future__ import annotations


class ModuleDocFragment:
    """C(fleet.ota.device) and its parts."""

    DOCUMENTATION = r"""
options:
  root:
    description: The device's root. A directory plays a device for tests and demonstrations.
    type: str
    default: /
  state_dir:
    description: Where the device keeps its state, below O(root).
    type: str
    default: /var/lib/fleet-ota
requirements:
  - Python 3.8 or newer on the device, with its standard library
notes:
  - Runs the device engine, one program kept on the device under its digest, over the task's connection. It is brought
    there at first contact. Run it as root, with C(become) if need be.
  - A failure has C(code), a reason code of the outcomes reference such as V(HASH_MISMATCH), beside C(msg).
"""

    RETRY = r"""
options:
  retry_rejected:
    description: Take a release that failed on this device before.
    type: bool
    default: false
"""

    REPAIR = r"""
options:
  repair:
    description:
      - Finish first what another run of the package manager left half done (C(dpkg --configure -a), a rebuild of the
        rpm database). Without it such a device is refused with C(PACKAGE_STATE). What the repair does stays, also when
        the device goes back from the release.
    type: bool
    default: false
"""

    TRANSFER = r"""
options:
  transfer:
    description:
      - V(push) sends payloads over the existing connection, in pieces that resume after a cut.
      - V(pull) lets the device download them from O(mirrors), with resume. Neither is believed before its digest is
        checked.
    type: str
    choices: [push, pull]
    default: push
  mirrors:
    description: With O(transfer=pull), URLs of copies of the repository, tried in this order.
    type: list
    elements: str
    default: []
  splay:
    description:
      - With O(transfer=pull), seconds over which devices spread the begin of their downloads, so that those of one
        batch do not all come to a mirror at once. Which moment is a device's follows from its name and the payloads.
      - A task takes up to so much longer. Nothing waits that has its payloads already, goes back, or is in check mode.
    type: int
    default: 0
"""
