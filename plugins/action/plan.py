# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plan a rollout: who is updated, in which wave and order, who is skipped and why."""

from __future__ import annotations

import typing as t

from ..plugin_utils._control import plan, rollback, rollouts
from ..plugin_utils._control.bundle import Bundle
from ..plugin_utils._controller_action import Arguments, ControllerAction, Result, here, plain
from .release import CACHE, TLS, bundle_path, fetched

_TRUST = ("repository", "trust_root", "channel", "release")


class ActionModule(ControllerAction):
    """C(fleet.ota.plan)."""

    argument_spec: t.ClassVar[Arguments] = {
        "hosts": {"type": "list", "elements": "str"},
        "waves": {"type": "list", "elements": "dict"},
        "limits": {"type": "dict"},
        "bundle": {"type": "path"},
        "repository": {"type": "str"},
        "trust_root": {"type": "path"},
        "channel": {"type": "str"},
        "release": {"type": "str"},
        "cache": {"type": "path", "default": CACHE},
        "tls": TLS,
        "journal_dir": {"type": "path"},
        "back_from": {"type": "str"},
        "wave": {"type": "str"},
    }
    constraints: t.ClassVar[Arguments] = {
        "required_one_of": [("bundle", "repository", "back_from")],
        "mutually_exclusive": [
            *(("bundle", "back_from", name) for name in _TRUST),
            *(("back_from", name) for name in ("waves", "limits")),
        ],
        "required_together": [_TRUST],
        "required_by": {"back_from": ["journal_dir"], "wave": ["back_from"]},
    }

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """Verify the release, compute the plan, compare it with the stored one."""
        hosts, groups = arguments["hosts"], plain(task_vars.get("groups", {}))
        if hosts is None:
            hosts = plain(task_vars.get("ansible_play_hosts_all", []))
        path = None
        if arguments["back_from"]:
            directory, rollout = here(arguments["journal_dir"]), arguments["back_from"]
            made = rollback.make(
                directory=directory, rollout=rollout, hosts=hosts, groups=groups, wave=arguments["wave"]
            )
        else:
            if arguments["bundle"]:
                path = here(arguments["bundle"])
                bundle = Bundle.load(path)
            else:
                bundle = fetched(arguments)
                path = bundle.save(bundle_path(bundle))
            made = plan.make(
                hosts=hosts,
                groups=groups,
                release=bundle.identity,
                waves=arguments["waves"],
                limits=arguments["limits"],
                bytes_per_device=bundle.size(),
            )
        stored = None
        if arguments["journal_dir"]:
            stored = rollouts.stored_plan(here(arguments["journal_dir"]), made["rollout"])
        return {
            # planning itself changes nothing; with a journal it says whether starting would change what is followed
            "changed": bool(arguments["journal_dir"]) and stored != made,
            "plan": made,
            "serial": plan.serial(made),
            "order": plan.order(made),
            "bundle": str(path) if path else None,
            "summary_lines": plan.lines(made),
            **self.diff(_detail(stored), _detail(made), f"plan {made['rollout']}"),
        }


def _detail(made: plan.Plan | None) -> list[str]:
    """The plan with a line for each device, so that a difference shows who moved."""
    if made is None:
        return []
    devices = [f"{wave['name']}: {name}" for wave in made["waves"] for name in wave["hosts"]]
    return [*plan.lines(made), *devices, *(f"skipped: {entry['host']}" for entry in made["skipped"])]
