# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Interlock ``logged_in``: held while a user is logged in at a terminal or a screen.

Both systemd-logind and who(1), which reads utmp, are asked: a system whose PAM does not tell logind has a logind too,
which knows of no session. A connection without a terminal, as Ansible makes it, does not count.
"""

from __future__ import annotations

import os
import time
import typing as t

from ...base import schema
from ...system import command
from . import TIMEOUT, Context, Entry, Unknown

HARMLESS = True
REQUIRED = ()
RULES: dict[str, schema.Rule] = {"max_idle": schema.number(0), "except": schema.list_of(schema.text)}
UTMP = "/run/utmp"
_SHOWN = ("Name", "TTY", "Type", "Class", "State", "IdleHint", "IdleSinceHint")


class Session(t.NamedTuple):
    """Who, where, for how many seconds nothing was typed (None if that is not known), and whether at a screen."""

    user: str
    place: str
    idle: float | None
    screen: bool = False


def look(entry: Entry, context: Context) -> str | None:
    """Users of ``except`` do not count, nor do sessions that were idle for more than ``max_idle`` seconds."""
    if not context.is_real:
        raise Unknown("a directory has no sessions")
    seconds = entry.get("timeout", TIMEOUT)
    longest = entry.get("max_idle")
    by_logind, by_who = _by_logind(seconds), _by_who(seconds)
    if by_logind is None and by_who is None:
        raise Unknown("neither systemd-logind nor utmp says who is logged in")
    # utmp has no terminal for a screen as ":0", so that only logind can tell how long nothing was typed there
    screens = {one.user for one in by_logind or () if one.screen}
    there = [one for one in by_who or () if not (one.user in screens and one.place.startswith(":"))]
    for one in [*(by_logind or ()), *there]:
        idle = longest is not None and one.idle is not None and one.idle > longest
        if one.user not in entry.get("except", ()) and not idle:
            return "%s is logged in at %s" % (one.user, one.place)
    return None


def _by_logind(seconds: float) -> list[Session] | None:
    """None where logind does not answer."""
    listed = command.run(["loginctl", "list-sessions", "--no-legend", "--no-pager"], timeout=seconds)
    if listed.rc != 0:
        return None
    names = [line.split()[0] for line in listed.out.splitlines() if line.strip()]
    if not names:
        return []
    properties = ["--property=%s" % name for name in _SHOWN]
    shown = command.run(["loginctl", "show-session", *properties, "--", *names], timeout=seconds)
    sessions = []
    for block in shown.out.strip().split("\n\n"):  # a session that ended in between is missing
        value = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        there = value.get("Class", "").startswith("user") and value.get("State") != "closing"
        screen = value.get("Type") in ("x11", "wayland", "mir")
        if not there or not (value.get("TTY") or screen):
            continue
        if screen:
            since = value.get("IdleSinceHint", "")
            idle: float | None = (
                time.time() - int(since) / 1e6 if value.get("IdleHint") == "yes" and since.isdigit() else 0.0
            )
        else:
            idle = _untouched(value["TTY"])
        sessions.append(Session(value.get("Name", "an unknown user"), value.get("TTY") or value["Type"], idle, screen))
    return sessions


def _by_who(seconds: float) -> list[Session] | None:
    """Sessions of utmp; None where there is none."""
    result = command.run(["who"], timeout=seconds)
    if result.rc != 0 or not os.path.exists(UTMP):
        return None
    lines = [line.split() for line in result.out.splitlines()]
    return [Session(words[0], words[1], _untouched(words[1])) for words in lines if len(words) > 1]


def _untouched(tty: str) -> float | None:
    """Seconds since something was typed at a terminal, as w(1) tells it."""
    try:
        return max(0.0, time.time() - os.stat("/dev/" + tty).st_atime)
    except OSError:
        return None
