# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""A backup of data elsewhere before an update, by restic (docs/data.md).

Where it goes, and the password, is the device's own matter and in a file that only root may read: no request and no
release names a repository, so a stolen controller cannot have data sent anywhere.
"""

from __future__ import annotations

import json
import os
import re
import typing as t

from ..base.errors import OtaError
from ..documents.data import Entry
from ..enrolment.identity import Identity
from ..records.transaction import Transaction
from ..system import command
from ..system.layout import Layout

#: ``NAME=value`` in each line: restic's own variables (RESTIC_REPOSITORY, RESTIC_PASSWORD_FILE, ...).
SETTINGS = "/etc/fleet-ota/restic.env"
TIMEOUT = 3600  # seconds for all of it
_LINE = re.compile(r"^([A-Z][A-Z0-9_]*)=(.*)\Z")
_OURS = ("PATH", "HOME", "LC_ALL", "LANG")


def require_possible(layout: Layout, entries: t.Iterable[Entry]) -> None:
    """OtaError ``REQUIREMENT`` unless this device can back up what ``entries`` (of :func:`data.merged`) want."""
    if not any(entry.get("backup") for entry in entries):
        return
    if command.which("restic") is None:
        raise OtaError("REQUIREMENT", "data is to be backed up before the update and there is no restic; install it")
    _settings(layout)


def run(transaction: Transaction, entries: t.Iterable[Entry]) -> None:
    """Back up what ``entries`` want, as far as it is there; OtaError ``BACKUP`` if not all of it was."""
    layout = transaction.layout
    listed = sorted({os.path.normpath(entry["path"]) for entry in entries if entry.get("backup")})
    paths = [path for path in listed if os.path.lexists(layout.real(path))]
    for path in sorted(set(listed) - set(paths)):
        transaction.log("backup: there is no %s yet" % path)
    if not paths:
        return
    environment = _settings(layout)
    environment.setdefault("RESTIC_CACHE_DIR", layout.file("restic"))
    argv = ["restic", "backup", "--json", "--quiet", "--host", str(Identity(layout).words["name"])]
    argv += ["--tag", "fleet-ota,%s" % transaction.id, "--", *(layout.real(path) for path in paths)]
    result = command.run(argv, timeout=TIMEOUT, environment=environment)
    snapshot = _snapshot(result.out) if result.rc == 0 else None  # 3: made, but something could not be read
    if snapshot is None:
        message = "restic could not back up %s (it ended with %d), so nothing was touched: %s; fix that and run again"
        raise OtaError("BACKUP", message % (", ".join(paths), result.rc, result.tail))
    transaction.log("backed up %s as restic snapshot %s" % (", ".join(paths), snapshot))
    transaction.save(backup=snapshot)


def _snapshot(output: str) -> str | None:
    """The id in restic's summary, its last line."""
    try:
        return str(json.loads(output.strip().splitlines()[-1])["snapshot_id"])
    except (ValueError, LookupError, TypeError):
        return None


def _settings(layout: Layout) -> dict[str, str]:
    """restic's variables; OtaError ``REQUIREMENT`` if they are missing, or open to others than root."""
    path = layout.real(SETTINGS)
    try:
        with open(path, encoding="utf-8") as handle:
            info, lines = os.fstat(handle.fileno()), handle.read().splitlines()
    except (OSError, ValueError) as error:
        message = "data is to be backed up before the update and %s cannot be read (%s); write there where it goes"
        raise OtaError("REQUIREMENT", message % (SETTINGS, error)) from error
    if info.st_uid not in (0, os.geteuid()) or info.st_mode & 0o077:
        raise OtaError("REQUIREMENT", "%s is open to others than root; chown root and chmod 600 it" % SETTINGS)
    settings = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None or match.group(1) in _OURS:
            raise OtaError("REQUIREMENT", "%s, line %d: only NAME=value for restic goes here" % (SETTINGS, number))
        settings[match.group(1)] = match.group(2)
    if not {"RESTIC_REPOSITORY", "RESTIC_REPOSITORY_FILE"} & set(settings):
        raise OtaError("REQUIREMENT", "%s names no RESTIC_REPOSITORY; write where the backup goes" % SETTINGS)
    return settings
