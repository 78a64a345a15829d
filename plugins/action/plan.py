# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plan a rollout: who is updated, in which wave and order, who is skipped and why."""

from __future__ import annotations

import datetime
import typing as t

from ..plugin_utils._control import approvals, plan, rollback, rollouts
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
        "conditions": {"type": "dict"},
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
        "approved": {"type": "bool", "default": False},
    }
    constraints: t.ClassVar[Arguments] = {
        "required_one_of": [("bundle", "repository", "back_from")],
        "mutually_exclusive": [
            *(("bundle", "back_from", name) for name in _TRUST),
            *(("back_from", name) for name in ("waves", "limits", "conditions")),
        ],
        "required_together": [_TRUST],
        "required_by": {"back_from": ["journal_dir"], "wave": ["back_from"]},
    }

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """Verify the release, compute the plan, compare it with the stored one."""
        hosts, groups = arguments["hosts"], plain(task_vars.get("groups", {}))
        if hosts is None:
            hosts = plain(task_vars.get("ansible_play_hosts_all", []))
        bundle, path, verdict = None, None, approvals.Verdict({}, [], None)
        approved_waves: dict[str, list[str]] = {}
        if arguments["back_from"]:
            directory, rollout = here(arguments["journal_dir"]), arguments["back_from"]
            made = rollback.make(
                directory=directory, rollout=rollout, hosts=hosts, groups=groups, wave=arguments["wave"]
            )
        else:
            bundle = Bundle.load(here(arguments["bundle"])) if arguments["bundle"] else fetched(arguments)
            made = plan.make(
                hosts=hosts,
                groups=groups,
                release=bundle.identity,
                waves=arguments["waves"],
                limits=arguments["limits"],
                conditions=arguments["conditions"],
                bytes_per_device=bundle.size(),
            )
            now = datetime.datetime.now(datetime.UTC)
            verdict = approvals.judge(
                bundle.policy, bundle.approved(), made, lambda: identities(plan.order(made), task_vars), now
            )
            approved_waves = approvals.waves(verdict.needed, bundle.approved(), made, now)
            if arguments["approved"]:
                verdict.insist(made)
            bundle = bundle.with_approvals(verdict.paths)
            path = bundle.save(bundle_path(bundle))
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
            "approvals": verdict.needed,
            "missing_approvals": verdict.missing,
            "approved_waves": approved_waves,
            "summary_lines": [*plan.lines(made), *verdict.lines(), *(bundle.custody if bundle else [])],
            **self.diff(plan.detail(stored), plan.detail(made), f"plan {made['rollout']}"),
        }


def identities(names: t.Iterable[str], task_vars: Arguments) -> dict[str, dict[str, str]]:
    """What the inventory says of each device, in the words of its identity; labels never hide the fixed ones."""
    found = {}
    for name in names:
        known = task_vars["hostvars"][name]
        labels = plain(known.get("fleet_ota_labels") or {})
        fixed = {"hardware": known.get("fleet_ota_hardware", ""), "site": known.get("fleet_ota_site", "")}
        found[name] = {**labels, **{key: str(plain(value)) for key, value in fixed.items()}, "name": name}
    return found
