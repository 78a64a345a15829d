# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The change once in a copy of the device, before anything is touched: does it succeed, what does it touch, what does
it need? (docs/snapshots.md)"""

from __future__ import annotations

import os
import sys
import typing as t

from ..base.errors import OtaError
from ..kinds import payloads
from ..records.transaction import Transaction
from ..system import background, mounts, overlay
from ..system.files.remove import remove_own
from ..system.layout import Layout
from ..system.overlay import Need

MODES = ("auto", "required", "off")
#: Bytes that stay free on each file system: for journals, logs and what services write meanwhile.
SPARE = 4 << 20


class Rehearsed(t.NamedTuple):
    """What is known of the change: the paths that it touches (None: not rehearsed), what it needs where, what it
    makes of the files that others change too (:meth:`payloads.Base.common_files`), and how many seconds it took."""

    touched: list[str] | None
    needs: dict[str, Need]
    texts: t.Mapping[str, str] = {}
    seconds: float = 0.0


def rehearse(transaction: Transaction, installers: t.Sequence[payloads.Base]) -> Rehearsed:
    """Let the payloads show what they do; those of which it is known without that are not asked.

    OtaError ``REHEARSAL`` if a program fails: nothing was touched. Where the device has no such copy it goes on
    without one, by the wider scope, unless the request says ``required``.
    """
    needs: dict[str, Need] = {}
    for installer in installers:
        _add(needs, installer.needs())
    steps = [step for installer in installers for step in installer.rehearsal()] if _is_wanted(transaction) else []
    if not steps:
        return Rehearsed(None, needs)
    folder = transaction.folder("rehearsal")
    remove_own(folder)
    os.makedirs(folder, 0o700)
    size = sum(need.bytes for need in needs.values())
    try:
        collect = {path for installer in installers for path in installer.common_files()}
        outcome = overlay.run(background.program(), folder, steps, size, collect)
    except overlay.Unavailable as error:
        if transaction.rehearsal == "required":
            message = "the change cannot be rehearsed here: %s; set rehearsal to auto to go on without"
            raise OtaError("REHEARSAL", message % error) from None
        transaction.log("not rehearsed: %s" % error)
        transaction.save(rehearsed={"done": False, "reason": str(error)})
        return Rehearsed(None, needs)
    finally:
        remove_own(folder)
    transaction.log("rehearsal: %s\n%s" % (outcome.result.out, outcome.result.err))
    if outcome.result.rc != 0:
        message = "the packages cannot be installed here: %s; nothing was touched. Correct the release or the device"
        raise OtaError("REHEARSAL", message % outcome.result.tail)
    if outcome.engine is not None:
        message = "afterwards %s could not run the engine and its guard, which takes the device back: %s; nothing was "
        message += "touched. Leave this Python as it is, or bring with the release what it needs to run"
        raise OtaError("REHEARSAL", message % (sys.executable, outcome.engine))
    shown = {"done": True, "seconds": round(outcome.seconds, 2), "paths": len(outcome.touched)}
    transaction.save(rehearsed=shown)
    _add(needs, outcome.needs)
    return Rehearsed(outcome.touched, needs, outcome.texts, outcome.seconds)


def require_room(layout: Layout, needs: t.Mapping[str, Need]) -> None:
    """OtaError ``NO_SPACE`` unless each file system has room, in bytes and in inodes, for what lies below it."""
    sums: dict[str, Need] = {}
    for path, need in needs.items():
        point = mounts.of(_present(layout.real(path))).point or "/"
        _add(sums, {point: need})
    for point, need in sums.items():
        info = os.statvfs(point)
        free, inodes = info.f_bavail * info.f_frsize, info.f_favail
        if free < need.bytes + SPARE:
            message = (
                "%d bytes are needed for snapshot, payload and reserve, %d are free in %s; make room and run again"
            )
            raise OtaError("NO_SPACE", message % (need.bytes + SPARE, free, point))
        if info.f_files and inodes < need.inodes:
            message = "%d files are needed for snapshot and payload, %d more fit in %s; remove some and run again"
            raise OtaError("NO_SPACE", message % (need.inodes, inodes, point))


def _is_wanted(transaction: Transaction) -> bool:
    return transaction.rehearsal != "off" and transaction.layout.is_real


def _add(sums: dict[str, Need], more: t.Mapping[str, Need]) -> None:
    for path, need in more.items():
        so_far = sums.get(path, Need(0, 0))
        sums[path] = Need(so_far.bytes + need.bytes, so_far.inodes + need.inodes)


def _present(path: str) -> str:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return os.path.realpath(path)
