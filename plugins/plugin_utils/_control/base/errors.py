# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The one exception tree of the control engine."""

from __future__ import annotations

import typing as t


class ControlError(Exception):
    """A failure with a reason code, a sentence for people and data for programs.

    ``code`` is one of docs/reference/outcomes.md where one fits, else ``CONTROL``; ``message`` names the thing, the
    reason and the next step; ``detail`` is JSON-able.
    """

    code = "CONTROL"

    def __init__(self, message: str, *, code: str | None = None, **detail: t.Any) -> None:
        super().__init__(message)
        self.code = code or type(self).code
        self.message = message
        self.detail = detail


class KeyFileError(ControlError):
    """A signing key cannot be read, written or used."""

    code = "SIGNATURE"


class RepositoryError(ControlError):
    """The repository cannot be made, changed or read."""

    code = "METADATA"


class TrustError(ControlError):
    """What a repository offers cannot be trusted, or cannot be brought here."""

    code = "METADATA"


class PlanError(ControlError):
    """A plan cannot be made from these variables; ``detail['problems']`` lists every reason."""

    code = "PLAN"


class JournalError(ControlError):
    """A journal cannot be read or written, or its chain is broken."""

    code = "JOURNAL"
