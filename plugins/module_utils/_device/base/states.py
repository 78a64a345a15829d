# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The states of a transaction and the one table of its legal edges (docs/reference/engine.md has the same table).

Serves device and controller alike. On disk and on the wire a state is its text, as it always was.
"""

from __future__ import annotations

import enum
import typing as t

from .errors import OtaError


class Phase(enum.Enum):
    """What a state means for the device, whichever step of it runs."""

    #: There is no transaction.
    NONE = "none"
    #: The transaction runs, and a device that is lost now is as it was.
    UNTOUCHED = "untouched"
    #: The transaction runs, and a device that is lost now goes on or goes back.
    TOUCHED = "touched"
    #: The transaction is open and waits for a confirm.
    WAITING = "waiting"
    ENDED = "ended"


class State(str, enum.Enum):
    """One row for each state: its text, its phase, and the states that may follow it."""

    phase: Phase
    _following: str

    IDLE = ("idle", Phase.NONE, "staged")
    STAGED = ("staged", Phase.UNTOUCHED, "verified refused deferred")
    VERIFIED = ("verified", Phase.UNTOUCHED, "rehearsed refused deferred")
    REHEARSED = ("rehearsed", Phase.UNTOUCHED, "snapshotted refused deferred")
    SNAPSHOTTED = ("snapshotted", Phase.UNTOUCHED, "armed refused deferred")
    ARMED = ("armed", Phase.TOUCHED, "installing restoring")
    INSTALLING = ("installing", Phase.TOUCHED, "rebooting checking restoring")
    REBOOTING = ("rebooting", Phase.TOUCHED, "checking restoring")
    # Checked again after another boot: a release may bring the device down once more.
    CHECKING = ("checking", Phase.TOUCHED, "checking unconfirmed restoring")
    UNCONFIRMED = ("unconfirmed", Phase.WAITING, "confirmed restoring")
    CONFIRMED = ("confirmed", Phase.ENDED, "")
    # Restoring can be interrupted, and starts over.
    RESTORING = ("restoring", Phase.TOUCHED, "restoring restored broken")
    RESTORED = ("restored", Phase.ENDED, "")
    # An operator may ask a broken device to try again.
    BROKEN = ("broken", Phase.ENDED, "restoring")
    REFUSED = ("refused", Phase.ENDED, "")
    DEFERRED = ("deferred", Phase.ENDED, "")

    def __new__(cls, value: str, phase: Phase = Phase.NONE, following: str = "") -> State:
        member = str.__new__(cls, value)
        member._value_ = value
        member.phase, member._following = phase, following
        return member

    def __str__(self) -> str:
        return str(self.value)

    @property
    def following(self) -> frozenset[State]:
        """The states that a transaction in this one may enter next."""
        return frozenset(State(name) for name in self._following.split())

    @property
    def is_untouched(self) -> bool:
        """Whether the transaction runs and has changed nothing yet."""
        return self.phase is Phase.UNTOUCHED

    @property
    def is_touched(self) -> bool:
        """Whether the transaction runs and may have changed the device."""
        return self.phase is Phase.TOUCHED

    @property
    def is_at_work(self) -> bool:
        """Whether something still happens by itself: not ended, and not waiting for a confirm."""
        return self.is_untouched or self.is_touched

    @property
    def is_open(self) -> bool:
        """Whether there is a transaction that has not come to its end."""
        return self.phase not in (Phase.NONE, Phase.ENDED)

    def require(self, following: State) -> None:
        """Raise OtaError ``ENGINE`` unless ``following`` may come next; such a step is a mistake of the program."""
        if following not in self.following:
            legal = ", ".join(state for state in State if state in self.following) or "nothing"
            message = "a transaction in state %s cannot become %s (only %s); please report this"
            raise OtaError("ENGINE", message % (self, following, legal))


#: For those who have a state's text, of a reply or of a file: a member equals its text.
UNTOUCHED: t.Collection[str] = frozenset(state for state in State if state.is_untouched)
AT_WORK: t.Collection[str] = frozenset(state for state in State if state.is_at_work)
ENDED: t.Collection[str] = frozenset(state for state in State if state.phase is Phase.ENDED)
