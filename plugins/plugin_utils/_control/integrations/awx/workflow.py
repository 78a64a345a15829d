# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""A plan as a workflow of AWX, written as tasks of the collection ``awx.awx`` (docs/gates.md).

Pure and deterministic: same plan, same settings, same bytes. Options are those of ``awx.awx`` 24.6.1.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

import yaml

from ...base.errors import PlanError
from ...base.plan import Plan, Wave, digest
from . import variables as awx_variables

#: A task, a node or a survey: JSON as AWX takes it.
Task = dict[str, t.Any]

UNTIL = "fleet_ota_until_wave"
APPROVED = "fleet_ota_approved_wave"
OPEN = "fleet_ota_open_wave"
JOINED = "fleet_ota_wave"
ROLLOUT = "fleet_ota_rollout_id"
DIGEST = "fleet_ota_plan_digest"
RELEASE = "fleet_ota_release"
TAKE_OVER = "fleet_ota_take_over"

#: For AWX a job is green or red: one whose devices are deferred, each hour outside a window, is not red.
DEFAULTS = {"fleet_ota_deferred_exit": 0}
#: The nodes alone say these, or there is no terminal to say them in.
_OURS = (UNTIL, APPROVED, OPEN, JOINED, ROLLOUT, DIGEST, TAKE_OVER, "fleet_ota_confirm")
#: What the planning and the rollout cannot do without (playbooks/rollout.yml).
_NEEDED = ("fleet_ota_repository", "fleet_ota_trust_root", "fleet_ota_channel", RELEASE, "fleet_ota_journal_dir")
#: Settings that are never empty.
_NAMED = ("organization", "project", "inventory", "prefix", "plan_playbook", "rollout_playbook", "join_playbook")
#: AWX's longest name.
_NAME_LENGTH = 512
_START = re.compile(r"DTSTART(?:;TZID=[A-Za-z0-9_+/-]+:\d{8}T\d{6}|:\d{8}T\d{6}Z)")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Where in AWX the workflow belongs, by the names of AWX's objects.

    ``variables`` are the extra variables of its jobs, ``schedule`` is an RRULE with DTSTART, ``approval_timeout`` are
    seconds after which an approval that nobody gave fails (0: never). With ``slices`` above 1 every wave that goes in
    one turn is done by so many jobs at once, each with a part of the inventory. ``limit`` is what the run that planned
    was limited to: its jobs are not. The jobs ``become`` root, and work on so many devices (``forks``) at a time; None
    is what AWX does by default.
    """

    organization: str
    project: str
    inventory: str
    variables: t.Mapping[str, object]
    execution_environment: str | None = None
    credentials: t.Sequence[str] = ()
    schedule: str | None = None
    prefix: str = "fleet.ota"
    approval_timeout: int = 0
    plan_playbook: str = "fleet.ota.plan"
    rollout_playbook: str = "fleet.ota.rollout"
    slices: int = 1
    join_playbook: str = "fleet.ota.join"
    limit: str | None = None
    become: bool | None = None
    forks: int | None = None


def tasks(plan: Plan, settings: Settings) -> list[Task]:
    """The tasks that make the job templates, their workflow and its schedule, in the order in which AWX needs them.

    Raises :class:`PlanError` with every mistake at once.
    """
    problems = [*_plan_problems(plan), *_setting_problems(settings)]
    names = {} if problems else _names(plan, settings)
    problems += [f"{name[:40]}...: AWX's names end at {_NAME_LENGTH} characters" for name in _too_long(names)]
    if problems:
        raise PlanError("the plan cannot be exported: " + "; ".join(problems), problems=problems)
    tasks = [
        _template(names["plan"], settings.plan_playbook, "Verifies the release and plans its waves.", plan, settings),
        _template(names["rollout"], settings.rollout_playbook, "Rolls out, until a wave.", plan, settings),
        *([_sliced(names["slices"], plan, settings)] if any(_is_sliced(w, settings) for w in plan.waves) else []),
        _workflow(plan, names, settings),
    ]
    if settings.schedule:
        arguments = {
            "name": names["workflow"],
            "organization": settings.organization,
            "unified_job_template": names["workflow"],
            "rrule": settings.schedule,
            "enabled": True,
            "state": "present",
        }
        tasks.append({"name": "Start it by a schedule", "awx.awx.schedule": arguments})
    return tasks


def render(plan: Plan, tasks: t.Sequence[Task]) -> str:
    """The playbook with ``tasks``, as YAML.

    Connection and login are left to the environment of ``awx.awx`` (CONTROLLER_HOST and so on).
    """
    play = {
        "name": f"Bring the rollout {plan.rollout} to AWX",
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "tasks": list(tasks),
    }
    head = f"---\n# Made by fleet.ota.awx of the plan {plan.digest}; make it again instead of editing it.\n"
    return head + yaml.dump([play], Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=118)


def _plan_problems(plan: Plan) -> list[str]:
    missing = [key for key in ("rollout", "release", "waves", "digest") if key not in plan.document]
    if missing:
        return [f"plan: {', '.join(missing)} is missing; give the plan that fleet.ota.plan returns"]
    if plan.digest != digest(plan.document):
        return ["plan: it is not what its digest says; give the plan as fleet.ota.plan returns it"]
    if plan.back_from:
        return [f"plan: {plan.rollout} is a way back, which fleet.ota.rollback goes at once; export a rollout"]
    return []


def _setting_problems(settings: Settings) -> list[str]:
    problems = [f"{key}: is empty; give the name that it has in AWX" for key in _NAMED if not getattr(settings, key)]
    problems += [
        f"variables.{key}: the workflow itself gives it; leave it out" for key in _OURS if key in settings.variables
    ]
    problems += [
        f"variables.{key}: is missing; the rollout needs it" for key in _NEEDED if not settings.variables.get(key)
    ]
    problems += awx_variables.problems(settings.variables)
    if settings.limit:
        problems.append(
            f"limit: the plan was made under --limit {settings.limit}, and the jobs, which plan for all targets, would "
            "refuse it; export without --limit, and give fleet_ota_hosts for fewer devices"
        )
    if settings.approval_timeout < 0:
        problems.append(f"approval_timeout: {settings.approval_timeout} is below 0; give seconds, or 0 for no end")
    if settings.slices < 1:
        problems.append(f"slices: {settings.slices} is none; give 1 or more")
    return problems + _rule_problems(settings.schedule)


def _rule_problems(rule: str | None) -> list[str]:
    """What AWX refuses of a schedule, so that it is known before the first object is made."""
    if rule is None:
        return []
    problems = []
    if not _START.match(rule) or rule.count("DTSTART") != 1:
        problems.append("begin with one DTSTART:YYYYMMDDTHHMMSSZ or DTSTART;TZID=Area/City:YYYYMMDDTHHMMSS")
    parts = re.findall(r"RULE:(\S*)", rule)
    if not parts:
        problems.append("give an RRULE after it")
    if any("INTERVAL=" not in part for part in parts):
        problems.append("each RRULE needs INTERVAL")
    if any("FREQ=SECONDLY" in part for part in parts):
        problems.append("AWX does not start anything by the second")
    return [f"schedule: {rule!r} is not a rule that AWX takes: {why}" for why in problems]


def _names(plan: Plan, settings: Settings) -> dict[str, str]:
    """The workflow is the rollout's own; the job templates too, because they carry its variables."""
    stem = f"{settings.prefix} {plan.rollout}"
    return {"plan": f"{stem} plan", "rollout": f"{stem} rollout", "slices": f"{stem} slices", "workflow": stem}


