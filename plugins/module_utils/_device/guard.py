# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The guard: what restores a device when nobody confirms, and at boot while a transaction is open.

Commit-confirmed as in JunOS and NETCONF. On systemd a transient timer on the monotonic clock and one unit that is
enabled only while a transaction is open; elsewhere a waiting process, which does not survive a reboot and is
therefore taken by itself only for devices that are directories. The guard runs the engine that opened the
transaction, from its own file, put there before the first change.
"""

from __future__ import annotations

import os

from . import command, detach, durable
from .errors import OtaError
from .layout import Layout
from .transaction import Transaction

_UNIT = "fleet-ota-guard.service"
UNIT_FILE = "/etc/systemd/system/" + _UNIT
UNIT_LINK = "/etc/systemd/system/multi-user.target.wants/" + _UNIT
#: The guard's own files, which no snapshot may hold and no restore may touch.
FILES = (UNIT_FILE, UNIT_LINK)

_UNIT_TEXT = """[Unit]
Description=Settle an open update of fleet.ota
After=local-fs.target
ConditionPathExists={state}/transaction.json

[Service]
Type=simple
ExecStart={program} guard {root} {state_dir} {transaction} boot

[Install]
WantedBy=multi-user.target
"""


def choose(layout: Layout, wanted: str) -> str:
    """The kind of guard: ``systemd``, ``process`` or ``none``; OtaError ``NO_GUARD`` if there can be none."""
    if wanted in ("process", "none"):
        return wanted
    if detach.by_systemd(layout):
        return "systemd"
    if wanted == "auto" and not layout.is_real:
        return "process"
    message = "this device has no systemd that could restore it when contact is lost; say guard: process (does not"
    raise OtaError("NO_GUARD", message + " survive a reboot) or guard: none (nobody restores it) to accept that")


def arm(transaction: Transaction) -> None:
    """Make sure the device goes back by itself; on disk and running when this returns."""
    layout, kind = transaction.layout, transaction.guard
    if kind == "systemd":
        _boot_unit(transaction)
        _timer(transaction)
    elif kind == "process":
        arguments = ["guard", layout.root, layout.state_dir, transaction.id, "wait", str(transaction.deadline)]
        transaction.save(guard_pid=detach.start(layout, _name(transaction), arguments, transaction.folder("guard.log")))


def disarm(transaction: Transaction) -> None:
    """Take the guard away; can be run again."""
    kind = transaction.data.get("guard")
    if kind == "systemd":
        command.run(["systemctl", "stop", _name(transaction) + ".timer"])
        for path in (UNIT_LINK, UNIT_FILE):
            durable.remove(transaction.layout.real(path))
    elif kind == "process" and transaction.data.get("guard_pid") != os.getpid():
        detach.end(transaction.layout, _name(transaction), transaction.data.get("guard_pid"), transaction.id)


def _name(transaction: Transaction) -> str:
    return "fleet-ota-deadline-" + str(transaction.id)


def _boot_unit(transaction: Transaction) -> None:
    layout = transaction.layout
    text = _UNIT_TEXT.format(
        program=" ".join(detach.program()),
        root=layout.root,
        state=layout.state,
        state_dir=layout.state_dir,
        transaction=transaction.id,
    )
    durable.write(layout.real(UNIT_FILE), text.encode(), 0o644)
    link = layout.real(UNIT_LINK)
    durable.make_directory(os.path.dirname(link), 0o755)
    if not os.path.lexists(link):
        os.symlink("../" + _UNIT, link)
        durable.sync_directory(os.path.dirname(link))


def _timer(transaction: Transaction) -> None:
    layout = transaction.layout
    argv = ["systemd-run", "--quiet", "--collect", "--unit=" + _name(transaction)]
    argv += ["--on-active=%ds" % transaction.deadline, "--timer-property=AccuracySec=1s"]
    command.run(["systemctl", "stop", _name(transaction) + ".timer"])
    result = command.run([*argv, *detach.program(), "guard", layout.root, layout.state_dir, transaction.id, "deadline"])
    if result.rc != 0:
        raise OtaError("NO_GUARD", "systemd-run could not set the deadline: %s" % result.tail)
