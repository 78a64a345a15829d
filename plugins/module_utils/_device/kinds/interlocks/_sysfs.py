# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Reading small files of sysfs."""

from __future__ import annotations

import os


def folders(path: str) -> list[str]:
    """The entries of a class, in order; none if the kernel has no such class."""
    try:
        return [os.path.join(path, name) for name in sorted(os.listdir(path))]
    except FileNotFoundError:
        return []


def texts(folder: str, *names: str) -> dict[str, str]:
    """The content of the files ``names``; empty for what is not there or cannot be read right now."""
    contents = {}
    for name in names:
        try:
            with open(os.path.join(folder, name), encoding="ascii", errors="replace") as handle:
                contents[name] = handle.read(4096).strip()
        except OSError:
            contents[name] = ""
    return contents
