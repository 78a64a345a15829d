# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Which machine this is, and which process of it: what a run of a rollout is told from others by."""

from __future__ import annotations

import functools
import hashlib
import os
import pathlib
import platform

#: Tells machines of one host name apart.
MACHINE_ID = "/etc/machine-id"


def machine() -> str | None:
    """A hash of the machine's id, which itself is nobody's business (machine-id(5)); None if there is none."""
    content = _text(MACHINE_ID)
    return hashlib.sha256(content.encode()).hexdigest()[:12] if content and content != "uninitialized" else None


@functools.cache
def boot() -> str | None:
    """The id of this boot; None where the kernel does not tell it."""
    return _text("/proc/sys/kernel/random/boot_id")


@functools.cache
def fingerprint() -> str:
    """8 hex digits that tell this machine from those that share a disk with it."""
    return hashlib.sha256(f"{machine()} {platform.node()}".encode()).hexdigest()[:8]


def pid_namespace() -> str | None:
    """The namespace of pids that this process is in; None where the kernel does not tell it."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def begun(pid: object) -> str | None:
    """When a process began, in the kernel's ticks (proc(5), field 22 of stat); None if there is no such process."""
    if not isinstance(pid, int):
        return None
    text = _text(f"/proc/{pid}/stat")
    # the name in parentheses may hold blanks and parentheses itself
    fields = text.rpartition(")")[2].split() if text else []
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else None


def _text(path: str) -> str | None:
    try:
        return pathlib.Path(path).read_text("utf-8", "replace").strip()
    except OSError:
        return None
