# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The guard: what restores a device that is not confirmed in time, and at boot while a transaction is open.

Commit-confirmed as in JunOS and NETCONF. On systemd a transient timer and one unit that is enabled only while a
transaction is open; elsewhere a waiting process and a hook that starts it at boot (:mod:`boothook`). The deadline is
kept on the boot clock; timers only say when to look at it. The guard runs the engine that opened the transaction, from
its own file, put there before the first change and replaced by no other version.
"""

from __future__ import annotations

import os
import time

from ..base.errors import OtaError
from ..records.transaction import Transaction
from ..system import background, command, durable
from ..system.boot import boot_id, clock
from ..system.layout import Layout
from . import boothook

_UNIT = "fleet-ota-guard.service"
UNIT_FILE = "/etc/systemd/system/" + _UNIT
UNIT_LINK = "/etc/systemd/system/sysinit.target.wants/" + _UNIT
#: The guard's own files, which no snapshot may hold and no restore may touch.
FILES = (UNIT_FILE, UNIT_LINK, *boothook.PATHS.values())

_UNIT_TEXT = """[Unit]
Description=Settle an open update of fleet.ota
# As early as the disk allows: a release that brings the system down while it boots must be counted before it does.
DefaultDependencies=no
After=local-fs.target
RequiresMountsFor={state}
Conflicts=shutdown.target
Before=shutdown.target
ConditionPathExists={state}/transaction.json

[Service]
Type=simple
ExecStart={command}
Restart=on-failure
RestartSec=2

[Install]
WantedBy=sysinit.target
"""


def choose(layout: Layout, requested: str, reboots: bool = False) -> str:
    """The kind of guard: ``systemd``, ``process`` or ``none``; OtaError ``NO_GUARD`` if there can be none.

    A release that ``reboots`` the device needs a guard that is there after the boot.
    """
    lasting = not layout.is_real or boothook.find(layout) is not None
    if requested in ("process", "none"):
        if reboots and layout.is_real and (requested == "none" or not lasting):
            message = "this release reboots the device and nothing would go on after the boot with guard: %s here"
            raise OtaError("NO_GUARD", (message + "; use a device with systemd or a boot hook") % requested)
        return requested
    if background.by_systemd(layout):
        return "systemd"
    if requested == "auto" and lasting:
        return "process"
    message = "this device has neither systemd nor a boot hook that could restore it after a boot; say guard: process"
    raise OtaError(
        "NO_GUARD", message + " (does not survive a reboot) or guard: none (nothing restores the device) to accept that"
    )


def arm(transaction: Transaction) -> None:
    """Make sure the device goes back by itself; on disk and running when this returns."""
    kind = transaction.guard
    transaction.save(expires={"boot": boot_id(), "clock": clock() + transaction.deadline})
    at_boot(transaction)
    if kind == "systemd":
        _timer(transaction)
    elif kind == "process":
        _end_process(transaction)
        transaction.save(guard_pid=start(transaction, _name(transaction), "wait"))


def at_boot(transaction: Transaction) -> None:
    """Make sure that the next boot settles it, where this kind of guard outlives one; on disk when this returns."""
    if transaction.guard == "systemd":
        _boot_unit(transaction)
    elif transaction.guard == "process":
        hook = boothook.find(transaction.layout)
        if hook:
            transaction.save(hook=hook)
            boothook.place(transaction.layout, hook, _command(transaction, "boot"), _log(transaction))


def start(transaction: Transaction, name: str, mode: str) -> int | None:
    """Start it apart from this process, as ``name``, in one of :func:`watch.run`'s modes; see :func:`detach.start`."""
    return background.start(
        transaction.layout, name, _arguments(transaction, mode), _log(transaction), transaction.engine
    )


def _arguments(transaction: Transaction, mode: str) -> list[str]:
    layout = transaction.layout
    return ["guard", layout.root, layout.state_dir, transaction.id, mode]


def _command(transaction: Transaction, mode: str) -> list[str]:
    return [*background.program(transaction.engine), *_arguments(transaction, mode)]


def _log(transaction: Transaction) -> str:
    return transaction.folder("guard.log")


def remaining(transaction: Transaction) -> float:
    """Seconds to the deadline on the boot clock; none in another boot than the one in which it was armed."""
    expires = transaction.expires
    return expires["clock"] - clock() if expires and expires["boot"] == boot_id() else 0.0


def extend(transaction: Transaction, seconds: int) -> None:
    """The deadline is at least ``seconds`` from now; it never comes earlier than it was."""
    if remaining(transaction) < seconds:
        transaction.save(deadline=seconds)
        arm(transaction)


def disarm(transaction: Transaction) -> None:
    """Take the guard away; can be run again."""
    kind = transaction.guard
    if kind == "systemd":
        command.run(["systemctl", "stop", _name(transaction) + ".timer"])
        for path in (UNIT_LINK, UNIT_FILE):
            durable.remove(transaction.layout.real(path))
    elif kind == "process":
        if transaction.hook:
            boothook.remove(transaction.layout, transaction.hook)
        _end_process(transaction)


def _end_process(transaction: Transaction) -> None:
    """The waiting process of before; it is not this one."""
    if transaction.guard_pid not in (None, os.getpid()):
        background.end(transaction.layout, _name(transaction), transaction.guard_pid, transaction.id)


def _name(transaction: Transaction) -> str:
    return "fleet-ota-deadline-" + transaction.id


def _boot_unit(transaction: Transaction) -> None:
    layout = transaction.layout
    text = _UNIT_TEXT.format(command=" ".join(_command(transaction, "boot")), state=layout.state)
    durable.write(layout.real(UNIT_FILE), text.encode(), 0o644)
    link = layout.real(UNIT_LINK)
    durable.make_directory(os.path.dirname(link), 0o755)
    if not os.path.lexists(link):
        os.symlink("../" + _UNIT, link)
        durable.sync_directory(os.path.dirname(link))


def _timer(transaction: Transaction) -> None:
    argv = ["systemd-run", "--quiet", "--collect", "--unit=" + _name(transaction)]
    # Two alarms: the first does not count while the device sleeps, the second rings right after such a sleep. Which of
    # them rings, and whatever the wall clock was set to, the boot clock decides (:func:`remaining`).
    wall = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(time.time() + transaction.deadline))
    argv += ["--on-active=%ds" % transaction.deadline, "--on-calendar=%s" % wall, "--timer-property=AccuracySec=1s"]
    command.run(["systemctl", "stop", _name(transaction) + ".timer"])
    result = command.run([*argv, *_command(transaction, "deadline")])
    if result.rc != 0:
        raise OtaError("NO_GUARD", "systemd-run could not set the deadline: %s" % result.tail)
