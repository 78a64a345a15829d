# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The guard: what restores a device that is not confirmed in time, and at boot while a transaction is open.

Commit-confirmed as in JunOS and NETCONF. One process waits beside the transaction (:func:`recover.run`) from before the
first change until everything is settled, and whatever ends it, it is started again: by systemd, as one unit that is
enabled only while a transaction is open and is never given up; elsewhere by a process that waits for it, and by a hook
at boot (:mod:`boothook`). The deadline is kept on the boot clock. The guard runs the engine that opened the
transaction, from its own file, put there before the first change and replaced by no other version.
"""

from __future__ import annotations

import os
import sys

from ..base.errors import OtaError
from ..base.states import State
from ..records.transaction import Moment, Transaction
from ..system import background, command, durable, mounts
from ..system.boot import boot_id, clock
from ..system.layout import Layout
from . import boothook, reboot

_UNIT = "fleet-ota-guard.service"
UNIT_FILE = "/etc/systemd/system/" + _UNIT
UNIT_LINK = "/etc/systemd/system/sysinit.target.wants/" + _UNIT
#: The guard's own files, which no snapshot may hold and no restore may touch.
FILES = (UNIT_FILE, UNIT_LINK, *boothook.PATHS.values())
#: How the guard is started that stays until all is settled. An engine from before knows it as one that waits for the
#: deadline, and as nothing else: after a boot it restores.
STAYS = "wait"
#: Seconds after the deadline in which a guard has seen that it passed.
_LOOKS = 10.0

_UNIT_TEXT = """[Unit]
Description=Settle an open update of fleet.ota
# As early as the disk allows: a release that brings the system down while it boots must be counted before it does.
DefaultDependencies=no
After=local-fs.target
RequiresMountsFor={mount}
ConditionPathIsDirectory={state}
Conflicts=shutdown.target
Before=shutdown.target
IgnoreOnIsolate=yes
# It is never given up, however often it ends.
StartLimitIntervalSec=0

[Service]
Type=simple
ExecStart={command}
Restart=on-failure
RestartForceExitStatus=SIGHUP SIGINT SIGTERM SIGPIPE
RestartSec=2
# The last to go when memory is short.
OOMScoreAdjust=-900

[Install]
WantedBy=sysinit.target
"""


def choose(layout: Layout, requested: str, reboots: bool = False) -> str:
    """The kind of guard: ``systemd``, ``process`` or ``none``; OtaError ``NO_GUARD`` if there can be none.

    A release that ``reboots`` the device needs a guard that is there after the boot.
    """
    if requested != "none":
        _require_lasting_state(layout)
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


def _require_lasting_state(layout: Layout) -> None:
    """OtaError ``VOLATILE_STATE`` unless a guard finds the transaction again after a power cut."""
    reason = (mounts.volatile(layout.state) or mounts.late(layout.state)) if layout.is_real else None
    if reason:
        message = "%s does not outlast a power cut: %s; put it on a disk that is mounted at boot (state_dir, or a line"
        message += " in /etc/fstab), or say guard: none (nothing restores the device)"
        raise OtaError("VOLATILE_STATE", message % (layout.state, reason))


def arm(transaction: Transaction, *, stays: int | None = None) -> None:
    """Make sure the device goes back by itself; on disk and running when this returns.

    ``stays`` is the process id by which the guard is known, where the caller is the guard and stays.
    """
    kind = transaction.guard
    transaction.save(expires=_moment(allowed(transaction)))
    at_boot(transaction)
    if stays is not None:
        if kind == "process":
            transaction.save(guard_pid=stays)
    elif kind == "systemd":
        _run_unit("restart")
    elif kind == "process":
        _end_process(transaction)
        transaction.save(guard_pid=start(transaction, _name(transaction), STAYS))


def allowed(transaction: Transaction) -> int:
    """Seconds until the guard goes back: to the confirm, and while the release is not in place to the end of its
    installation."""
    is_in_place = transaction.state in (State.CHECKING, State.UNCONFIRMED) or reboot.happened(transaction)
    return transaction.deadline + (0 if is_in_place else transaction.slowness or 0)


def in_place(transaction: Transaction) -> None:
    """Have the deadline count from now; on disk with the state that follows."""
    transaction.expires = _moment(transaction.deadline)


def _moment(seconds: float) -> Moment:
    return {"boot": boot_id(), "clock": clock() + seconds}


def at_boot(transaction: Transaction) -> None:
    """Make sure that the next boot settles it, where this kind of guard outlives one; on disk when this returns."""
    if transaction.guard == "systemd":
        _place_unit(transaction)
    elif transaction.guard == "process":
        hook = boothook.find(transaction.layout)
        if hook:
            transaction.save(hook=hook)
            boothook.place(transaction.layout, hook, _command(transaction), _log(transaction))


def call(transaction: Transaction, mode: str) -> None:
    """Have a guard look at once, beside the one that stays, which is started where it does not run.

    ``mode`` is what it is to do (:func:`recover.run`). OtaError if neither can be started.
    """
    runs = False
    if transaction.guard == "systemd" and transaction.engine in (None, os.path.abspath(sys.argv[0])):
        try:
            at_boot(transaction)
            _run_unit("start")
            runs = True
        except (OtaError, OSError) as error:
            transaction.log(str(error))
    try:
        start(transaction, "fleet-ota-back-%s-%d" % (transaction.id, int(clock() * 1000)), mode)
    except OtaError as error:
        transaction.log(error.message)
        if not runs:
            raise


def start(transaction: Transaction, name: str, mode: str) -> int | None:
    """Start it apart from this process, as ``name``, in one of :func:`recover.run`'s modes."""
    return background.start(
        transaction.layout, name, _arguments(transaction, mode), _log(transaction), transaction.engine
    )


