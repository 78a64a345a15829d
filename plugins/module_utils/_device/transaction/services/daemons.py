# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Daemons that no unit keeps: started again, as they were, when a change ended them and goes back."""

from __future__ import annotations

import collections
import contextlib
import os
import sys
import time
import typing as t

from ...base.errors import OtaError
from ...documents.release import Document
from ...records import releases
from ...records.transaction import Transaction
from ...system import processes
from ...system.files.paths import resolve, unsafe_owner
from ...system.processes import Command, Process
from ...system.units import apart
from . import record as records
from .record import Record

#: Seconds that a daemon of before may take to end, once it was told to.
DRAINS = 30.0
#: Starts a program in the background as it was, says its number, and ends: a program of its own, for a daemon's rights
#: are given up before it runs. Arguments: user, group, other groups, names of its environment, program, its arguments.
_SPAWN = """
import os, sys
uid, gid, groups, names, program, *argv = sys.argv[1:]
kept = {name: os.environ[name] for name in names.split() if name in os.environ}
pid = os.fork()
if pid:
    print(pid)
else:
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.setgroups([int(group) for group in groups.split()])
    os.setgid(int(gid))
    os.setuid(int(uid))
    os.execve(program, argv, kept)
"""


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


def wait_for_old(transaction: Transaction, record: Record, document: Document | None) -> None:
    """Wait until daemons of before that were told to end have done so: one that drains proves nothing of the new ones.

    Which they are: those that the release before started, run from its directory, or run files that were replaced.
    """
    payloads = t.cast("list[t.Mapping[str, object]]", document["payloads"] if document else [])
    places = tuple("%s/" % one["destination"] for one in payloads if "destination" in one)
    scope = apart.PREFIX + (transaction.before["transaction"] if transaction.before else " ")
    stops = any("deactivate" in payload for payload in payloads)
    old = {(one["pid"], one["started"]): one for one in record["daemons"] if not one["stale"]}

    def is_old(process: Process) -> bool:
        daemon = old.get((process.pid, process.started))
        if daemon is None:
            return False
        ours = process.unit.startswith(scope) or any(
            path.startswith(places) for path in (*processes.files_of(daemon["exe"], daemon["argv"]), daemon["cwd"])
        )
        return (stops and ours) or bool(processes.outdated(process) & process.files)

    end = time.monotonic() + DRAINS
    while True:
        left = [process.shown for process in processes.everything() if is_old(process)]
        if not left:
            return
        if time.monotonic() > end:
            records.tell(transaction, "runs on from what was there before: %s" % ", ".join(left))
            return
        time.sleep(0.2)


def end_old(transaction: Transaction, record: Record, changed: t.Container[str]) -> None:
    """End those of before whose own files are among the real paths ``changed``; :func:`start_again` has them back."""
    old = {(one["pid"], one["started"]): one for one in record["daemons"]}

    def find() -> list[Process]:
        found = []
        for process in processes.everything():
            daemon = old.get((process.pid, process.started))
            if daemon and any(
                os.path.realpath(path) in changed for path in processes.files_of(daemon["exe"], daemon["argv"])
            ):
                found.append(process)
        return found

    ended = processes.end(find, DRAINS)
    if ended:
        transaction.log("ended: %s" % ", ".join(one.shown for one in ended))


def start_again(transaction: Transaction, record: Record, concerned: t.Callable[[str], bool]) -> None:
    """Start those that the change ended: they run a file which is ``concerned``, or scripts of packages started them.

    What a release's own command starts is left to that command. What does not start is told.
    """
    if not records.is_this_boot(record):
        return
    before = releases.known(transaction.layout, transaction.before)
    has_command = any("activate" in payload for payload in (before["payloads"] if before else []))
    for daemon in gone(record):
        ours = daemon["unit"].startswith(apart.PREFIX) and not has_command
        if ours or any(map(concerned, processes.files_of(daemon["exe"], daemon["argv"]))):
            _start(transaction, daemon)


def _start(transaction: Transaction, daemon: Command) -> None:
    text = "%s ran before without a unit" % " ".join(daemon["argv"])
    if not os.access(daemon["exe"], os.X_OK):
        records.tell(transaction, "%s and does not start: %s is not there" % (text, daemon["exe"]))
        return
    unsafe = [
        path for path in processes.files_of(daemon["exe"], daemon["argv"]) if daemon["uid"] == 0 and not _is_roots(path)
    ]
    if unsafe:
        records.tell(transaction, "%s and is not started: others than root can exchange %s" % (text, unsafe[0]))
        return
    names = " ".join([*daemon["environment"], processes.TOKEN])
    rights = [str(daemon["uid"]), str(daemon["gid"]), " ".join(map(str, daemon["groups"]))]
    argv = [sys.executable, "-I", "-S", "-c", _SPAWN, *rights, names, daemon["exe"], *daemon["argv"]]
    cwd = daemon["cwd"] if os.path.isdir(daemon["cwd"]) else "/"
    result = apart.run(transaction.layout, transaction.id, argv, cwd=cwd, environment=daemon["environment"])
    if result.rc != 0:
        records.tell(transaction, "%s and does not start: %s" % (text, result.tail))
        return
    transaction.log("%s, and was started again as %s" % (text, result.out.strip()))
    for path in daemon["pidfiles"]:
        with contextlib.suppress(OSError, ValueError):
            processes.note_pid(path, int(result.out))


def _is_roots(path: str) -> bool:
    """Whether nobody but root can exchange what is there."""
    try:
        return unsafe_owner(resolve(path)) is None
    except OtaError:
        return False
