# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Where there is no systemd: how the guard is started at boot. Each way is one file that others' files do not notice.

``local.d``: OpenRC. ``init.d``: an init (BusyBox, Buildroot) whose ``rcS`` runs every ``S??*``. ``cron``: a running
cron daemon that reads ``/etc/cron.d`` and knows ``@reboot`` (Debian's, cronie).
"""

from __future__ import annotations

import os
import shlex
import typing as t

from ..system import durable
from ..system.layout import Layout

PATHS: dict[str, str] = {
    "local.d": "/etc/local.d/fleet-ota-guard.start",
    "init.d": "/etc/init.d/S99fleet-ota-guard",
    "cron": "/etc/cron.d/fleet-ota-guard",
}
_SCRIPT = """#!/bin/sh
# Settles an open update of fleet.ota; is there only while one is open.
[ "${1:-start}" = start ] || exit 0
(until %s </dev/null >>%s 2>&1; do sleep 5; done) &
"""
_CRON = """# Settles an open update of fleet.ota; is there only while one is open.
@reboot root until %s </dev/null >>%s 2>&1; do sleep 5; done
"""


def find(layout: Layout) -> str | None:
    """A way that this device follows at boot, or None."""
    if not layout.is_real:
        return None
    if os.path.isdir("/run/openrc") and os.path.isdir("/etc/local.d") and _runs_local():
        return "local.d"
    if "S??" in durable.read_text("/etc/init.d/rcS") and "rcS" in durable.read_text("/etc/inittab"):
        return "init.d"
    if os.path.isdir("/etc/cron.d") and _runs_cron():
        return "cron"
    return None


def place(layout: Layout, kind: str, argv: t.Sequence[str], log: str) -> None:
    """Start ``argv`` at each boot from now on, again and again until it succeeds; on disk when this returns."""
    quoted, output = " ".join(map(shlex.quote, argv)), shlex.quote(log)
    text = _CRON % (quoted.replace("%", "\\%"), output) if kind == "cron" else _SCRIPT % (quoted, output)
    durable.write(layout.real(PATHS[kind]), text.encode(), 0o644 if kind == "cron" else 0o755)


def remove(layout: Layout, kind: str) -> None:
    """Not any more."""
    durable.remove(layout.real(PATHS[kind]))


def _runs_local() -> bool:
    """Whether OpenRC starts the service that runs ``/etc/local.d``; Alpine has it in no runlevel at first."""
    return any(os.path.lexists("/etc/runlevels/%s/local" % level) for level in ("sysinit", "boot", "default"))


def _runs_cron() -> bool:
    """Whether a cron daemon runs that is not BusyBox's, which reads other files."""
    for name in os.listdir("/proc"):
        if name.isdigit() and durable.read_text("/proc/%s/comm" % name).strip() in ("cron", "crond"):
            try:
                return os.path.basename(os.readlink("/proc/%s/exe" % name)) != "busybox"
            except OSError:
                continue
    return False
