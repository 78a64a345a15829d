# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two controllers run the same rollout at once, each with a journal directory of its own: two real runs."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import pathlib
import select
import typing as t

import pytest

if t.TYPE_CHECKING:
    from .conftest import Fleet, MakeFleet, Ran

pytestmark = pytest.mark.one_core
LONGEST = 90


class Controller:
    """A run of the rollout with a journal directory of its own, which stops before its confirm until it is let go on.

    ``name`` names its directory; :meth:`arrived` waits until the run is there.
    """

    def __init__(self, fleet: Fleet, name: str) -> None:
        self._fleet, self._name = fleet, name
        self._folder = fleet.folder / name
        self._folder.mkdir()
        self._pipes = [self._folder / "here", self._folder / "go"]
        for path in self._pipes:
            os.mkfifo(path)
        # both open for reading and writing: neither end waits for the other to open it
        here, go = self._pipes
        script = f"exec 3<>{here} 4<>{go}; echo here >&3; read -r -t {LONGEST} line <&4"
        task = {"name": "Wait", "ansible.builtin.command": {"argv": ["bash", "-c", script]}, "delegate_to": "localhost"}
        self._hook = fleet.file(f"{name}/wait.json", [task])
        self._ends = [os.open(path, os.O_RDWR) for path in self._pipes]
        self._run: concurrent.futures.Future[Ran] | None = None

    def start(self, pool: concurrent.futures.Executor, **extra: t.Any) -> None:
        """Begin the run, and wait until it is about to confirm."""
        self._run = pool.submit(self.play, fleet_ota_hook_installed=self._hook, **extra)
        while not select.select([self._ends[0]], [], [], 0.5)[0]:
            assert not self._run.done(), self._run.result().text

    def finish(self) -> Ran:
        """Let it go on to its end."""
        os.write(self._ends[1], b"go\n")
        assert self._run is not None
        return self._run.result(LONGEST)

    def play(self, **extra: t.Any) -> Ran:
        """A run from begin to end."""
        return self._fleet.play("rollout", fleet_ota_journal_dir=str(self._folder / "journal"), **extra)

    def outcomes(self) -> list[tuple[str, str | None]]:
        """What its journal says of the device, in order."""
        (path,) = (self._folder / "journal").glob("*/journal.jsonl")
        records = [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]
        return [(one["outcome"], one.get("code")) for one in records if one["event"] == "device.outcome"]

    def close(self) -> None:
        """Give the pipes back."""
        for end in self._ends:
            os.close(end)


@pytest.fixture
def two(make_fleet: MakeFleet) -> t.Iterator[tuple[Fleet, Controller, Controller]]:
    """One device, and two controllers of it that know nothing of each other."""
    fleet = make_fleet("d1")
    fleet.common["fleet_ota_deadline"] = 300
    with contextlib.ExitStack() as stack:
        made = [Controller(fleet, name) for name in ("first", "second")]
        for controller in made:
            stack.callback(controller.close)
        yield fleet, made[0], made[1]


def test_the_second_is_told_busy_and_comes_again(two: tuple[Fleet, Controller, Controller]) -> None:
    fleet, first, second = two
    with concurrent.futures.ThreadPoolExecutor() as pool:
        first.start(pool)
        try:
            ran = second.play()
            assert second.outcomes() == [("deferred", "BUSY")], ran.text
            assert fleet.devices["d1"].transaction["state"] == "unconfirmed", "nothing was changed"
        finally:
            ran = first.finish()
    assert ran.rc == 0, ran.text
    assert first.outcomes() == [("updated", None)]
    ran = second.play()
    assert ran.rc == 0, ran.text
    assert second.outcomes()[-1] == ("updated", None), "what the first did is not done again"
    assert fleet.devices["d1"].transactions() == 2


def test_who_was_taken_over_wakes_up_and_changes_nothing(two: tuple[Fleet, Controller, Controller]) -> None:
    fleet, first, second = two
    with concurrent.futures.ThreadPoolExecutor() as pool:
        first.start(pool)
        try:
            second.start(pool, fleet_ota_take_over=True)
        finally:
            ran = first.finish()
        try:
            assert ran.rc != 0, ran.text
            assert first.outcomes() == [("refused", "STALE")], ran.text
            assert fleet.devices["d1"].transaction["state"] == "unconfirmed", "it neither confirmed nor went back"
        finally:
            ran = second.finish()
    assert ran.rc == 0, ran.text
    assert second.outcomes() == [("updated", None)]
    assert fleet.devices["d1"].running == "2"
