# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any sequence of steps keeps what was promised: applying, confirming, going back, crashing, booting, clock jumps."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base import states
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from .device import Directory, differences
from .releases import Releases

COUNTERS = (1, 2, 3)
STEPS = ("apply", "confirm", "restore", "rollback", "boot", "deadline")
#: What a crash may strike: the engine's calls that make something durable.
STRIKES = ("fsync", "rename")


class Crash(BaseException):
    """The process is gone; nothing of the engine catches it."""


@contextlib.contextmanager
def crash_after(calls: int) -> t.Iterator[None]:
    """Everything ends at the ``calls``-th fsync or rename from now on."""
    left, real = [calls], {name: getattr(os, name) for name in STRIKES}

    def striking(name: str) -> t.Callable[..., t.Any]:
        def call(*arguments: t.Any, **options: t.Any) -> t.Any:
            left[0] -= 1
            if left[0] < 0:
                raise Crash
            return real[name](*arguments, **options)

        return call

    for name in STRIKES:
        setattr(os, name, striking(name))
    try:
        yield
    except Crash:
        pass
    finally:
        for name in STRIKES:
            setattr(os, name, real[name])


class Life(RuleBasedStateMachine):
    """What may happen to a device, in any order."""

    releases: t.ClassVar[Releases]
    program: t.ClassVar[Path]
    shift: t.ClassVar[float] = 0.0

    def __init__(self) -> None:
        super().__init__()
        Life.shift = 0.0  # or what a sequence brings would depend on those before it
        self.folder = Path(tempfile.mkdtemp(prefix="fleet-ota-life-"))
        self.device = Directory(self.folder / "device", self.program)
        self.device.root.mkdir()
        # One bundle offers one release; the newest metadata of all is seen first, so that none is older than known.
        self.device.enroll(self.releases.trust_root)
        self.trees: dict[str | None, dict[str, t.Any]] = {None: {}}
        self.floor = 0

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @rule(counter=st.sampled_from(COUNTERS), again=st.booleans())
    def apply(self, counter: int, again: bool) -> None:
        """Offer a release; a rollout that runs the same command again changes nothing."""
        reply = self.device.apply(self.releases.get(counter), retry_rejected=True)
        if again and reply.get("state") == "unconfirmed":
            before = self.device.tree()
            twice = self.device.apply(self.releases.get(counter), retry_rejected=True)
            assert twice["transaction"] == reply["transaction"]
            assert not differences(before, self.device.tree())

    @rule(again=st.booleans())
    def confirm(self, again: bool) -> None:
        reply = self.device.call("confirm")
        if again:
            assert self.device.call("confirm") == reply

    @rule(again=st.booleans())
    def restore(self, again: bool) -> None:
        self.device.call("restore")
        if again:
            before, state = self.device.tree(), self.device.transaction()
            self.device.call("restore")
            assert (self.device.tree(), self.device.transaction()) == (before, state)

    @rule()
    def rollback(self) -> None:
        self.device.call("rollback", guard="process", rollout=str(time.time_ns()), overwrite=True)

    @rule(
        step=st.sampled_from(("apply", "confirm", "restore", "rollback", "boot", "deadline")), calls=st.integers(0, 60)
    )
    def crash(self, step: str, calls: int) -> None:
        """The power goes at some call of a step."""
        with crash_after(calls):
            if step == "apply":
                self.device.apply(self.releases.get(3), retry_rejected=True)
            elif step in ("boot", "deadline"):
                self.device.guard(step)
            elif step == "rollback":
                self.rollback()
            else:
                self.device.call(step)
        self.device.queue = []

    @rule()
    def boot(self) -> None:
        self.device.guard("boot")

    @rule()
    def deadline(self) -> None:
        # No precondition: hypothesis wants the same rules to choose from each time, whatever the device came to.
        if self.device.transaction().get("state") == "unconfirmed":
            self.device.guard("deadline")

    @rule(seconds=st.sampled_from((-315360000, -3600, 60, 86400)))
    def clock_jumps(self, seconds: int) -> None:
        """The wall clock, not the boot clock."""
        Life.shift += seconds

    @invariant()
    def the_record_is_readable_and_says_what_is_there(self) -> None:
        record, history = self.device.transaction(), self.device.history()
        if not record:
            return
        assert record["state"] in (*states.AT_WORK, *states.ENDED, "unconfirmed")
        assert record["outcome"] != "broken", record
        seen = [(entry["transaction"], entry["state"]) for entry in history]
        assert len([entry for entry in seen if entry[1] == "confirmed"]) == len(
            {e for e in seen if e[1] == "confirmed"}
        )
        if record["state"] in states.AT_WORK:
            return
        current = self._current()
        if record["state"] == "unconfirmed" or (record["state"] == "confirmed" and not record.get("tidied")):
            current = record["release"]["version"]
        now = self.device.tree()
        link = now.get("opt/app/current")
        assert (link and os.path.basename(str(link[3]))) == (current or None), (record["state"], record["outcome"])
        if current:
            generated = now["etc/app/generated"][3]
            assert generated == b"written by %s\n" % current.encode()

    @invariant()
    def the_floor_only_rises(self) -> None:
        floor = self._installed().get("counter", 0)
        assert floor >= self.floor
        self.floor = floor

    def _installed(self) -> dict[str, t.Any]:
        found = self.device.ask("info")["releases"].get("app", {})
        return t.cast("dict[str, t.Any]", found)

    def _current(self) -> str | None:
        current = self._installed().get("current")
        return str(current["version"]) if current else None


def test_any_sequence_keeps_the_promises(
    program: Path, releases: Releases, request: pytest.FixtureRequest, later: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = request.config.getoption("--long")
    Life.releases, Life.program, Life.shift = releases, program, 0.0
    real = time.time
    # Linux knows no time before 1970.
    monkeypatch.setattr(time, "time", lambda: max(0.0, real() + Life.shift))
    profile = settings(
        max_examples=600 if long else 25,
        stateful_step_count=40 if long else 20,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Life, settings=profile)
