# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The complete TUF client workflow (specification 1.0.33, section 5) from a pinned root, on the device.

``bundle`` verifies what a controller brings (:class:`Trust`); ``workflow`` is the client itself, driven by any
``source`` and keeping what it accepted in a ``store``. Values are read only from what was verified, never again from
the raw text. Time is believed only forward. Nothing here can be told to skip a check.
"""

from __future__ import annotations

from .bundle import Accepted, Document, Trust
from .canonical import canonical
from .workflow import pinned

__all__ = ["Accepted", "Document", "Trust", "canonical", "pinned"]
