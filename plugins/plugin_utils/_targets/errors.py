# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What can come of talking to a device."""

from __future__ import annotations

import typing as t


class DeviceRefusal(Exception):
    """The device, or the engine on it, answered with an error: ``code``, ``message`` and what else it said.

    Without an ``outcome`` from the device it is ``refused``; after ``ENGINE`` nobody knows whether something was
    touched, so it stays open until the device's own record was read.
    """

    def __init__(self, code: str, message: str, outcome: str | None = None, detail: t.Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.outcome = outcome or ("timed_out" if code == "ENGINE" else "refused")
        self.detail = detail or {}


class DeviceLost(Exception):
    """No answer: the connection could not be made, or was lost in the middle."""
