# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plan a rollout: who is updated, in which wave and order, who is skipped and why."""

from __future__ import annotations

import datetime
import typing as t

from ansible.inventory.manager import split_host_pattern

from ..plugin_utils._actions import inventory, known, options, settings
from ..plugin_utils._actions.base import Arguments, Options, Result, named, plain
from ..plugin_utils._actions.controller import ControllerAction, forks, here, targets
from ..plugin_utils._actions.hostvars import registered
from ..plugin_utils._actions.repository import fetched
from ..plugin_utils._control.approvals import approval
from ..plugin_utils._control.base.errors import PlanError
from ..plugin_utils._control.base.plan import Placed, Plan
from ..plugin_utils._control.client import expiry
from ..plugin_utils._control.client.bundle import Bundle
from ..plugin_utils._control.planning import compatibility, paths, plan
from ..plugin_utils._control.planning.settings import Options as PlanningOptions
from ..plugin_utils._control.reports import estimates
from ..plugin_utils._control.rollout import rollback
from ..plugin_utils._control.rollout.rollout import stored_plan
from ..plugin_utils._control.schedule import schedule
from ..plugin_utils._workers import worker
from .release import bundle_path

#: Options that become the plan's settings: :class:`PlanningOptions`.
_STEERING: Options = {
    "order": {"type": "list", "elements": "str"},
    "together": {"type": "str"},
    "budget": {"type": "list", "elements": "dict"},
    "windows": {"type": "dict"},
    "freezes": {"type": "list", "elements": "dict"},
    "expected_minutes": {"type": "float"},
    "back_minutes": {"type": "float"},
    "urgent": {"type": "bool", "default": False},
}
#: Options that each host may have as a variable of its own, which the plan reads by itself.
_PER_HOST = ("windows", "freezes", "expected_minutes", "back_minutes", "urgent")
#: Variables that hold for the whole rollout.
_ONE_FOR_ALL = named(
    "waves", "limits", "conditions", "soak", "order", "together", "budget", "journal_dir", *options.RELEASE_NAMES
)
_TLS = {"ca": "fleet_ota_tls_ca", "certificate": "fleet_ota_tls_certificate", "key": "fleet_ota_tls_key"}
#: What makes a pattern or a template of a host's name, beside what :func:`split_host_pattern` takes apart.
_MARKS = ("*", "?", "[", "{{", "{%", "{#")


