# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other programs on the machine: each acts once, at some moment of a transaction, and what it did has to stay."""

from __future__ import annotations

import random
import threading
import typing as t

from tests.integration.engine import Engine, lock_held
from tests.lab import evidence

from .machine import SHARE, Machine
from .releases import SCHEMAS

#: In this order; a moment that has passed when it is looked for is taken at the next one.
MOMENTS = (
    "before",
    "staged",
    "verified",
    "rehearsed",
    "snapshotted",
    "armed",
    "installing",
    "checking",
    "unconfirmed",
    "restoring",
)
ENDED = ("confirmed", "restored", "broken", "refused", "deferred")
ACTS = ("package", "lock", "restart", "reload", "user", "tmp", "slow", "edit", "account")
#: What the names of packages of others begin with.
PACKAGES = "other-"
#: Seconds that another program holds dpkg's lock.
HELD = 4
#: Seconds that another program has filled /tmp.
FULL = 12
APT = "DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 install"


class Act:
    """What another program does."""

    def __init__(self, kind: str, moment: str, number: int) -> None:
        """:param number: unique on the machine"""
        self.kind, self.moment, self.number = kind, moment, number
        self.wrote: dict[str, evidence.Entry] = {}
        self.names: set[str] = set()
        self.trouble: BaseException | None = None
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"{self.kind}@{self.moment}"

    @classmethod
    def drawn(cls, chance: random.Random, number: int) -> Act:
        """An act by chance."""
        return cls(chance.choice(ACTS), chance.choice(MOMENTS), number)

    def begin(self, machine: Machine, engine: Engine, reached: t.Callable[[], bool]) -> None:
        """Act as soon as the moment is there; at once for `before`.

        :param reached: whether the device's own record belongs to the transaction that is meant
        """
        if self.moment == "before" and self.kind not in ("lock", "slow", "tmp"):
            self._do(machine)
            return
        states = (*MOMENTS[MOMENTS.index(self.moment) :], *ENDED)

        def watch() -> None:
            try:
                while self.moment != "before" and not (reached() and engine.transaction()["state"] in states):
                    self._pause.wait(0.02)
                    if self._pause.is_set():
                        break
                self._do(machine)
            except BaseException as error:  # told by the test, which waits for this thread
                self.trouble = error

        self._pause = threading.Event()
        self._thread = threading.Thread(target=watch, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Wait until it has acted; what waits for a moment that does not come acts now."""
        if self._thread:
            self._pause.set()
            self._thread.join(150)
            assert not self._thread.is_alive(), f"{self} does not end"
        if self.trouble:
            raise self.trouble

    def _do(self, machine: Machine) -> None:
        getattr(self, f"_{self.kind}")(machine)

    def _package(self, machine: Machine) -> None:
        name = f"{PACKAGES}{self.number}"
        files = {f"/etc/{name}.conf": (0o644, "x\n"), f"{SCHEMAS}/{name}.xml": (0o644, f"{name}\n")}
        path = machine.package(name, "1", files, {"postinst": f"#!/bin/sh\nuseradd --system {name}\n"})
        machine.say(
            f"for _try in 1 2 3 4 5 6; do {APT} {path} && exit 0; sleep 3; done; exit 1"
        )  # also past a full /tmp
        self.names.add(name)
        self._note(machine, *files)

    def _lock(self, machine: Machine) -> None:
        with lock_held(machine.device, "/var/lib/dpkg/lock-frontend"):
            machine.say(f"sleep {HELD}")

    def _restart(self, machine: Machine) -> None:
        machine.say("systemctl try-restart 'dep-*.service'", check=False)

    def _reload(self, machine: Machine) -> None:
        machine.say("systemctl daemon-reload")

    def _user(self, machine: Machine) -> None:
        machine.say(
            f"su guest -s /bin/sh -c 'date >{SHARE}/new-{self.number}; mv {SHARE}/new-{self.number} {SHARE}/n'",
            check=False,
        )

    def _tmp(self, machine: Machine) -> None:
        full = "mount -o remount,size=1m /tmp; cat /dev/zero >/tmp/full"
        machine.say(f"{full}; sleep {FULL}; rm -f /tmp/full; mount -o remount,size=50% /tmp", check=False)

    def _slow(self, machine: Machine) -> None:
        machine.say("timeout 6 sh -c 'while :; do :; done' & timeout 6 sh -c 'while :; do :; done'; wait", check=False)

    def _edit(self, machine: Machine) -> None:
        machine.say(f"echo {self.number} >>/etc/motd; mkdir -p /etc/site.d; echo x >/etc/site.d/{self.number}")
        self._note(machine, "/etc/motd", "/etc/site.d", f"/etc/site.d/{self.number}")

    def _account(self, machine: Machine) -> None:
        machine.say(f"useradd visitor{self.number}")
        self.names.add(f"visitor{self.number}")

    def _note(self, machine: Machine, *paths: str) -> None:
        tree = evidence.tree(machine.device, below=paths)
        self.wrote.update({path: tree[path] for path in paths})
