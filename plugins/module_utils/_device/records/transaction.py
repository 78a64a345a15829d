# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The device's transaction: one small document, rewritten durably before each step.

States, in order (docs/reference/engine.md)::

    staged verified snapshotted | armed installing [rebooting] checking unconfirmed | confirmed
                                         any failure, deadline or boot  -> restoring -> restored | broken
    before anything is touched                                          -> refused | deferred
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import typing as t
import uuid

from ..base.errors import OtaError
from ..enrolment import machine
from ..system import durable
from ..system.boot import boot_id, clock
from ..system.layout import Layout
from . import history, installed

FORMAT = 1
#: What the engine names transactions and their snapshots; people name theirs otherwise.
IDENTIFIER = re.compile(r"^[0-9a-f]{12}$")
UNTOUCHED = ("staged", "verified", "snapshotted")
TOUCHED = ("armed", "installing", "rebooting", "checking", "restoring")
#: Something still happens by itself.
AT_WORK = UNTOUCHED + TOUCHED
ENDED = ("confirmed", "restored", "broken", "refused", "deferred")


class Transaction:
    """The open or last transaction of a device; ``data`` is what ``transaction.json`` holds."""

    def __init__(self, layout: Layout, data: dict[str, t.Any]) -> None:
        self.layout = layout
        self.data = data

    @classmethod
    def load(cls, layout: Layout) -> Transaction | None:
        """The device's transaction, or None if it never had one.

        OtaError ``BUSY`` if another version of the engine wrote it in a form that this one does not know.
        """
        data = durable.read_json(layout.file("transaction.json"))
        if data and data.get("format") != FORMAT:
            message = "transaction %s is of another version of the engine (format %s, this one has %d): its own guard"
            raise OtaError("BUSY", (message + " settles it") % (data.get("id"), data.get("format"), FORMAT))
        return cls(layout, data) if data else None

    @classmethod
    def begin(cls, layout: Layout, **data: t.Any) -> Transaction:
        """Open one, in state ``staged``. The caller holds the lock and has seen that none is open."""
        identifier, last = uuid.uuid4().hex[:12], cls.load(layout)
        durable.make_directory(layout.transaction(identifier))
        start = {"format": FORMAT, "id": identifier, "outcome": None, "code": None, "message": "", "boots": 0}
        # Which instance it is, and how many transactions it had: what a controller remembers of a device.
        start.update(instance=machine.instance(layout), sequence=(last.sequence if last else 0) + 1)
        # The program that opened it, which stays under its digest, is the one that settles it.
        start.update(boot_id=boot_id(), counted=boot_id(), engine=os.path.abspath(sys.argv[0]))
        found = cls(layout, dict(start, started=installed.stamp(), began=clock(), steps={}, **data))
        found.advance("staged")
        return found

    def __getattr__(self, name: str) -> t.Any:
        try:
            return self.__dict__["data"][name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def sequence(self) -> int:
        """How many transactions the device had begun with this one; 0 of an engine that did not count."""
        return int(self.data.get("sequence") or 0)

    @property
    def is_open(self) -> bool:
        """Whether it has not come to its end."""
        return self.data["state"] not in ENDED

    @property
    def is_at_work(self) -> bool:
        """Whether something still has to happen by itself: not ended and not waiting for a confirm."""
        return self.data["state"] in AT_WORK

    def advance(self, state: str, **changes: t.Any) -> None:
        """Enter ``state``: on disk, and in the history, before the step that belongs to it runs."""
        if "state" in self.data:
            self.witness()  # a run that was killed between the two writes below left this to us
        self.data.update(changes, state=state)
        self.data["steps"][state] = round(clock() - self.data["began"], 3)
        if state == "checking":  # the change is in place: what a confirm's connection must be younger than
            self.data["in_place"] = {"boot": boot_id(), "clock": clock()}
        self.save()
        self.witness()

    def witness(self) -> None:
        """See to it that the history has the state that the transaction is in. Can be run again."""
        state, last = self.data["state"], history.last(self.layout)
        if (last.get("transaction"), last.get("state")) == (self.data["id"], state):
            return
        record = {"time": installed.stamp(), "transaction": self.data["id"], "state": state}
        record.update({key: self.data[key] for key in ("outcome", "code", "message") if self.data.get(key)})
        if state == "staged" and self.data.get("checkpoint"):
            record["checkpoint"] = self.data["checkpoint"]  # the device witnesses the controller's journal
        history.add(self.layout, record)

    def save(self, **changes: t.Any) -> None:
        """Write it durably as it is, with ``changes``."""
        self.data.update(changes)
        durable.write_json(self.layout.file("transaction.json"), self.data)

    def count_boot(self) -> None:
        """Note that the device was booted since this was last asked; the same boot counts once."""
        if self.data.get("counted") == boot_id():
            return
        # The boot clock began anew: the steps go on from the last one, by the time that this boot has taken.
        self.data["began"] = -max(self.data["steps"].values(), default=0.0)
        self.save(boots=self.data["boots"] + 1, counted=boot_id())

    def folder(self, *names: str) -> str:
        """A path in the transaction's own folder."""
        return self.layout.transaction(self.data["id"], *names)

    def log(self, text: str) -> None:
        """Add to the transaction's log, for people; a full disk must not stop what is being logged."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        with contextlib.suppress(OSError), os.fdopen(os.open(self.folder("log"), flags, 0o600), "ab") as handle:
            handle.write(("%s %s\n" % (installed.stamp(), text.rstrip())).encode("utf-8", "replace"))

    def reply(self) -> dict[str, t.Any]:
        """The transaction reply of the protocol."""
        keys = (
            "state",
            "outcome",
            "code",
            "message",
            "release",
            "before",
            "rollout",
            "kind",
            "boots",
            "instance",
            "steps",
            "deadline",
        )
        found = {key: self.data.get(key) for key in keys}
        found.update(
            transaction=self.data["id"],
            sequence=self.sequence,
            health=self.data.get("health", {}),
            diff=self.data.get("diff"),
        )
        found["boot_id"] = boot_id()
        found["seconds"] = max(self.data["steps"].values(), default=0)
        return found


def remove_folder(layout: Layout, identifier: str) -> None:
    """Remove what a transaction of the past left, except its snapshot."""
    shutil.rmtree(os.path.join(layout.file("transactions"), identifier), ignore_errors=True)
