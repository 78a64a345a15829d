# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet of real Linux devices on one machine, for tests, demos and benchmarks.

A device is a Debian root file system of its own with real systemd as pid 1 and a real sshd, in namespaces of its own.
Devices and the controller's side of their network have no uplink: nothing sent in a lab can leave it.
``python -m tests.lab --help`` is the command; :mod:`tests.lab.plugin` holds the pytest fixtures.
"""

from __future__ import annotations

from .device import Device
from .errors import LabError
from .fleet import Fleet

__all__ = ["Device", "Fleet", "LabError"]
