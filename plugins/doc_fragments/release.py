# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options that name a release and where it comes from."""

from __future__ import annotations


class ModuleDocFragment:
    """C(fleet.ota.release) and its parts."""

    DOCUMENTATION = r"""
options:
  bundle:
    description:
      - A file with a release that the controller verified, as M(fleet.ota.release) and M(fleet.ota.plan) return it.
      - The device verifies it again from its own pinned root.
    type: path
  release:
    description:
      - Instead of O(bundle), the release as C(NAME/VERSION), or C(NAME) for the one with the highest counter in the
        channel.
    type: str
  channel:
    description: With O(release), its channel.
    type: str
  repository:
    description: With O(release), the directory or http(s) address of the repository. Verified afresh.
    type: str
  trust_root:
    description: With O(release), the pinned root metadata of the controller.
    type: path
  cache:
    description:
      - With O(release), where verified metadata and fetched payloads are kept on the controller, a directory for its
        user alone.
    type: path
    default: ~/.cache/fleet-ota
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
