# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Reboots that a release asks for: whether one is due, asking for it, and telling one boot from another.

What is running after the files went back may still be what was booted with them away (a kernel, systemd itself), so a
way back from a release that was booted into ends with a reboot too, and is proven after it.
"""

from __future__ import annotations

import os
import time
import typing as t

from ..base.errors import OtaError
from ..base.states import State
from ..documents import release
from ..records.transaction import Transaction
from ..system import command
from ..system.boot import boot_id
from ..system.layout import Layout

#: From least to most: what a release may say under ``reboot``.
MODES = ("never", "if_needed", "always")
#: Where package tools of Debian and its kin note that a reboot is due.
REQUIRED = "/run/reboot-required"
#: Seconds that an orderly shutdown may take before a way back insists.
_PATIENCE = 120.0
#: A shutdown ends the caller first, and then waits for whatever does not stop: this one is left until the very end.
_INSISTING = [
    *("systemd-run", "--quiet", "--collect", "--no-block", "--unit=fleet-ota-reboot.service"),
    *("--property=DefaultDependencies=no", "--property=IgnoreOnIsolate=yes"),
    *("/bin/sh", "-c", "sleep %d; exec systemctl reboot --force" % _PATIENCE),
]
#: Seconds in which a call that waits for the state gets its answer, and lets go of its connection.
_ANSWERS = 0.6
#: Seconds until the rest of the system has come up, or is taken for up.
_COMES_UP = 180.0


def mode(*documents: release.Document | None) -> str:
    """The most that any of ``documents`` asks for."""
    return max((document.get("reboot", "never") if document else "never" for document in documents), key=MODES.index)


def due(transaction: Transaction) -> bool:
    """Whether to reboot now that everything is installed."""
    mode = transaction.reboot
    return mode == "always" or (mode == "if_needed" and os.path.exists(transaction.layout.real(REQUIRED)))


def happened(transaction: Transaction) -> bool:
    """Whether the device was booted since the transaction began."""
    return transaction.boot_id not in ("", boot_id())


def is_into_new(transaction: Transaction) -> bool:
    """Whether a boot now is the one, or a repetition of it, by which the release is entered."""
    return transaction.state in (State.REBOOTING, State.CHECKING) and transaction.reboot != "never"


def due_back(transaction: Transaction) -> bool:
    """Whether a way back needs a reboot: what runs now may have been booted from what was just taken away.

    What was never entered by a boot, and a release that needed none, need no boot back either.
    """
    if not transaction.layout.is_real or not happened(transaction) or transaction.reboot == "never":
        return False
    return transaction.back_from in (None, boot_id())


def under_way(transaction: Transaction) -> bool:
    """Whether this boot is about to end by the transaction's own will."""
    if not transaction.layout.is_real:
        return False
    if transaction.state is State.REBOOTING:
        return not happened(transaction)
    return transaction.state is State.RESTORING and transaction.back_from == boot_id()


def ask(layout: Layout, *, insist: bool = False) -> t.NoReturn:
    """Reboot this device and wait for the end; OtaError ``REBOOT`` when it does not come.

    ``insist`` (for a way back) goes on without the services that do not stop.
    """
    os.sync()
    time.sleep(_ANSWERS)
    steps = [["systemctl", "reboot"]] if command.has_systemd() else [["reboot"]]
    if insist and command.has_systemd():
        command.run(_INSISTING)
    if insist:
        steps.append([*steps[0], "--force"] if command.has_systemd() else ["reboot", "-f"])
    reason = ""
    for argv in steps:
        result = command.run(argv, timeout=_PATIENCE)
        reason = result.tail or reason
        if result.rc == 0:
            time.sleep(_PATIENCE)  # this process ends with the system
    raise OtaError("REBOOT", "the device was told to reboot and did not: %s" % (reason or "no reason was given"))


def wait_for_system() -> None:
    """Wait until the units of this boot have been started, or long enough: health decides then."""
    end = time.monotonic() + _COMES_UP
    while command.has_systemd() and time.monotonic() < end:
        if command.run(["systemctl", "is-system-running"]).out.strip() not in ("", "initializing", "starting"):
            return
        time.sleep(0.25)
