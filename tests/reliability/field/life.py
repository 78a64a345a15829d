# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine's life: releases one after another, good and bad, with other programs acting meanwhile."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import time
import typing as t
from pathlib import Path

from ansible_collections.fleet.ota.plugins.plugin_utils._control.client.bundle import Bundle

from tests.integration.engine import STATE, Engine, Reply
from tests.integration.project import Project
from tests.lab import Device

from . import program
from .machine import Machine, Traits
from .oracle import Oracle, picture
from .others import ENDED, Act
from .releases import SURPRISE, Maker, Offer

#: Seconds in which a release that nobody confirms goes back, and in which a controller is content otherwise.
SHORT, LONG = 12, 120
#: Ends that are nobody's or another's fault: the release may be offered again.
INNOCENT = ("good", "late", "killed", "power")
STRIKES = ("staged", "rehearsed", "snapshotted", "armed", "installing", "checking", "unconfirmed", "restoring")


@dataclasses.dataclass(frozen=True)
class Step:
    """One release, and what others do meanwhile."""

    offer: Offer
    acts: tuple[Act, ...] = ()
    #: The state in which the engine is killed or the power cut.
    strike: str = "installing"

    @classmethod
    def drawn(cls, chance: random.Random, number: int, end: str | None = None) -> Step:
        """A step by chance."""
        offer = Offer.drawn(chance, number, end)
        acts = tuple(Act.drawn(chance, 10 * number + index) for index in range(chance.choice((0, 1, 1, 2, 3))))
        if offer.end in ("power", "killed"):
            # A package manager that loses power is what its owner has to repair.
            acts = tuple(act for act in acts if act.kind not in ("package", "lock", "account", "edit", "tmp"))
        return cls(offer, acts, chance.choice(STRIKES))


