# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Why a change failed, in the words of the units that it concerns; nothing in here may stop a way back."""

from __future__ import annotations

import typing as t

from ...records.logs import without_secrets
from ...records.transaction import Transaction
from ...system import command

#: A failure for one of these reasons may be explained by a unit.
_CODES = ("HEALTH", "INSTALL", "REBOOT", "TEAM_CHECK")
_MOST_UNITS, _MOST_LINES, _MOST_CHARACTERS = 3, 8, 600
#: Seconds for each question: systemd may be what failed.
_PATIENCE = 10.0


def explained(transaction: Transaction, code: str, message: str) -> str:
    """``message`` with the last lines of each unit of the change that failed; in whole they are in the log."""
    if code not in _CODES or not transaction.layout.is_real or not transaction.units:
        return message
    try:
        parts = [message]
        for unit, invocation in _failed(transaction.units)[:_MOST_UNITS]:
            lines = _journal(invocation)
            if lines:
                transaction.log("%s failed; its journal:\n%s" % (unit, "\n".join(lines)))
                parts.append("%s: %s" % (unit, " | ".join(lines[-_MOST_LINES:])[-_MOST_CHARACTERS:]))
        return "; ".join(parts)
    except Exception as error:  # no memory, no room for a program's output: the way back is what counts
        transaction.log("the units' journals cannot be read: %r" % error)
        return message


def _failed(units: t.Sequence[str]) -> list[tuple[str, str]]:
    """Those of ``units`` that failed or are about to be started again, with the invocation that it happened to."""
    names = ("Id", "ActiveState", "SubState", "Result", "InvocationID")
    result = command.run(["systemctl", "show", "--property=" + ",".join(names), "--", *units], timeout=_PATIENCE)
    found = []
    for block in result.out.split("\n\n"):
        unit = dict(line.partition("=")[::2] for line in block.splitlines())
        is_failed = unit.get("ActiveState") == "failed" or unit.get("SubState") == "auto-restart"
        if unit.get("InvocationID") and (is_failed or unit.get("Result") not in ("success", "", None)):
            found.append((unit["Id"], unit["InvocationID"]))
    return found


def _journal(invocation: str) -> list[str]:
    """What the processes of an invocation said, and systemd of it, the newest lines of it."""
    own = ["_SYSTEMD_INVOCATION_ID=" + invocation, "+", "INVOCATION_ID=" + invocation]
    options = ["--boot", "--no-pager", "--quiet", "--output=cat", "--lines=40"]
    result = command.run(["journalctl", *options, *own], timeout=_PATIENCE)
    return [without_secrets(line) for line in result.out.splitlines() if line.strip()] if result.rc == 0 else []
