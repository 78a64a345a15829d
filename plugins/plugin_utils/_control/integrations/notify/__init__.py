# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Messages about a rollout to people and other systems (docs/notifications.md): bounded in time, never in the way."""

from __future__ import annotations

import dataclasses
import datetime
import importlib
import pathlib
import platform
import threading
import time
import typing as t
import urllib.parse
import uuid

from ...base.errors import ControlError, PlanError
from ...journal.journal import Journal

STARTED, HELD, HALTED, WANTED, ENDED = "started", "held", "halted", "approval_wanted", "ended"
#: Of a repository: metadata end soon, and somebody has to bring keys.
EXPIRING = "expiring"
EVENTS = (STARTED, HELD, HALTED, WANTED, ENDED, EXPIRING)
#: Type and the keys that a receiver of it has: those that it needs, then others.
TYPES: t.Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "cloudevents": (("url",), ("token_file", "mode", "tls")),
    "apprise": (("url_file",), ()),
}
#: Seconds that all receivers together may take, and a single attempt; waits between the attempts.
DEADLINE, TIMEOUT, WAITS = 20.0, 5.0, (0.5, 1.0, 2.0)

Receiver = t.Mapping[str, t.Any]


class Temporary(Exception):
    """It did not arrive, and may on the next attempt; says why, without secrets."""


class Refused(Exception):
    """It did not arrive and never will; says why, without secrets."""


@dataclasses.dataclass(frozen=True)
class Message:
    """What happened: one of :data:`EVENTS`, a sentence, and data for programs.

    ``rollout`` is the rollout, or the repository, that it is about.
    """

    event: str
    rollout: str
    text: str
    data: t.Mapping[str, object]
    id: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
    time: str = dataclasses.field(default_factory=lambda: f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}")
    source: str = dataclasses.field(default_factory=lambda: f"/fleet.ota/{platform.node()}")


def require_valid(receivers: t.Sequence[object]) -> None:
    """Raise :class:`PlanError` with everything that is wrong with the setting ``fleet_ota_notify``."""
    problems = []
    for index, receiver in enumerate(receivers):
        problems += [f"notify[{index}]{problem}" for problem in _problems(receiver)]
    if problems:
        raise PlanError(f"notifications cannot be sent: {'; '.join(problems)}", problems=problems)


def tell(book: Journal | None, receivers: t.Sequence[Receiver], message: Message) -> list[str]:
    """Send ``message`` to all who want it, at the same time, and record in ``book`` what became of it.

    Returns why it did not arrive, one line for each receiver; never raises for that.
    """
    wanted = [one for one in receivers if message.event in (one.get("events") or EVENTS)]
    end = time.monotonic() + DEADLINE
    answers: dict[int, str | None] = {}

    def send(index: int) -> None:
        answers[index] = _send(wanted[index], message, end)

    # daemons: whoever hangs in a library does not keep the process
    threads = [threading.Thread(target=send, args=(index,), daemon=True) for index in range(len(wanted))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, end + TIMEOUT - time.monotonic()))
    failed = []
    for index, receiver in enumerate(wanted):
        problem = answers.get(index, f"no end within {DEADLINE + TIMEOUT:g} seconds")
        if book:
            data = {"about": message.event, "to": name_of(receiver), **({"reason": problem} if problem else {})}
            book.append("notify.failed" if problem else "notify.sent", data=data)
        if problem:
            failed.append(f"{name_of(receiver)}: {problem}")
    return failed


def name_of(receiver: Receiver) -> str:
    """A receiver for people. Of an address only the host: what follows it is often the secret."""
    if "url" in receiver:
        return f"{receiver['type']} {urllib.parse.urlsplit(receiver['url']).hostname}"
    return f"{receiver['type']} {pathlib.Path(str(receiver['url_file'])).name}"


def _send(receiver: Receiver, message: Message, end: float) -> str | None:
    """None when it arrived, else why not."""
    send = importlib.import_module(f".{receiver['type']}", __package__).send
    problem = ""
    for wait in (*WAITS, None):
        try:
            send(receiver, message, min(TIMEOUT, max(0.1, end - time.monotonic())))
            return None
        except Refused as error:
            return str(error)
        except Temporary as error:
            problem = str(error)
        except ControlError as error:
            return error.message
        except Exception as error:  # a library's surprise must not stop a rollout; its text may hold a secret
            return f"failed ({type(error).__name__})"
        if wait is None or time.monotonic() + wait > end:
            break
        time.sleep(wait)
    return problem


def _problems(receiver: object) -> t.Iterator[str]:
    if not isinstance(receiver, dict):
        yield f": must be a mapping, not a {type(receiver).__name__}"
        return
    if receiver.get("type") not in list(TYPES):  # a list compares, where a mapping hashes what somebody wrote
        yield f".type: {receiver.get('type')!r} is none of {', '.join(TYPES)}"
        return
    needed, more = TYPES[receiver["type"]]
    keys = {"type", "events", *needed, *more}
    unknown = sorted(map(str, set(receiver) - keys))
    yield from (f".{key}: unknown; there are {', '.join(sorted(keys))}" for key in unknown)
    yield from (f".{key}: is missing" for key in needed if not receiver.get(key))
    events = receiver.get("events") or []
    if not isinstance(events, list) or any(event not in EVENTS for event in events):
        yield f".events: must be a list of {', '.join(EVENTS)}"
    if receiver.get("mode") not in (None, "structured", "binary"):
        yield ".mode: must be structured or binary"
    yield from importlib.import_module(f".{receiver['type']}", __package__).problems(receiver)