class Life:
    """Drives one machine from its first release on."""

    def __init__(self, device: Device, project: Project, traits: Traits, folder: Path) -> None:
        self.machine, self.maker = Machine(device, traits, folder), Maker(project, device)
        self.engine, self.project = Engine(device, engine=program.chosen()), project
        self.runs = Offer(1)
        #: Since the release was activated the power was cut.
        self.was_cut = False
        self.steps: list[Step] = []

    def begin(self, first: Offer | None = None) -> None:
        """Install the machine and its first release."""
        self.runs = first or self.runs
        self.machine.before_the_release()
        self.engine.enroll(self.project)
        reply = self.engine.update(self.maker.publish(self.runs))
        assert reply["outcome"] == "updated", reply
        self.machine.after_the_release()
        self.ready()

    def ready(self) -> None:
        """Wait until the databases are written, as they were before."""
        if self.machine.traits.databases:
            self._until(lambda: bool(self.machine.say("cat /run/committed-etc", check=False)), "no row was committed")

    def take(self, step: Step) -> list[str]:
        """Offer a release and see it through; returns what is wrong afterwards."""
        offer, machine = step.offer, self.machine
        if offer.end == "rollback" and offer.archive and not self.runs.archive:
            # docs/services.md: it would lead back to a release that does not know how to start what an older one did.
            offer = dataclasses.replace(offer, deb=True, archive=False)
            step = dataclasses.replace(step, offer=offer)
        self.steps.append(step)
        oracle = Oracle(machine, picture(machine), self.runs)
        bundle = self.maker.publish(offer)
        machine.say(f"rm -f {SURPRISE} {SURPRISE}-prerm")
        if offer.end in ("preinst", "postinst", "prerm", "hangs"):
            machine.say(f"touch {SURPRISE} {SURPRISE}-{offer.end}")
        old = self.engine.transaction().get("id")
        for act in step.acts:
            act.begin(machine, self.engine, lambda: self.engine.transaction().get("id") != old)
        reply = self._drive(step, bundle, old)
        oracle.cut, oracle.rolled_back = offer.end == "power", offer.end == "rollback"
        oracle.was_cut = self.was_cut
        for act in step.acts:
            act.end()
        machine.say(f"rm -f {SURPRISE} {SURPRISE}-prerm {SURPRISE}-{offer.end}")
        found = self._told(step, bundle, reply)
        arrived = reply.get("outcome") == "updated"
        # A rollback that is not taken leaves what it was to lead away from.
        updated = arrived != (reply.get("kind") == "rollback")
        wrote = {path: entry for act in step.acts for path, entry in act.wrote.items()}
        names = {name for act in step.acts for name in act.names}
        found += oracle.problems(wrote, names, offer if updated else None)
        self.was_cut = oracle.loses and not (updated and offer.archive)
        if updated:
            self.runs = dataclasses.replace(offer, effects=tuple({*self.runs.effects, *offer.effects}))
        return found

    def _drive(self, step: Step, bundle: Bundle, old: str | None) -> Reply:
        """The controller's part, whatever happens to the device meanwhile."""
        offer = step.offer
        deadline = SHORT if offer.end in ("late", "hangs") else LONG
        options: dict[str, t.Any] = {"deadline": deadline}
        if offer.end in ("killed", "power"):
            with self.engine.start_apply(bundle, **options) as call:
                self._until(lambda: self._is(old, step.strike), f"it never came to {step.strike}", quiet=True)
                self._strike(offer.end)
                call.kill()
                call.communicate()
        else:
            reply = self.engine.apply(bundle, **options)
            if reply.get("outcome") in ("deferred", "refused"):  # it may have begun no transaction
                return reply
        reply = self._rest(offer)
        if reply["state"] == "unconfirmed" and offer.end == "asked":
            self.engine.call("restore", transaction=reply["transaction"], code="REQUESTED", message="asked", wait=60)
        elif reply["state"] == "unconfirmed":
            self.engine.call("confirm", transaction=reply["transaction"])
        reply = self._rest(offer)
        if offer.end == "rollback" and reply.get("outcome") == "updated":
            reply = self.engine.call("rollback", name="app", rollout=f"back-{offer.number}", overwrite=True, wait=60)
            if self._rest(offer)["state"] == "unconfirmed":
                self.engine.call("confirm", transaction=self.engine.transaction()["id"])
            reply = self._rest(offer)
        return reply

    def _is(self, old: str | None, state: str) -> bool:
        record = self.engine.transaction()
        order = (*STRIKES, *ENDED)
        here = record["state"]
        return (
            record.get("id") != old
            and here in order
            and order.index(here) >= min(map(order.index, (state, "unconfirmed")))
        )

    def _strike(self, end: str) -> None:
        if end == "power":
            self.machine.device.cut()
            self.machine.device.start()
            self.ready()
        else:
            self.machine.say(f"pkill -KILL -f {STATE}/engine/", check=False)

    def _rest(self, offer: Offer) -> Reply:
        """The record once nothing runs any more."""
        done = (*ENDED, *(() if offer.end == "late" else ("unconfirmed",)))
        end = time.monotonic() + LONG + 60
        while True:
            # What nobody asks has to come to its end by itself; what was killed goes on with the next question.
            reply = self.engine.transaction() if offer.end == "late" else self.engine.call("status", wait=20)
            if reply["state"] in done:
                return self.engine.call("status", wait=20)
            assert time.monotonic() < end, reply
            time.sleep(0.1)

    def _told(self, step: Step, bundle: Bundle, reply: Reply) -> list[str]:
        """Whether outcome, blame and reason are right."""
        offer, outcome, code = step.offer, reply.get("outcome"), reply.get("code")
        disturbed = {act.kind for act in step.acts} & {"lock", "package", "tmp", "account"}
        wanted = {
            "good": {"updated"},
            "rollback": {"updated", "rolled_back"},
            "killed": {"updated", "restored", "deferred"},
            "power": {"updated", "restored", "deferred"},
            "late": {"restored", "lost", "deferred"},
            "asked": {"restored"},
        }.get(offer.end, {"restored", "refused"})
        if disturbed:
            wanted = wanted | {"deferred", "restored"}
        found = []
        said = f"{outcome} {code} {str(reply.get('message'))[:300]!r}"
        if outcome not in wanted:
            found.append(f"the outcome is {said}")
        found += [] if outcome else [f"there is no outcome: {reply}"]
        rejected = bundle.digest in self.engine.call("info").get("rejected", {})
        innocent = offer.end in INNOCENT or outcome == "deferred"
        if rejected and innocent:
            found.append(f"the release is blamed: {said}")
        if offer.end in ("preinst", "postinst", "prerm") and outcome in ("restored", "refused"):
            if offer.reason not in str(reply.get("message")) and code in ("INSTALL", "REHEARSAL"):
                found.append(f"the reason does not arrive: {said}")
        return found

    @staticmethod
    def _until(done: t.Callable[[], bool], otherwise: str, quiet: bool = False) -> None:
        deadline = time.monotonic() + 60
        while not done():
            if time.monotonic() > deadline:
                assert quiet, otherwise
                return
            with contextlib.suppress(InterruptedError):
                time.sleep(0.02)
