# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""The begin of a run, and of a part of a wave that another run opened."""

from __future__ import annotations

import datetime
import os
import pathlib
import typing as t

from ansible.release import __version__ as ansible_version

from ..._control.base.errors import PlanError
from ..._control.base.plan import Plan
from ..._control.client.bundle import Bundle
from ..._control.integrations import notify
from ..._control.journal import journal, runs
from ..._control.journal.state import Controller
from ..._control.planning.text import some
from ..._control.rollout import breaker, join, on_halt, rollout
from ..._control.rollout.wave import approve
from ..base import Arguments, Result
from ..controller import here, user

Warn = t.Callable[[str], None]


def start(arguments: Arguments, *, check: bool, warn: Warn) -> Result:
    """Begin the journal of a plan's rollout, or resume it.

    Raises :class:`PlanError` for a plan that is not the wanted one or updates no device, before anything is recorded.
    """
    directory, plan = here(arguments["journal_dir"]), Plan.of(arguments["plan"])
    rollout.path_of(directory, plan)  # first of all: what is not a plan cannot be asked
    _require_plan(plan, arguments)
    breaker.require_closed(directory, plan)
    notify.require_valid(arguments["notify"])
    if check:
        run = rollout.look(directory, plan)
    else:
        run = rollout.start(directory, plan, _controller(), take_over=arguments["take_over"])
        _record_circumstances(directory, run, plan, arguments, warn)
    watch = arguments["watch"]
    if watch is None:
        watch = plan.waves[-1].get("soak", plan.conditions["soak"])
    return {
        "changed": True,
        "watching": run.is_watched(watch, datetime.datetime.now(datetime.UTC)),
        "rollout": run.rollout,
        "generation": run.generation,
        "path": str(run.path),
        "resumed": run.resumed,
        "unresolved": run.unresolved,
        "done": run.done,
        "touched": run.touched,
        "checkpoint": None if check else journal.Journal(run.path).checkpoint(),
    }


def take_part(arguments: Arguments, hosts: list[str], forks: int, *, check: bool) -> Result:
    """Take part in a wave that a run opened, with those of its devices that are among ``hosts``."""
    place = (here(arguments["journal_dir"]), arguments["rollout"], arguments["wave"], hosts)
    if check:
        part = join.look(*place, "check mode")
    else:
        part = join.join(*place, _controller(), take_over=arguments["take_over"])
    return {
        "changed": bool(part.hosts),
        "rollout": part.rollout,
        "generation": part.generation,
        "path": str(part.path),
        "bundle": str(part.bundle),
        "slice": part.slice,
        "order": part.hosts,
        "serial": [forks],
    }


def tell(book: journal.Journal, receivers: list[t.Any], message: notify.Message, warn: Warn) -> None:
    """Notify people; a receiver that cannot be reached stops nothing."""
    for problem in notify.tell(book, receivers, message):
        warn(f"not notified: {problem}")


def require_wave(plan: Plan, name: str) -> None:
    """Raise :class:`PlanError` for a wave that the plan does not have."""
    names = [wave["name"] for wave in plan.waves]
    if name not in names:
        raise PlanError(f"the plan {plan.rollout} has no wave {name!r}; it has {', '.join(names)}")


def _record_circumstances(
    directory: pathlib.Path, run: rollout.Started, plan: Plan, arguments: Arguments, warn: Warn
) -> None:
    """Record which devices went back meanwhile and which waves were approved, and notify people."""
    book = journal.Journal(run.path)
    if run.resumed:
        on_halt.record_rollbacks(directory, book)
    for name, paths in arguments["approved_waves"].items():
        approve(book, plan, name, how="signed", by=", ".join(paths))
    if arguments["wave"]:
        # AWX starts this run only once its approval node has let the wave begin
        approve(book, plan, arguments["wave"], how="awx", by=arguments["by"] or "AWX")
    release = plan.release
    if arguments["open_wave"]:
        # runs that join may be on other machines, which share no more than the journal's disk
        Bundle.load(here(arguments["bundle"])).save(run.path.with_name(join.BUNDLE))
    text = f"{release['name']} {release['version']}: run {run.generation} begins, {len(plan.order())} devices"
    data = {"release": release, "generation": run.generation, "targets": plan.document["targets"]}
    tell(book, arguments["notify"], notify.Message(notify.STARTED, run.rollout, text, data), warn)


def _require_plan(plan: Plan, arguments: Arguments) -> None:
    """Refuse a plan that is not the one that was exported or approved, before anything of it is on record."""
    wanted = arguments["plan_digest"]
    if wanted and wanted != plan.digest:
        raise PlanError(
            f"the plan of {plan.rollout} is {plan.digest[:12]} now and was {wanted[:12]} when exported; "
            "export it again, and let it be approved again"
        )
    if not plan.waves:
        raise PlanError(_why_empty(plan))
    for name in (arguments["wave"], arguments["until_wave"], arguments["open_wave"]):
        if name:
            # a run until a wave that is not there would go on to the end
            require_wave(plan, name)


def _why_empty(plan: Plan) -> str:
    """Why a plan without waves is not begun."""
    reasons: dict[str, list[str]] = {}
    for entry in plan.document["skipped"]:
        reasons.setdefault(entry["reason"], []).append(entry["host"])
    shown = [f"{some(names, 3)} ({reason})" for reason, names in list(reasons.items())[:5]]
    more = "; ..." if len(reasons) > 5 else ""
    return (
        f"no device is left to update: {plan.rollout} skips {'; '.join(shown)}{more}; correct waves, hosts or "
        "--limit, or roll out what they can take (fleet.ota.plan explains each)"
    )


def _controller() -> Controller:
    # the parent: this is one of Ansible's workers, and its end says nothing about the run
    return {**runs.controller(os.getppid()), "user": user(), "ansible": ansible_version}
