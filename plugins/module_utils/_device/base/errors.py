# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The one exception tree of the device engine; codes as in docs/reference/outcomes.md."""

from __future__ import annotations

import typing as t

#: Codes that mean "not now": nothing was touched, and the next run retries the device.
DEFERRED = frozenset({"BUSY", "NO_SPACE", "FETCH", "PACKAGE_LOCK", "INTERLOCK", "AHEAD"})


class OtaError(Exception):
    """A failure with a reason code, a sentence for people and data for programs.

    ``code`` is one of docs/reference/outcomes.md, ``message`` names the thing, the reason and the next step,
    ``detail`` is JSON-able.
    """

    def __init__(self, code: str, message: str, **detail: t.Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = detail

    @property
    def outcome(self) -> str:
        """The outcome of a device on which this stopped a transaction before anything was touched."""
        return "deferred" if self.code in DEFERRED else "refused"

    def as_dict(self) -> dict[str, object]:
        """The shape of ``error`` in the engine's reply."""
        return {"code": self.code, "message": self.message, "detail": self.detail}


#: Debian's package of the whole library; image builders have one for each part.
_PACKAGE = "libpython3-stdlib"


def lacking(error: ImportError, purpose: str) -> OtaError:
    """OtaError ``NO_PYTHON`` for a part of Python's library that is missing on this device."""
    name = (error.name or "").lstrip("_").split(".")[0] or str(error)
    message = "the Python of this device has no module %s, which %s needs; install it (Debian: %s, Yocto: python3-%s)"
    return OtaError("NO_PYTHON", message % (name, purpose, _PACKAGE, name), module=name)