def _too_long(names: t.Mapping[str, str]) -> list[str]:
    return [name for name in names.values() if len(name) > _NAME_LENGTH]


def _template(name: str, playbook: str, description: str, plan: Plan, settings: Settings) -> Task:
    release = plan.release
    arguments = {
        "name": name,
        "description": description,
        "organization": settings.organization,
        "job_type": "run",
        "inventory": settings.inventory,
        "project": settings.project,
        "playbook": playbook,
        "execution_environment": settings.execution_environment,
        "credentials": list(settings.credentials) or None,
        # the plan's own release: the newest one may be another when a job runs, and is not what is approved
        "extra_vars": {**DEFAULTS, **settings.variables, RELEASE: f"{release['name']}/{release['version']}"},
        "become_enabled": settings.become,
        "forks": settings.forks,
        # the nodes say which wave
        "ask_variables_on_launch": True,
        # two runs of one rollout would fence each other off
        "allow_simultaneous": False,
        "state": "present",
    }
    return {"name": f"Job template for {playbook}", "awx.awx.job_template": _given(arguments)}


def _is_sliced(wave: Wave, settings: Settings) -> bool:
    """Whether ``wave`` is done by several jobs: those cannot keep turns apart."""
    return settings.slices > 1 and len(wave["turns"]) == 1 and len(wave["hosts"]) > 1


