# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Entries that a person or a task adds: an outcome, an approval, a reset."""

from __future__ import annotations

from ..._control.base.errors import PlanError
from ..._control.journal import journal
from ..._control.rollout import breaker
from ..._control.rollout.rollout import recorded
from ..._control.rollout.wave import approve, approved
from ..base import Arguments, Result
from ..controller import here, user
from .begin import require_wave


def record(book: journal.Journal, arguments: Arguments, *, check: bool) -> Result:
    """Add what happened to a device."""
    if check:
        return {"changed": True}
    fields = {key: arguments[key] for key in ("device", "outcome", "code", "message", "data")}
    entry = book.append(arguments["event"], **fields)
    return {"changed": True, "record": entry, "checkpoint": book.checkpoint()}


def let_begin(book: journal.Journal, arguments: Arguments, *, check: bool) -> Result:
    """Add that an approver lets a wave begin, once."""
    state, name = book.state(), arguments["wave"]
    require_wave(state.plan, name)
    approver = {"how": arguments["how"], "by": arguments["by"] or user(), "remark": arguments["remark"]}
    changed = name not in approved(state, state.plan)
    if changed and not check:
        approve(book, state.plan, name, **approver, data=arguments["data"] or None)
    return {"changed": changed, "wave": name, **approver}


def reset(arguments: Arguments, *, check: bool) -> Result:
    """Close the breaker of a channel, or let a rollout that was taken back be tried again."""
    by, reason = arguments["by"] or user(), arguments["remark"]
    if (arguments["channel"] is None) == (arguments["path"] is None):
        raise PlanError("a reset is of a channel's breaker or of one rollout: give channel or path")
    if not reason.strip():
        raise PlanError("a reset needs a reason: say what was found, for whoever asks later")
    if arguments["path"]:
        folder = here(arguments["path"]).parent
        return _reset_rollout(journal.Journal(recorded(folder.parent, folder.name)), by, reason, check=check)
    directory, channel = here(arguments["journal_dir"]), arguments["channel"]
    halts = breaker.halted(directory, channel)
    if halts and not check:
        breaker.reset(directory, channel, by, reason)
    return {"changed": bool(halts), "by": by, "rollouts": halts}


def _reset_rollout(book: journal.Journal, by: str, reason: str, *, check: bool) -> Result:
    standings = book.state().standings.items()
    back = [name for name, standing in standings if standing.taken_back]
    ahead = [name for name, standing in standings if standing.ahead]
    data = {"by": by, "reason": reason, "devices": back, **({"ahead": ahead} if ahead else {})}
    if (back or ahead) and not check:
        book.append("rollout.reset", data=data)
    return {"changed": bool(back or ahead), "by": by, "rolled_back": back, "ahead": ahead}