def _arguments(transaction: Transaction, mode: str) -> list[str]:
    layout = transaction.layout
    return ["guard", layout.root, layout.state_dir, transaction.id, mode]


def _command(transaction: Transaction) -> list[str]:
    return [*background.program(transaction.engine), *_arguments(transaction, STAYS)]


def _log(transaction: Transaction) -> str:
    return transaction.folder("guard.log")


def remaining(transaction: Transaction) -> float:
    """Seconds to the deadline on the boot clock; none in another boot than the one in which it was armed."""
    expires = transaction.expires
    return expires["clock"] - clock() if expires and expires["boot"] == boot_id() else 0.0


def is_overdue(transaction: Transaction) -> bool:
    """Whether nobody went back at the deadline: the guard was ended or stopped where nothing starts it again."""
    waits = transaction.state is State.UNCONFIRMED and transaction.guard != "none"
    return waits and remaining(transaction) < -_LOOKS


def extend(transaction: Transaction, seconds: int) -> None:
    """The deadline is at least ``seconds`` from now; it never comes earlier than it was."""
    if remaining(transaction) < seconds:
        transaction.save(deadline=seconds)
        arm(transaction)


def disarm(transaction: Transaction) -> None:
    """Take the guard away; can be run again. The one that runs ends by itself when it sees that all is settled."""
    kind = transaction.guard
    if kind == "systemd":
        for path in (UNIT_LINK, UNIT_FILE):
            durable.remove(transaction.layout.real(path))
    elif kind == "process":
        if transaction.hook:
            boothook.remove(transaction.layout, transaction.hook)
        _end_process(transaction)


def _end_process(transaction: Transaction) -> None:
    """The waiting process of before; it is not this one."""
    if transaction.guard_pid not in (None, os.getpid(), os.getppid()):
        background.end(transaction.layout, _name(transaction), transaction.guard_pid, transaction.id)


def _name(transaction: Transaction) -> str:
    return "fleet-ota-deadline-" + transaction.id


def _place_unit(transaction: Transaction) -> None:
    layout = transaction.layout
    text = _UNIT_TEXT.format(
        command=" ".join(map(_quoted, _command(transaction))),
        mount=_quoted(layout.state, variables=False),
        state=layout.state.replace("%", "%%"),
    ).encode()
    path, link = layout.real(UNIT_FILE), layout.real(UNIT_LINK)
    if not _has(path, text):
        durable.write(path, text, 0o644)
    durable.make_directory(os.path.dirname(link), 0o755)
    if not os.path.lexists(link):
        os.symlink("../" + _UNIT, link)
        durable.sync_directory(os.path.dirname(link))


def _quoted(word: str, variables: bool = True) -> str:
    """One word of a unit file as systemd.service(5) and systemd.unit(5) read it."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return '"%s"' % (word.replace("$", "$$") if variables else word)


def _has(path: str, content: bytes) -> bool:
    try:
        with open(path, "rb") as handle:
            return handle.read() == content
    except OSError:
        return False


def _run_unit(verb: str) -> None:
    """``start`` the unit or ``restart`` it; OtaError ``NO_GUARD`` unless it runs then, as it stands on the disk."""
    result = command.Result(0, "", "")
    if "NeedDaemonReload=yes" in _shown():  # it has the unit of an earlier transaction in mind
        command.run(["systemctl", "daemon-reload"])
    for _attempt in range(2):
        result = command.run(["systemctl", verb, _UNIT])
        shown = _shown()
        if result.rc == 0 and "NeedDaemonReload=no" in shown and "ActiveState=active" in shown:
            return
        command.run(["systemctl", "daemon-reload"])
    message = "systemd does not run the guard (%s): %s; see systemctl status there"
    raise OtaError("NO_GUARD", message % (_UNIT, result.tail or "it is not active"))


def _shown() -> list[str]:
    """Whether the unit is active, and whether systemd has another one in mind than the disk."""
    return command.run(["systemctl", "show", "--property=ActiveState,NeedDaemonReload", _UNIT]).out.split()
