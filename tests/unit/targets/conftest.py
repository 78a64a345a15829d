# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The link between controller and device without a device: scripted answers, a clock that does not wait."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.client import bundle
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.journal import Journal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal.record import Record as JournalRecord
from ansible_collections.fleet.ota.plugins.plugin_utils._targets import base, offer, updater
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.base import Reply
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.errors import DeviceLost, DeviceRefusal
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.offer import Offer
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.record import Record
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.updater import Options, Updater
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.updater import Step as Outcome

from .connection import Connection, Place

ROLLOUT = "gateway-2.0-1a2b3c4d"
DEADLINE, TIMEOUT = 600, 1800
#: What a call does: answer, refuse, or lose contact.
Step = Reply | DeviceLost | DeviceRefusal


class Clock:
    """Stands in for the module ``time``: sleeping only moves it on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds


class ScriptedDevice(base.Link):
    """Takes one step of ``script`` with each call; the last one again and again.

    ``calls`` are the requests as they came, ``journal_at_first_call`` is what was on record when the first one did,
    ``forgotten`` how often the connection was dropped. A call takes ``seconds``.
    """

    kind = "scripted"

    def __init__(self, clock: Clock, journal: Journal) -> None:
        super().__init__("dev1")
        self.script: list[Step] = []
        self.seconds = 0.0
        self.calls: list[tuple[str, dict[str, t.Any]]] = []
        self.pushed: list[tuple[str, int, int]] = []
        self.journal_at_first_call: list[str] = []
        self.forgotten = 0
        self._clock, self._journal = clock, journal

    def ask(self, verb: str, data: bytes = b"", /, *, fresh: bool = False, **request: t.Any) -> Reply:
        if not self.calls:
            self.journal_at_first_call = [record["event"] for record in self._journal.read()]
        self.calls.append((verb, {**request, "fresh": fresh}))
        self._clock.now += self.seconds
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, DeviceLost):
            raise step
        self.answered = True
        if isinstance(step, DeviceRefusal):
            raise step
        return step

    def push(self, sha256: str, length: int, offset: int, path: t.Any) -> None:
        assert pathlib.Path(path).name == sha256
        self.pushed.append((sha256, length, offset))

    def forget_connection(self) -> None:
        self.forgotten += 1

    @property
    def asked(self) -> list[str]:
        """The verbs of ``calls``."""
        return [verb for verb, _request in self.calls]


class OneFile:
    """Stands in for a bundle with one payload file ``aa``."""

    def wire(self) -> dict[str, t.Any]:
        return {"target": "stable/gateway/2.0.json"}

    def payloads(self) -> list[dict[str, t.Any]]:
        return [{"name": "app", "sha256": "aa", "length": 10}]

    def payload(self, sha256: str) -> pathlib.Path:
        return pathlib.Path("repository") / sha256


class Link:
    """An Updater over a scripted device and a real journal."""

    def __init__(self, folder: pathlib.Path, clock: Clock) -> None:
        self.clock = clock
        self.journal = Journal.begin(folder / ROLLOUT / "journal.jsonl", ROLLOUT, {"generation": 1})
        self.device = ScriptedDevice(clock, self.journal)
        record = Record(str(self.journal.path), "dev1", ROLLOUT, 3)
        options = Options(DEADLINE, TIMEOUT, 20, {"guard": "auto"})
        self.updater = Updater(self.device, record, options)

    def script(self, *steps: Step) -> Link:
        """What the device does, call by call."""
        self.device.script = list(steps)
        return self

    def apply(self, *, pull: bool = False, splay: int = 0) -> Outcome:
        """Offer the release."""
        return self.updater.apply(self.offered(pull=pull, splay=splay))

    def offered(self, *, pull: bool = False, splay: int = 0) -> Offer:
        """The release on its way."""
        way = ("pull", ["http://127.0.0.1/copy/"]) if pull else ("push", [])
        return Offer(t.cast(bundle.Bundle, OneFile()), *way, host="dev1", splay=splay)

    @property
    def events(self) -> list[str]:
        """What was recorded since the rollout began, outcomes as themselves."""
        return [str(record.get("outcome", record["event"])) for record in self.journal.verify()[1:]]

    @property
    def run(self) -> dict[str, t.Any]:
        """What each request says of the run that it is of."""
        return {"rollout": ROLLOUT, "generation": 3, "holder": self.journal.checkpoint()["journal"]}

    @property
    def last(self) -> JournalRecord:
        """The last record."""
        return self.journal.last()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the updater and of what it offers."""
    made = Clock()
    monkeypatch.setattr(updater, "time", made)
    monkeypatch.setattr(offer, "time", made)
    return made


@pytest.fixture
def link(tmp_path: pathlib.Path, clock: Clock) -> Link:
    """See :class:`Link`."""
    return Link(tmp_path, clock)


@pytest.fixture
def place(tmp_path: pathlib.Path) -> Place:
    """A device over a connection with pipelining."""
    return Place(tmp_path, Connection())


def reply(state: str, outcome: str | None = None, **more: t.Any) -> Reply:
    """A transaction reply of rollout :data:`ROLLOUT`."""
    made = {"transaction": "t1", "rollout": ROLLOUT, "state": state, "outcome": outcome, "code": None, "message": ""}
    releases = {"release": {"name": "gateway", "version": "2.0"}, "before": {"name": "gateway", "version": "1.0"}}
    return {**made, **releases, "seconds": 4.5, **more}
