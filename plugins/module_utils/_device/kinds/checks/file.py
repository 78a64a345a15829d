# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Check ``file``: a file is there, has a content, or is gone."""

from __future__ import annotations

import hashlib
import os
import stat

from ...base import schema
from . import Check, Context, Measured, Unhealthy

REQUIRED = ("path",)
RULES: dict[str, schema.Rule] = {
    "path": schema.absolute,
    "state": schema.choice("present", "absent"),
    "contains": schema.text,
    "sha256": schema.matching(schema.SHA256),
}
_LONGEST = 16 << 20


def look(check: Check, context: Context) -> Measured:
    """Follow links; a file that cannot be read is inconclusive, and more than 16 MiB of it are not searched."""
    path = context.real(check["path"])
    there = os.path.exists(path)
    if check.get("state", "present") == "absent":
        if there or os.path.lexists(path):
            raise Unhealthy("%s is there" % check["path"])
        return {}
    if not there:
        raise Unhealthy("%s is not there" % check["path"])
    if "contains" in check or "sha256" in check:
        _content(path, check)
    return {}


def _content(path: str, check: Check) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)  # a fifo would be waited for
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Unhealthy("%s is no regular file" % check["path"])
    with os.fdopen(fd, "rb") as handle:
        content = handle.read(_LONGEST + 1)
    if len(content) > _LONGEST:
        raise Unhealthy("%s is longer than %d bytes" % (check["path"], _LONGEST))
    if "contains" in check and check["contains"].encode() not in content:
        raise Unhealthy("%s does not contain %r" % (check["path"], check["contains"]))
    if "sha256" in check and hashlib.sha256(content).hexdigest() != check["sha256"]:
        raise Unhealthy("%s has another content" % check["path"])
