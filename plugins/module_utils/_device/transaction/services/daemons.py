# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Daemons that no unit keeps: started again, as they were, when a change ended them and goes back."""

from __future__ import annotations

import collections
import os
import time
import typing as t

from ...records import releases
from ...records.transaction import Transaction
from ...system import processes
from ...system.processes import Command
from ...system.units import apart
from . import record as records
from .record import Record

#: Seconds that a program may take until it is there under its own name.
_APPEARS = 5.0


def gone(record: Record) -> list[Command]:
    """Those that ran before and do not now, nor a daemon with the same arguments in their place."""
    now = collections.Counter(process.argv for process in processes.everything() if records.is_daemon(process))
    left = []
    for daemon in record["daemons"]:
        argv = tuple(daemon["argv"])
        now[argv] -= 1
        if now[argv] < 0:
            left.append(daemon)
    return left


def start_again(transaction: Transaction, record: Record, concerned: t.Callable[[str], bool]) -> None:
    """Start those that the change ended: they run a file which is ``concerned``, or scripts of packages started them.

    What a release's own command starts is left to that command. What does not start is told.
    """
    if not records.is_this_boot(record):
        return
    before = releases.confirmed(transaction.layout, transaction.before)
    has_command = any("activate" in payload for payload in (before or {"payloads": []})["payloads"])
    for daemon in gone(record):
        ours = daemon["unit"].startswith(apart.PREFIX) and not has_command
        if ours or any(map(concerned, _files(daemon))):
            _start(transaction, daemon)


def _start(transaction: Transaction, daemon: Command) -> None:
    ids = ["--reuid=%d" % daemon["uid"], "--regid=%d" % daemon["gid"]]
    groups = ",".join(map(str, daemon["groups"]))
    ids.append("--groups=" + groups if groups else "--clear-groups")
    name = daemon["argv"][0]
    program = name if os.path.realpath(name) == daemon["exe"] and os.path.isabs(name) else daemon["exe"]
    argv = ["setpriv", *ids, "--", "setsid", "--fork", program, *daemon["argv"][1:]]
    cwd = daemon["cwd"] if os.path.isdir(daemon["cwd"]) else "/"
    result = apart.run(transaction.layout, transaction.id, argv, cwd=cwd, environment=daemon["environment"])
    text = "%s ran before without a unit" % " ".join(daemon["argv"])
    if result.rc != 0:
        records.tell(transaction, "%s and does not start: %s" % (text, result.tail))
        return
    pid = _number(daemon)
    transaction.log("%s, and was started again as %s" % (text, pid))
    for path in daemon["pidfiles"] if pid else []:
        with open(path, "w", encoding="ascii") as handle:
            handle.write("%d\n" % pid)


def _number(daemon: Command) -> int:
    """The number of the process that took the daemon's place; 0 if it is not there."""
    end = time.monotonic() + _APPEARS
    while time.monotonic() < end:
        for process in processes.everything():
            if process.argv[1:] == tuple(daemon["argv"][1:]) and process.program == daemon["exe"]:
                if process.unit.startswith(apart.PREFIX) or not process.unit:
                    return process.pid
        time.sleep(0.05)
    return 0


def _files(daemon: Command) -> t.Iterator[str]:
    """Its program, and the script that an interpreter runs."""
    yield daemon["exe"]
    yield from (argument for argument in daemon["argv"][:4] if argument.startswith("/"))
