# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one kind of error the lab raises."""

from __future__ import annotations


class LabError(Exception):
    """Something in the lab did not work; the text names the thing, the reason and the next step."""
