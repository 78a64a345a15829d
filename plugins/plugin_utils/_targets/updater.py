# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The controller's half of a device transaction: ask, wait through lost connections, write down what came of it.

A lost connection is normal until the deadline; whatever happens, the device leaves with one outcome.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
import typing as t

from ...module_utils._device.base.states import AT_WORK, State
from .._control.base.errors import ControlError
from .._control.journal.outcomes import AS_PLANNED
from .base import Link, Reply
from .errors import DeviceLost, DeviceRefusal
from .offer import Offer
from .record import Record

#: A device that never answered was never touched: a few tries, not the whole deadline.
FIRST_CONTACT = 25.0
GRACE = 20.0
#: Seconds in which a device that said that it reboots comes back, health included, before its new deadline begins.
BOOTING = 300.0


@dataclasses.dataclass(frozen=True)
class Options:
    """Times in seconds.

    ``deadline`` is for the confirm, ``timeout`` for the whole way to it, ``wait`` is spent within one call,
    ``first_contact`` is for how long a device that has not answered yet is tried, and ``splay`` for how long one may
    wait before it pulls.
    """

    deadline: int = 600
    timeout: float = 1800
    wait: float = 20
    transaction: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    first_contact: float = FIRST_CONTACT
    splay: int = 0


@dataclasses.dataclass
class Step:
    """What came of a step of the transaction: ``outcome`` is None while the device waits for a confirm."""

    outcome: str | None
    code: str | None
    message: str
    reply: Reply

    @property
    def failed(self) -> bool:
        """Whether the step did not do what it is for."""
        return self.outcome not in (None, "current", "updated")