def _sliced(name: str, plan: Plan, settings: Settings) -> Task:
    task = _template(name, settings.join_playbook, "Updates a part of a wave that is open.", plan, settings)
    # each slice has its own devices, and the journal lets nobody in twice
    task["awx.awx.job_template"].update(job_slice_count=settings.slices, allow_simultaneous=True)
    return task


def _workflow(plan: Plan, names: t.Mapping[str, str], settings: Settings) -> Task:
    release = plan.release
    arguments = {
        "name": names["workflow"],
        "description": f"{release['name']} {release['version']} in {len(plan.waves)} waves, plan {plan.digest}",
        "organization": settings.organization,
        "allow_simultaneous": False,
        # A workflow's variables outdo those of its nodes: whoever launches it could say fleet_ota_approved_wave and
        # pass all approval nodes. The survey lets through its own questions alone.
        "ask_variables_on_launch": False,
        "survey_enabled": True,
        "survey_spec": _survey(),
        # nodes of waves that are gone would have no parent, and AWX begins with all that have none
        "destroy_current_nodes": True,
        "workflow_nodes": _nodes(plan, names, settings),
        "state": "present",
    }
    return {"name": "Workflow with a node for each wave", "awx.awx.workflow_job_template": arguments}


def _survey() -> Task:
    """What may differ from run to run. Neither release nor journal: what is approved is what the nodes' names say."""
    question = {
        "variable": TAKE_OVER,
        "question_name": "Take over",
        "question_description": "From another controller that is known to be gone",
        "type": "multiplechoice",
        "required": True,
        # a schedule has nobody to answer
        "default": "false",
        "min": 0,
        "max": 1024,
        "choices": ["false", "true"],
    }
    return {"name": "", "description": "", "spec": [question]}


def _nodes(plan: Plan, names: t.Mapping[str, str], settings: Settings) -> list[Task]:
    """One after the other, each only when the one before succeeded; but slices are judged whatever came of them."""
    home = {"organization": {"name": settings.organization}, "type": "job_template"}
    chain: list[Task] = [
        {"identifier": "plan", "unified_job_template": {"name": names["plan"], **home}},
    ]

    def job(identifier: str, template: str, **data: str) -> None:
        node = {"name": names[template], **home}
        chain.append({"identifier": identifier, "unified_job_template": node, "extra_data": data})

    for wave in plan.waves:
        name, data = wave["name"], {DIGEST: plan.digest}
        if wave.get("approval"):
            data[APPROVED] = name
            chain.append(
                {
                    "identifier": f"approval-{name}",
                    "unified_job_template": {
                        "type": "workflow_approval",
                        # the whole of it, because approvals of all workflows stand in one list
                        "name": f"{plan.rollout} wave {name}",
                        "description": f"{len(wave['hosts'])} devices, plan {plan.digest}",
                        "timeout": settings.approval_timeout,
                    },
                }
            )
        if _is_sliced(wave, settings):
            job(f"open-{name}", "rollout", **data, **{OPEN: name})
            job(f"slices-{name}", "slices", **{ROLLOUT: plan.rollout, JOINED: name})
        job(f"wave-{name}", "rollout", **data, **{UNTIL: name})
    return [{**node, "related": _related(node, after)} for node, after in zip(chain, [*chain[1:], None], strict=True)]


def _related(node: Task, after: Task | None) -> Task:
    """Which nodes follow ``node``: a slice whose pod was lost must not keep the rollout from looking at its devices."""
    following = [{"identifier": after["identifier"]}] if after else []
    always = node["identifier"].startswith("slices-")
    return {
        "success_nodes": [] if always else following,
        "failure_nodes": [],
        "always_nodes": following if always else [],
    }


def _given(arguments: t.Mapping[str, object]) -> Task:
    return {key: value for key, value in arguments.items() if value is not None}


class _Dumper(yaml.SafeDumper):
    """Without anchors, and with texts that Ansible takes as they are: somebody's text is no template of ours."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    if any(mark in value for mark in ("{{", "{%", "{#")):
        return dumper.represent_scalar("!unsafe", value, style="'")
    return dumper.represent_str(value)


_Dumper.add_representer(str, _text)
