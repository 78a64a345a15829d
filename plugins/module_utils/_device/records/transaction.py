# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The device's transaction: one small document, rewritten durably before each step (:mod:`base.states`)."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import sys
import typing as t
import uuid

from ..base.errors import OtaError
from ..base.protocol import Checkpoint, Difference, Release, TransactionReply
from ..base.states import State
from ..base.typed import TypedDict
from ..documents.approval import Approved
from ..documents.data import Entry as DataEntry
from ..enrolment import machine
from ..kinds.checks import Finding, Measured, Section
from ..kinds.interlocks import Entry as Interlock
from ..system import durable, kept, lock
from ..system.boot import boot_id, clock
from ..system.files.remove import remove_own
from ..system.layout import Layout
from . import history, installed

FORMAT = 1
_NAME = "transaction.json"
#: What the engine names transactions and their snapshots; people name theirs otherwise.
IDENTIFIER = re.compile(r"^[0-9a-f]{12}$")


class Moment(TypedDict):
    """A time on the clock of one boot, in seconds."""

    boot: str
    clock: float


@dataclasses.dataclass
class Transaction:
    """The open or last transaction of a device: what ``transaction.json`` holds, under the names that it has there.

    Times in seconds. What is None at first is not in the file until a step sets it, except :data:`_ALWAYS`.
    """

    layout: Layout
    #: ``update`` or ``rollback``, the release that it brings, and what was installed before.
    kind: str
    release: Release
    before: installed.Entry | None = None
    diff: Difference | None = None
    #: How it was asked for.
    guard: str = "auto"
    reboot: str = "never"
    rollout: str | None = None
    generation: int = 0
    deadline: int = 600
    #: Seconds beyond the deadline that this device may take to install the release: it may be slow.
    slowness: int | None = None
    snapshot: str = "auto"
    rehearsal: str | None = None
    protect: list[str] = dataclasses.field(default_factory=list)
    keep_snapshots: int = 1
    data: list[DataEntry] = dataclasses.field(default_factory=list)
    interlocks: list[Interlock] = dataclasses.field(default_factory=list)
    checkpoint: Checkpoint | None = None
    approvals: dict[str, Approved] | None = None
    repair: bool | None = None
    #: The snapshot that a rollback goes back to, by the id of its transaction.
    source: str | None = None
    #: What tells it from others: ``sequence`` counts the transactions of ``instance``; 0 of an engine that did not.
    id: str = ""
    instance: str | None = None
    sequence: int = 0
    #: The program that opened it, which stays under its digest, is the one that settles it.
    engine: str | None = None
    #: How it stands, and how it ended; ``steps`` has the seconds from ``began`` (boot clock) to each state.
    state: State = State.IDLE
    outcome: str | None = None
    code: str | None = None
    message: str = ""
    started: str = ""
    began: float = 0.0
    steps: dict[str, float] = dataclasses.field(default_factory=dict)
    #: The boot in which it began, the last one that was counted, and how many were.
    boot_id: str = ""
    counted: str = ""
    boots: int = 0
    #: What its steps note.
    backup: str | None = None
    rehearsed: dict[str, object] | None = None
    snapshot_kind: str | None = None
    units: list[str] | None = None
    baseline: dict[str, Measured] | None = None
    health_before: Section | None = None
    expires: Moment | None = None
    guard_pid: int | None = None
    hook: str | None = None
    migrated: list[str] | None = None
    in_place: Moment | None = None
    health: dict[str, Finding] | None = None
    #: How often a guard told the device to reboot into the release, and found it in the boot of before.
    reboots: int | None = None
    #: The step of the release in which the device went down, and where its way back stands.
    went_down: str | None = None
    back_from: str | None = None
    back_boots: int | None = None
    #: Why going back did not succeed so far; it is tried again.
    trouble: str | None = None
    #: Whether everything that belongs to its end is done.
    tidied: bool | None = None
    #: Keys that this engine does not know: they stay in the file as they are.
    unknown: dict[str, object] = dataclasses.field(default_factory=dict)

    @classmethod
    def load(cls, layout: Layout) -> Transaction | None:
        """The device's transaction, or None if it never had one.

        OtaError ``BUSY`` if another version of the engine wrote it in a form that this one does not know, ``DAMAGED``
        if it is neither readable nor is there a copy of it that is.
        """
        try:
            value = kept.read(layout, _NAME, valid=_is_whole, lasting=True)
        except OtaError:
            value = kept.read(layout, _NAME, valid=_is_foreign, lasting=True)
        if not value:
            return None
        if kept.is_behind(layout, _NAME):
            with contextlib.suppress(OtaError, OSError), lock.hold(layout):
                kept.heal(layout, _NAME)
        if value.get("format") != FORMAT or value.get("state") not in list(State):
            message = "transaction %s is of another version of the engine (format %s, this one has %d): its own guard"
            raise OtaError("BUSY", (message + " settles it") % (value.get("id"), value.get("format"), FORMAT))
        fields = {name: value[name] for name in _NAMES if name in value}
        unknown = {name: entry for name, entry in value.items() if name not in _NAMES and name != "format"}
        return cls(layout, **{**fields, "state": State(value["state"]), "unknown": unknown})

    def begin(self) -> None:
        """Open it, in state ``staged``. The caller holds the lock and has seen that none is open."""
        last = Transaction.load(self.layout)
        self.id = uuid.uuid4().hex[:12]
        durable.make_directory(self.layout.transaction(self.id))
        kept.reserve(self.layout)
        self.instance, self.sequence = machine.instance(self.layout), (last.sequence if last else 0) + 1
        self.boot_id = self.counted = boot_id()
        self.engine = os.path.abspath(sys.argv[0])
        self.started, self.began = installed.stamp(), clock()
        self.advance(State.STAGED)

    @property
    def is_open(self) -> bool:
        """Whether it has not come to its end."""
        return self.state.is_open

    @property
    def is_at_work(self) -> bool:
        """Whether something still has to happen by itself: not ended and not waiting for a confirm."""
        return self.state.is_at_work

    @property
    def leaving(self) -> installed.Entry:
        """The installed release that a rollback goes back from."""
        if self.before is None:
            raise OtaError("ENGINE", "rollback %s has nothing to go back from; please report this" % self.id)
        return self.before

    def advance(self, state: State, **changes: object) -> None:
        """Enter ``state`` with ``changes`` of fields: on disk, and in the history, before its step runs.

        OtaError ``ENGINE``, and nothing has changed, if the table of states has no such edge.
        """
        self.state.require(state)
        if self.state is not State.IDLE and state is not State.RESTORING:
            with contextlib.suppress(OSError):
                self.witness()  # a run that was killed between the two writes below left this to us
        self._set(changes)
        self.state = state
        self.steps[state.value] = round(clock() - self.began, 3)
        if state is State.CHECKING:  # the change is in place: what a confirm's connection must be younger than
            self.in_place = {"boot": boot_id(), "clock": clock()}
        back = state not in _FORWARD  # a device without a byte left goes back, and does not go on
        self._write(cramped=back)
        try:
            self.witness()
        except OSError:  # a log for people: without room for it the way back goes on, and its end writes it down
            if not back:
                raise

    def witness(self) -> None:
        """See to it that the history has the state that the transaction is in. Can be run again."""
        last = history.last(self.layout)
        if (last.get("transaction"), last.get("state")) == (self.id, self.state):
            return
        record: history.Record = {"time": installed.stamp(), "transaction": self.id, "state": self.state.value}
        if self.outcome:
            record["outcome"] = self.outcome
        if self.code:
            record["code"] = self.code
        if self.message:
            record["message"] = self.message
        if self.state is State.STAGED and self.checkpoint:
            record["checkpoint"] = self.checkpoint  # the device witnesses the controller's journal
        history.add(self.layout, record)

    def save(self, **changes: object) -> None:
        """Write it durably as it is, with ``changes`` of fields."""
        self._set(changes)
        self._write(cramped=True)

    def _write(self, *, cramped: bool) -> None:
        kept.write(self.layout, _NAME, self.as_dict(), cramped=cramped)

    def as_dict(self) -> dict[str, object]:
        """What ``transaction.json`` holds."""
        values = {name: getattr(self, name) for name in _NAMES}
        own = {name: value for name, value in values.items() if value is not None or name in _ALWAYS}
        return {**self.unknown, "format": FORMAT, **own}

    def _set(self, changes: t.Mapping[str, object]) -> None:
        for name, value in changes.items():
            if name not in _NAMES:
                raise AttributeError("a transaction has no %s" % name)
            setattr(self, name, value)

    def count_boot(self) -> None:
        """Note that the device was booted since this was last asked; the same boot counts once."""
        if self.counted == boot_id():
            return
        # The boot clock began anew: the steps go on from the last one, by the time that this boot has taken.
        self.save(boots=self.boots + 1, counted=boot_id(), began=-max(self.steps.values(), default=0.0))

    def folder(self, *names: str) -> str:
        """A path in the transaction's own folder."""
        return self.layout.transaction(self.id, *names)

    def log(self, text: str) -> None:
        """Add to the transaction's log, for people; a full disk must not stop what is being logged."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        with contextlib.suppress(OSError), os.fdopen(os.open(self.folder("log"), flags, 0o600), "ab") as handle:
            handle.write(("%s %s\n" % (installed.stamp(), text.rstrip())).encode("utf-8", "replace"))

    def reply(self) -> TransactionReply:
        """The transaction reply of the protocol."""
        return {
            "transaction": self.id,
            "state": self.state.value,
            "outcome": self.outcome,
            "code": self.code,
            "message": self.message if not self.trouble else "%s (not restored yet: %s)" % (self.message, self.trouble),
            "release": self.release,
            "before": self.before,
            "rollout": self.rollout,
            "kind": self.kind,
            "boots": self.boots,
            "boot_id": boot_id(),
            "instance": self.instance,
            "sequence": self.sequence,
            "steps": self.steps,
            "seconds": max(self.steps.values(), default=0),
            "deadline": self.deadline,
            "health": self.health or {},
            "diff": self.diff,
        }


#: States that a device enters on its way to the new release.
_FORWARD = frozenset(State) - {State.RESTORING, State.RESTORED, State.BROKEN, State.REFUSED, State.DEFERRED}
#: What stands in the file, by name.
_NAMES = frozenset(field.name for field in dataclasses.fields(Transaction)) - {"layout", "unknown"}
#: What stands there from the beginning, also as null.
_ALWAYS = frozenset({"before", "checkpoint", "code", "diff", "instance", "outcome", "rollout"})


def _is_foreign(value: kept.Value) -> bool:
    """Whether another version of the engine may have written it, in a form of its own."""
    return isinstance(value.get("format"), int) and (value["format"] != FORMAT or value.get("state") not in list(State))


def _is_whole(value: kept.Value) -> bool:
    """Whether it can be what this engine wrote."""
    release, steps = value.get("release"), value.get("steps", {})
    numbers = [value.get(name, 0) for name in ("boots", "deadline", "generation", "sequence")]
    return (
        value.get("format") == FORMAT
        and value.get("state") in list(State)
        and IDENTIFIER.match(str(value.get("id"))) is not None
        and isinstance(release, dict)
        and {"name", "version", "digest"} <= set(release)
        and isinstance(steps, dict)
        and all(isinstance(number, int) for number in numbers)
    )


def remove_folder(layout: Layout, identifier: str) -> None:
    """Remove what a transaction of the past left, except its snapshot."""
    with contextlib.suppress(OSError):
        remove_own(os.path.join(layout.file("transactions"), identifier))