class Updater:
    """Drives one device through one step."""

    def __init__(self, device: Link, record: Record, options: Options) -> None:
        self.device = device
        self.record = record
        self.options = options
        #: Boot ids that the device showed, in order: what tells a reboot from a lost link.
        self.boots: list[str] = []

    @property
    def rebooted(self) -> bool:
        """Whether the device showed another boot than at first."""
        return len(self.boots) > 1

    # -- steps ---------------------------------------------------------------------------------------------------

    def apply(self, offer: Offer) -> Step:
        """Verify, snapshot, guard, install and check on the device, up to ``unconfirmed`` or an end."""

        def ask() -> Reply:
            request = {**offer.request(), **self._transaction()}
            reply = self._call("apply", request)
            if reply.get("missing"):
                request.update(offer.bring(self.device, reply["missing"]))
                reply = self.device.call("apply", **request)
            return reply

        return self._begin(ask)

    def rollback(self, name: str | None, overwrite: bool) -> Step:
        """Go back to the release before, up to ``unconfirmed`` or an end."""
        return self._begin(
            lambda: self._call("rollback", {"name": name, "overwrite": overwrite, **self._transaction()})
        )

    def confirm(self) -> Step:
        """Confirm over a new connection what waits for it."""
        run = self.record.run()

        def ask() -> Reply:
            return self.device.call("confirm", fresh=True, **run)

        return self._conclude(ask)

    def extend(self, seconds: int) -> Step:
        """Give what waits for a confirm ``seconds`` from now."""
        run = self.record.run()
        return self._conclude(lambda: self.device.call("extend", deadline=seconds, **run))

    def wait_for_peers(self) -> None:
        """Give what waits for a confirm the time that any other device of its turn may take to get there.

        Ansible's strategy comes to the confirm when the last device of a turn did: one that loses contact late is
        waited for twice as long as its deadline. Nobody's fault if it cannot be given: then the deadline stays.
        """
        longest = self.options.splay + 2 * self.options.deadline + int(GRACE + self.options.first_contact)
        with contextlib.suppress(DeviceLost, DeviceRefusal):
            self.device.call("extend", deadline=longest, **self.record.run())

    def restore(self, code: str, message: str) -> Step:
        """Send the device back from what it has not confirmed."""
        run = self.record.run()

        def ask() -> Reply:
            return self.device.call("restore", code=code, message=message, wait=self.options.wait, **run)

        return self._conclude(ask, untouched=(code, message))

    def observe(
        self, wanted: t.Mapping[str, t.Any] | None = None, *, asking: bool = False, watching: bool = True
    ) -> Step:
        """Look at the device once more: its health, and an outcome it came to that is not on record yet.

        With ``wanted`` (``name`` and ``digest`` of a release), a device that is on record as planned and runs another
        one since becomes ``deferred`` (``MOVED``). When ``asking``, at the begin of a run, a device on record as
        planned that gives no answer stays so: devices are switched off, or this run has not their passwords. Unless
        ``watching``, what falls ill says nothing of a release that was proven long ago, and is not on record.
        """
        outcome = self.record.known()
        settled = outcome in AS_PLANNED
        try:
            reply = self._patiently(lambda: self.device.call("health", own=True))
        except DeviceLost as error:
            # whoever was not touched is not lost: it waits for its turn, on or off
            if outcome == "deferred" or (asking and settled):
                return Step(outcome, self.record.known_code(), "no contact now", {})
            return self._written("lost", "UNREACHABLE", str(error), {})
        except DeviceRefusal as error:
            # The way to the device is not the device: how it is stays as it was known.
            if not asking and settled:
                self.record.seen(None, None, f"{error.code}: {error.message}")
            return Step(outcome, error.code, error.message, {})
        kept = self.record.unknown(reply.get("witness") or [])
        if kept:  # what else it says of itself would hide that
            why = self.record.lacks(kept)
            if self.record.known_code() != "AHEAD":
                self.record.outcome("deferred", "AHEAD", why)
            return Step("deferred", "AHEAD", why, {})
        transaction = reply.get("transaction") or {}
        ours = transaction.get("rollout") is not None and transaction.get("rollout") == self.record.rollout
        if ours and transaction.get("outcome") and transaction["outcome"] != outcome and not settled:
            self.record.outcome(
                transaction["outcome"], transaction.get("code"), transaction.get("message"), transaction
            )
        if asking and not ours and outcome == "lost":
            message = "gave no answer when its turn came; nothing was changed on it"
            return self._written("deferred", "MISSED", message, {})
        releases = [entry["current"] for entry in (reply.get("releases") or {}).values() if entry["current"]]
        shown = ", ".join(f"{entry['name']} {entry['version']}" for entry in releases)
        if wanted and settled and wanted["digest"] not in [entry.get("digest") for entry in releases]:
            release = shown or "nothing"
            message = f"runs {release} now, which this rollout did not bring; its next run updates it again"
            return self._written("deferred", "MOVED", message, {})
        if watching or reply["healthy"]:
            self.record.seen(bool(reply["healthy"]), shown or None)
        return Step(None, None, shown, reply)

    # -- how they go ---------------------------------------------------------------------------------------------

    def _transaction(self) -> dict[str, t.Any]:
        request = dict(self.options.transaction, deadline=self.options.deadline, wait=self.options.wait)
        checkpoint = self.record.checkpoint()
        request.update(self.record.run(checkpoint), generation=self.record.generation)
        request.update(checkpoint=checkpoint, expected=self.record.expected())
        return request

    def _call(self, verb: str, request: dict[str, t.Any]) -> Reply:
        """Call the device; one that has witnessed this journal before is shown that it still has what it witnessed."""
        try:
            return self.device.call(verb, **request)
        except DeviceRefusal as error:
            kept = error.detail.get("witness")
            if error.code != "AHEAD" or not kept:
                raise
            if self.record.unknown([kept]):
                raise DeviceRefusal("AHEAD", self.record.lacks(kept), error.outcome, error.detail) from error
        request["witnessed"] = kept
        return self.device.call(verb, **request)

    def _begin(self, ask: t.Callable[[], Reply]) -> Step:
        """Record, ask, and wait until the device waits for a confirm or has come to an end."""
        unresolved = self.record.unresolved()
        self.record.pending()
        try:
            reply = self._follow(self._patiently(ask))
        except DeviceLost as error:
            return self._written("lost", "UNREACHABLE", f"no contact: {error}", {})
        except DeviceRefusal as error:
            if error.code == "LOGIN" and unresolved:  # what an earlier run began there may be at work
                return self._written("timed_out", error.code, error.message, {})
            return self._refused(error)
        except ControlError as error:
            code = getattr(error, "code", None) or "RELEASE"
            # what the controller could not get is no fault of the device
            return self._written("deferred" if code == "FETCH" else "refused", code, str(error), {})
        except TimeoutError as error:
            return self._written("timed_out", "NO_ANSWER", str(error), {})
        if reply["state"] == State.UNCONFIRMED:
            return Step(None, None, "", reply)
        return self._written(reply.get("outcome") or "timed_out", reply.get("code"), reply.get("message"), reply)

    def _conclude(self, ask: t.Callable[[], Reply], untouched: tuple[str, str] | None = None) -> Step:
        self.record.insist()
        try:
            reply = self._follow(self._patiently(ask))
        except DeviceLost as error:
            return self._written("lost", "UNREACHABLE", f"no contact: {error}", {})
        except DeviceRefusal as error:
            self._give_way(error)
            replaced = error.code == "STALE"
            return self._written("refused" if replaced else "timed_out", error.code, error.message, {})
        except TimeoutError as error:
            return self._written("timed_out", "NO_ANSWER", str(error), {})
        if reply.get("outcome"):
            return self._written(reply["outcome"], reply.get("code"), reply.get("message"), reply)
        if untouched and not reply.get("transaction"):  # the team stopped it before the device was touched
            return self._written("refused", untouched[0], untouched[1], reply)
        if untouched:
            message = f"asked to go back, the device is still {reply.get('state')}; its guard decides"
            return self._written("timed_out", "NO_ANSWER", message, reply)
        return Step(None, None, "", reply)

    def _refused(self, error: DeviceRefusal) -> Step:
        """A refusal because of what happened to this device earlier in this rollout is that outcome, not a new one."""
        if error.code == "REJECTED":
            last = error.detail.get("last") or {}
            if last.get("rollout") is not None and last.get("rollout") == self.record.rollout:
                return self._written(last["outcome"], last.get("code"), last.get("message"), last)
        self._give_way(error)
        return self._written(error.outcome, error.code, error.message, {})

    def _give_way(self, error: DeviceRefusal) -> None:
        """Raise JournalError (``STALE``) if a newer run of the same journal took the device: what came of it is its."""
        if error.code == "STALE":
            self.record.insist()

    def _written(self, outcome: str, code: str | None, message: str | None, reply: Reply) -> Step:
        if outcome != self.record.known():  # the role may ask again for what is on record already
            self.record.outcome(outcome, code, message, reply)
        return Step(outcome, code, message or "", reply)

    def _patiently(self, ask: t.Callable[[], Reply]) -> Reply:
        """Ask until there is an answer; contact may be lost for as long as the device's own deadline."""
        lost_at: float | None = None
        pause = 1.0
        while True:
            try:
                return ask()
            except DeviceLost:
                now = time.monotonic()
                lost_at = lost_at or now
                longest = self.options.deadline + GRACE if self.device.answered else self.options.first_contact
                if now - lost_at + pause > longest:
                    raise
                self.device.forget_connection()
                time.sleep(pause)
                pause = min(pause * 1.6, 15.0)

    def _follow(self, reply: Reply) -> Reply:
        """Poll while the device is at work; TimeoutError when it does not come to an end."""
        end = time.monotonic() + self.options.timeout
        self._seen(reply)
        while reply.get("state") in AT_WORK:
            if time.monotonic() > end:
                raise TimeoutError(f"still {reply['state']} after {self.options.timeout:.0f} s; its guard decides")
            started = time.monotonic()
            if reply.get("rebooting"):
                reply = self._out_of_the_boot(reply, end)
            else:
                reply = self._seen(self._patiently(lambda: self.device.call("status", wait=self.options.wait)))
            time.sleep(max(0.0, min(1.0, 0.5 - (time.monotonic() - started))))
        return reply

    def _out_of_the_boot(self, reply: Reply, end: float) -> Reply:
        """Wait for a device that is about to go down, without holding a connection, until it shows another boot.

        An answer from the same boot means that it has not gone down yet, whatever became of the connection.
        """
        before, pause = reply.get("boot_id"), 1.0
        away_until = time.monotonic() + self.options.deadline + BOOTING
        while True:
            self.device.forget_connection()
            time.sleep(pause)
            pause = min(pause * 1.4, 10.0)
            try:
                reply = self._seen(self.device.call("status", fresh=True))
            except DeviceLost as error:
                if time.monotonic() > min(away_until, end):
                    raise DeviceLost(f"it went down to reboot and did not come back: {error}") from error
                continue
            if not reply.get("rebooting") or reply.get("boot_id") != before:
                return reply
            if time.monotonic() > end:
                return reply

    def _seen(self, reply: Reply) -> Reply:
        boot = reply.get("boot_id")
        if boot and boot not in self.boots:
            self.boots.append(boot)
        return reply