class ActionModule(ControllerAction):
    """C(fleet.ota.plan)."""

    argument_spec: t.ClassVar[Options] = {
        "hosts": {"type": "list", "elements": "str"},
        "waves": {"type": "list", "elements": "dict"},
        "limits": {"type": "dict"},
        "conditions": {"type": "dict"},
        **_STEERING,
        "info": {"type": "dict"},
        "retry_rejected": {"type": "bool", "default": False},
        "bundle": {"type": "path"},
        **options.RELEASE,
        "journal_dir": {"type": "path"},
        "workers": {"type": "list", "elements": "dict", "options": worker.OPTIONS, "default": []},
        "back_from": {"type": "str"},
        "wave": {"type": "str"},
        "approved": {"type": "bool", "default": False},
    }
    constraints: t.ClassVar[Arguments] = {
        "required_one_of": [("bundle", "repository", "back_from")],
        "mutually_exclusive": [
            *(("bundle", "back_from", name) for name in options.RELEASE_NAMES),
            *(("back_from", name) for name in ("waves", "limits", "conditions", "info")),
        ],
        "required_together": [options.RELEASE_NAMES],
        "required_by": {"back_from": ["journal_dir"], "wave": ["back_from"]},
    }

    variables: t.ClassVar[t.Mapping[str, str]] = named(
        "waves", "limits", "conditions", "retry_rejected", "cache", "workers", *_STEERING, *options.RELEASE_NAMES
    )

    def defaults(self, given: Arguments) -> Arguments:
        """What variables say of a rollout; a way back is planned from its record alone."""
        journals = {"journal_dir": self.variable("fleet_ota_journal_dir")} if "journal_dir" not in given else {}
        if "back_from" in given:
            return {option: value for option, value in journals.items() if value is not None}
        values = super().defaults(given)
        if "bundle" in given:
            values = {option: value for option, value in values.items() if option not in options.RELEASE_NAMES}
        own = self.inventory.get(str(self.task_vars.get("inventory_hostname"))) or {}
        for option in _PER_HOST:
            if f"fleet_ota_{option}" in own:
                values.pop(option, None)
        soak = self.variable("fleet_ota_soak")
        conditions = values.get("conditions", {})
        if "conditions" not in given and soak is not None and isinstance(conditions, dict):
            values["conditions"] = {"soak": soak, **conditions}
        tls = {option: self.variable(name) for option, name in _TLS.items()}
        values = {**journals, "tls": {name: path for name, path in tls.items() if path} or None, **values}
        return {option: value for option, value in values.items() if value is not None}

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """Verify the release, compute the plan, compare it with the stored one."""
        hosts, groups = arguments["hosts"], plain(task_vars.get("groups", {}))
        if hosts is None:
            hosts = targets(task_vars)
        now = datetime.datetime.now(datetime.UTC)
        bundle, path, verdict = None, None, approval.Verdict({}, [], None)
        approved_waves: dict[str, list[str]] = {}
        ways: dict[str, paths.Way] = {}
        if arguments["back_from"] is not None:
            directory, rollout = here(arguments["journal_dir"]), arguments["back_from"]
            the_plan = rollback.make(
                directory=directory, rollout=rollout, hosts=hosts, groups=groups, wave=arguments["wave"]
            )
            stored = self._stored(arguments, the_plan)
            explain: list[t.Mapping[str, object]] = [*the_plan.placed()]
        else:
            known.require({host: self.inventory[host] for host in hosts if host in self.inventory})
            infos = arguments["info"] or registered("fleet_ota_info", hosts, self.inventory)
            others = {}
            if "hosts" not in self.given and not self.variable("fleet_ota_hosts"):
                others = inventory.no_devices(hosts, self.inventory, infos)
            settings.require_same(
                [host for host in hosts if host not in others],
                self.inventory,
                [name for option, name in _ONE_FOR_ALL.items() if option not in self.given],
            )
            bundle = Bundle.load(here(arguments["bundle"])) if arguments["bundle"] else fetched(arguments)
            _insist_on_names(hosts)
            arguments["info"] = infos
            inventory.require_read(getattr(self._task.get_variable_manager(), "_inventory", None))
            inventory.require_distinct(hosts, self.inventory)
            the_plan, planned = self._planned(arguments, bundle, hosts, groups, others)
            stored = self._stored(arguments, the_plan)
            inventory.require_known(stored, groups.get("all", hosts))
            settings.require(the_plan.order(), self.inventory)
            ways = self._ways(arguments, bundle, hosts)
            explain = [{**one, **ways[one["host"]].as_dict()} if one["host"] in ways else one for one in planned]
            listed = bundle.approved()
            verdict = approval.judge(
                bundle.policy, listed, the_plan, lambda: identities(the_plan.order(), task_vars), now
            )
            approved_waves = approval.waves(bundle.policy, verdict.needed, listed, the_plan, now)
            if arguments["approved"]:
                verdict.require(the_plan)
            bundle = bundle.with_approvals(verdict.paths)
            path = bundle.save(bundle_path(bundle))
        journals = here(arguments["journal_dir"]) if arguments["journal_dir"] else None
        seconds = estimates.history(journals, the_plan.release["name"])
        estimate = estimates.make(the_plan, seconds, worker.together(arguments["workers"], forks(task_vars)))
        until = now + datetime.timedelta(seconds=estimate["total"]["seconds_p95"])
        return {
            # planning itself changes nothing; with a journal it says whether starting would change what is followed
            "changed": bool(arguments["journal_dir"]) and stored != the_plan,
            "plan": the_plan.document,
            "serial": the_plan.serial(),
            "order": the_plan.order(),
            "explain": explain,
            "estimate": estimate,
            "download_now": schedule.downloading(the_plan, now),
            "download_until": schedule.download_ends(the_plan, now),
            "bundle": str(path) if path else None,
            "approvals": verdict.needed,
            "missing_approvals": verdict.missing,
            "approved_waves": approved_waves,
            "summary_lines": [
                *plan.lines(the_plan),
                *paths.lines(ways),
                *estimates.lines(estimate, the_plan),
                *verdict.lines(),
                *(bundle.custody if bundle else []),
                *(expiry.lines(bundle.ends, now, until) if bundle else []),
                *expiry.approvals(verdict.ends, until),
            ],
            **self.diff(plan.detail(stored), plan.detail(the_plan), f"plan {the_plan.rollout}"),
        }

    def _stored(self, arguments: Arguments, the_plan: Plan) -> Plan | None:
        """The plan that the rollout follows so far."""
        directory = arguments["journal_dir"]
        return stored_plan(here(directory), the_plan.rollout) if directory else None

    def _ways(self, arguments: Arguments, bundle: Bundle, hosts: list[str]) -> dict[str, paths.Way]:
        """Which releases lead those there who cannot take this one directly."""
        retry, infos = arguments["retry_rejected"], arguments["info"] or {}
        return paths.find(bundle.document, bundle.identity, bundle.steps, infos, hosts, retry_rejected=retry)

    def _planned(
        self,
        arguments: Arguments,
        bundle: Bundle,
        hosts: list[str],
        groups: dict[str, list[str]],
        others: dict[str, str],
    ) -> tuple[Plan, list[Placed]]:
        """The plan of an update, and of each target why it is where it is."""
        unfit = compatibility.unfit(
            bundle.document, bundle.digest, arguments["info"] or {}, hosts, retry_rejected=arguments["retry_rejected"]
        )
        computed = plan.compute(
            hosts=hosts,
            groups=groups,
            release=bundle.identity,
            waves=arguments["waves"],
            limits=arguments["limits"],
            conditions=arguments["conditions"],
            bytes_per_device=bundle.size(),
            inventory=self.inventory,
            options=PlanningOptions(**{key: arguments[key] for key in _STEERING}),
            unfit={**unfit, **others},
            read=lambda calendar: here(calendar).read_text(encoding="utf-8"),
        )
        return computed.plan, computed.explain


def _insist_on_names(hosts: t.Iterable[str]) -> None:
    """Raise :class:`PlanError` for names that plays take for patterns: nobody, or others, would be touched."""
    problems = [
        f"hosts: Ansible takes the name {name!r} for a pattern; rename it in the inventory, where ansible_host keeps "
        "its address"
        for name in hosts
        if split_host_pattern([name]) != [name] or name[0] in "!&~" or any(mark in name for mark in _MARKS)
    ]
    if problems:
        raise PlanError(f"the rollout cannot be planned: {'; '.join(problems)}", problems=problems)


def identities(names: t.Iterable[str], task_vars: Arguments) -> dict[str, dict[str, str]]:
    """What the inventory says of each device, in the words of its identity; labels never hide the fixed ones."""
    entries = {}
    for name in names:
        variables = task_vars["hostvars"][name]
        labels = {key: str(value) for key, value in plain(variables.get("fleet_ota_labels") or {}).items()}
        fixed = {"hardware": variables.get("fleet_ota_hardware", ""), "site": variables.get("fleet_ota_site", "")}
        entries[name] = {**labels, **{key: str(plain(value)) for key, value in fixed.items()}, "name": name}
    return entries
