# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Attributes that the documentation of several modules shares."""

from __future__ import annotations


class ModuleDocFragment:
    """C(fleet.ota.attributes) and its parts."""

    CONTROLLER = r"""
attributes:
  action:
    description: Has an action plugin, so that some or all of it runs on the controller.
    support: full
    details: Runs on the controller alone and opens no connection to a device. Use it with C(run_once).
  async:
    description: Supports being used with C(async).
    support: none
  check_mode:
    description: Can run in check mode and return what would change without changing it.
    support: full
  diff_mode:
    description: Returns details on what has changed, or would change in check mode, when in diff mode.
    support: full
  platform:
    description: Platforms this works on.
    support: full
    platforms: posix
"""

    DEVICE = r"""
attributes:
  action:
    description: Has an action plugin, so that some or all of it runs on the controller.
    support: full
  async:
    description: Supports being used with C(async).
    support: none
  check_mode:
    description: Can run in check mode and return what would change without changing it.
    support: full
  platform:
    description: Platforms this works on.
    support: full
    platforms: posix
"""

    DIFF = r"""
attributes:
  diff_mode:
    description: Returns details on what has changed, or would change in check mode, when in diff mode.
    support: full
"""

    NO_DIFF = r"""
attributes:
  diff_mode:
    description: Returns details on what has changed, or would change in check mode, when in diff mode.
    support: N/A
    details: There is nothing that a diff could show.
"""
