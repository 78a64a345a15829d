# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Addresses as people may see them."""

from __future__ import annotations

import re


def shown(url: str) -> str:
    """``url`` without user and password, for people; of a malformed one rather too little than part of a password."""
    return re.sub(r"//.*@", "//***@", url, flags=re.DOTALL)
