# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Daemons that no unit keeps: started again, as they were, when a change ended them and goes back."""

from __future__ import annotations

import os
import typing as t

from ...records.transaction import Transaction
from ...system import processes
from ...system.processes import Command
from ...system.units import apart
from . import record as records
from .record import Record

#: Starts a program as a user, in the background; it may not say anything.
_START = ("setpriv", "--reuid=%d", "--regid=%d", "--groups=%s", "--", "setsid", "--fork")


def gone(record: Record) -> list[Command]:
    """Those that ran before and do not now, nor a process with the same arguments."""
    now = {process.argv for process in processes.everything()}
    return [daemon for daemon in record["daemons"] if tuple(daemon["argv"]) not in now]


def start_again(transaction: Transaction, record: Record, concerned: t.Callable[[str], bool]) -> None:
    """Start those that run a file which is ``concerned``: the change ended them. What does not start is told."""
    if not records.is_this_boot(record):
        return
    for daemon in gone(record):
        if not any(map(concerned, files(daemon))):
            continue
        argv = [_START[0], _START[1] % daemon["uid"], _START[2] % daemon["gid"]]
        groups = ",".join(map(str, daemon["groups"]))
        argv += ["--groups=" + groups] if groups else ["--clear-groups"]
        argv += [*_START[4:], *([daemon["exe"], *daemon["argv"][1:]])]
        cwd = daemon["cwd"] if os.path.isdir(daemon["cwd"]) else "/"
        result = apart.run(transaction.layout, transaction.id, argv, cwd=cwd, environment=daemon["environment"])
        text = "%s ran before without a unit" % " ".join(daemon["argv"])
        if result.rc == 0:
            transaction.log("%s, and was started again" % text)
        else:
            records.tell(transaction, "%s and does not start: %s" % (text, result.tail))


def files(daemon: Command) -> t.Iterator[str]:
    """Its program, and the script that an interpreter runs."""
    yield daemon["exe"]
    yield from (argument for argument in daemon["argv"][:4] if argument.startswith("/"))
