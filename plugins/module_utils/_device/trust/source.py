# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Where metadata comes from. A source only brings bytes: every check is the workflow's."""

from __future__ import annotations

import abc


class Source(abc.ABC):
    """Brings metadata files."""

    @abc.abstractmethod
    def metadata(self, role: str, version: int | None, limit: int) -> bytes | None:
        """The metadata of ``role``, or None if there is none.

        ``version`` is part of the file's name (``2.root.json``) unless it is None. A source need not bring more than
        ``limit`` + 1 bytes. Raises OtaError ``FETCH`` when it cannot tell.
        """
