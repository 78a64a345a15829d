# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The logs of a transaction, for people far away: bounded, and without what looks like a secret."""

from __future__ import annotations

import os
import re

from ..base.errors import OtaError
from ..base.typed import TypedDict
from ..base.urls import shown
from .transaction import Transaction

#: Bytes of each log, the newest; the device has the rest.
LONGEST = 64 << 10
#: What each file in the transaction's folder is about.
_NAMES = {"log": "log", "worker": "worker.log", "guard": "guard.log"}
_SECRET = re.compile(
    r"(?i)([\w.-]*(?:pass(?:word|wd|phrase)?|secret|token|api[_-]?key|credential|authorization)[\w.-]*[\"']?\s*[=:]\s*)"
    r"((?:basic|bearer)\s+)?[\"']?[^\s\"',;]+"
)
_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]*://\S+")


class Logs(TypedDict):
    """``log`` of the steps and programs, ``worker`` and ``guard`` of the processes; ``cut`` names those that are longer
    than what is here."""

    transaction: str
    log: str
    worker: str
    guard: str
    cut: list[str]


def read(last: Transaction | None, identifier: str | None = None) -> Logs:
    """The logs of transaction ``identifier``, by default of the last one.

    OtaError ``NO_PREVIOUS`` if there is none: a device keeps the logs of its last transaction only.
    """
    if last is None:
        raise OtaError("NO_PREVIOUS", "this device has had no transaction, so there are no logs")
    if identifier not in (None, "", last.id):
        message = "this device has no logs of transaction %s; it keeps those of its last one, %s"
        raise OtaError("NO_PREVIOUS", message % (identifier, last.id))
    logs: Logs = {"transaction": last.id, "log": "", "worker": "", "guard": "", "cut": []}
    for name, file in _NAMES.items():
        text, is_cut = _tail(last.folder(file))
        logs[name] = text  # type: ignore[literal-required]
        if is_cut:
            logs["cut"].append(name)
    return logs


def without_secrets(text: str) -> str:
    """``text`` without what looks like a password or a key, or is one in an address."""
    text = _ADDRESS.sub(lambda match: shown(match.group()), text)
    return _SECRET.sub(lambda match: match.group(1) + "***", text)


def _tail(path: str) -> tuple[str, bool]:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as handle:
            size = handle.seek(0, os.SEEK_END)
            handle.seek(max(0, size - LONGEST))
            content = handle.read(LONGEST)
    except OSError:
        return "", False
    if size > LONGEST:
        content = content.partition(b"\n")[2]  # from a whole line on
    return without_secrets(content.decode("utf-8", "replace")), size > LONGEST
