# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests on real devices."""

from __future__ import annotations

from tests.lab.plugin import lab_device, lab_devices, lab_fleet, lab_host

__all__ = ["lab_device", "lab_devices", "lab_fleet", "lab_host"]
