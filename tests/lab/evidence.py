# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a device itself shows, read from outside without trusting anything that was installed on it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from .device import Device

# Not part of a device's software: kernel file systems, run-time state, logs, what the update itself keeps, and caches
# that programs rebuild as they like.
VOLATILE = (
    "/.btrfs",
    "/dev",
    "/proc",
    "/run",
    "/sys",
    "/tmp",
    "/var/cache",
    "/var/lib/fleet-ota",
    "/var/lib/systemd",
    "/var/log",
    "/var/tmp",
)


class Entry(NamedTuple):
    """A file as far as a restore must bring it back: type, permissions, owner, content (or link target), attributes."""

    kind: str
    mode: str
    owner: int
    group: int
    content: str
    attributes: tuple[tuple[str, str], ...]


def tree(device: Device, below: Iterable[str] = ("/",), leave_out: Iterable[str] = VOLATILE) -> dict[str, Entry]:
    """All files of a running device.

    :param below: absolute folders or files to look at
    :param leave_out: absolute paths to skip with all below them; Python's byte code is always skipped
    :returns: absolute path on the device -> `Entry`
    """
    root = device.root
    skipped = set(leave_out)
    found: dict[str, Entry] = {}
    pending = [path for path in below if os.path.lexists(_outside(root, path))]
    while pending:
        path = pending.pop()
        outside = _outside(root, path)
        if path in skipped or path.endswith((".pyc", "/__pycache__")):
            continue
        # A running device's root is a link of the kernel's, to be followed; nothing below it is.
        found[path] = entry = _entry(outside, follow=path == "/")
        if entry.kind == "d":
            pending += [f"{path.rstrip('/')}/{name}" for name in os.listdir(outside)]
    return found


def differences(before: dict[str, Entry], after: dict[str, Entry]) -> dict[str, tuple[Entry | None, Entry | None]]:
    """Paths whose entries differ -> (before, after); empty when the trees are the same."""
    return {
        path: (before.get(path), after.get(path))
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    }


def packages(device: Device) -> dict[str, tuple[str, str]]:
    """The dpkg database as dpkg tells it: package -> (version, status like ``install ok installed``)."""
    text = device.run(["dpkg-query", "-W", "-f", r"${Package}:${Architecture}\t${Version}\t${Status}\n"]).stdout
    rows = (line.split("\t") for line in text.splitlines())
    return {name: (version, status) for name, version, status in rows}


def http_json(device: Device, port: int, path: str = "/health", *, wait: float = 0.0) -> dict[str, Any] | None:
    """What a service inside answers, asked from inside.

    :param wait: seconds a service that just started may take
    :returns: None when it does not answer
    """
    deadline = time.monotonic() + wait
    while True:
        done = device.run(["curl", "-s", "-f", "-m", "3", f"http://127.0.0.1:{port}{path}"], check=False)
        if done.returncode == 0:
            answer: dict[str, Any] = json.loads(done.stdout)
            return answer
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.05)


def read(device: Device, path: str) -> str | None:
    """A file's text, or None when it does not exist."""
    try:
        return _outside(device.root, path).read_text()
    except FileNotFoundError:
        return None


def _outside(root: Path, path: str) -> Path:
    """Where this machine sees a device's path."""
    return root / path.lstrip("/")


def _entry(path: Path, *, follow: bool) -> Entry:
    status = path.stat(follow_symlinks=follow)
    kind = stat.filemode(status.st_mode)[0]
    content = ""
    if kind == "-":
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
    elif kind == "l":
        content = str(path.readlink())
    elif kind in "bc":
        content = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    names = sorted(os.listxattr(path, follow_symlinks=follow))
    attributes = tuple((name, os.getxattr(path, name, follow_symlinks=follow).hex()) for name in names)
    return Entry(kind, f"{stat.S_IMODE(status.st_mode):04o}", status.st_uid, status.st_gid, content, attributes)
