# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan as a workflow of AWX, held against the options of awx.awx and against AWX's published schema."""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

import pytest
import yaml
from ansible_collections.fleet.ota.plugins.action import approval as approval_action
from ansible_collections.fleet.ota.plugins.action import gate, journal, slices, update
from ansible_collections.fleet.ota.plugins.action import plan as plan_action
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import PlanError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.integrations.awx import variables
from ansible_collections.fleet.ota.plugins.plugin_utils._control.integrations.awx import workflow as awx_export
from ansible_collections.fleet.ota.plugins.plugin_utils._control.planning import plan

FACTS = json.loads((pathlib.Path(__file__).parent / "awx-24.6.1.json").read_text())
RELEASE = {"name": "gateway", "version": "2.0", "counter": 2, "digest": "1a2b3c4d" * 8, "channel": "stable"}
HOSTS = ["d1", "d2", "d3", "d4"]
RULE = "DTSTART;TZID=Europe/Berlin:20300107T220000 RRULE:FREQ=WEEKLY;INTERVAL=1;BYDAY=MO"
VARIABLES = {
    "fleet_ota_repository": "https://ota.example.com",
    "fleet_ota_trust_root": "/etc/fleet-ota/root.json",
    "fleet_ota_channel": "stable",
    "fleet_ota_release": "gateway/2.0",
    "fleet_ota_journal_dir": "/var/lib/fleet-ota/journals",
}
TYPES = {"string": str, "integer": int, "boolean": bool, "object": dict, "array": list}

Body = dict[str, t.Any]


def sealed(document: Body) -> plan.Plan:
    return plan.Plan.of({**document, "digest": plan.digest(document)})


def made(approval: t.Collection[str] = ("most", "all")) -> plan.Plan:
    waves = [{"name": "pilot", "count": 1}, {"name": "most", "count": 2}, {"name": "all", "percent": 100}]
    found = plan.make(hosts=HOSTS, groups={"all": HOSTS}, release=RELEASE, waves=waves)
    for wave in found.document["waves"]:
        if wave["name"] in approval:
            wave["approval"] = True
    return sealed({**found.document})


def settings(**more: t.Any) -> awx_export.Settings:
    given: Body = {"organization": "Plant", "project": "Fleet", "inventory": "Gateways", "variables": VARIABLES}
    full: Body = {"execution_environment": "OTA", "credentials": ["SSH"], "schedule": RULE, "approval_timeout": 3600}
    return awx_export.Settings(**{**given, **full, **more})


def arguments(tasks: list[Body]) -> list[tuple[str, Body]]:
    return [(key, task[key]) for task in tasks for key in task if key.startswith("awx.awx.")]


def workflow(tasks: list[Body]) -> Body:
    return next(given for module, given in arguments(tasks) if module == "awx.awx.workflow_job_template")


# -- what AWX would be sent ------------------------------------------------------------------------------------------


def problems(definition: str, body: Body) -> list[str]:
    """What AWX's schema says against ``body``; the part of JSON schema that these definitions use."""
    known = FACTS["definitions"][definition]
    found = [f"{key} is missing" for key in known["required"] if key not in body]
    for key, value in body.items():
        rule = known["properties"].get(key)
        if rule is None or rule.get("readOnly"):
            found.append(f"{key} cannot be set")
        elif not isinstance(value, TYPES[rule["type"]]) or (isinstance(value, bool) and rule["type"] != "boolean"):
            found.append(f"{key} is no {rule['type']}: {value!r}")
        elif "enum" in rule and value not in rule["enum"]:
            found.append(f"{key} is none of {rule['enum']}")
        elif isinstance(value, str) and not rule.get("minLength", 0) <= len(value) <= rule.get("maxLength", 1 << 20):
            found.append(f"{key} has {len(value)} characters")
        elif rule["type"] == "integer" and not rule.get("minimum", -1) <= value <= rule.get("maximum", 1 << 40):
            found.append(f"{key} is out of bounds")
    return found


def bodies(tasks: list[Body]) -> list[tuple[str, Body]]:
    """What the modules send, by the definitions: names become ids, variables become JSON."""
    found = []
    for module, given in arguments(tasks):
        body = {key: value for key, value in given.items() if key not in ("state", "credentials", "survey_spec")}
        if module == "awx.awx.job_template":
            del body["organization"]  # the module finds the project with it; AWX itself takes that of the project
            # the schema calls the id of a project a string
            body.update(project="7", inventory=1, execution_environment=2, extra_vars=json.dumps(body["extra_vars"]))
            found.append(("JobTemplate", body))
        elif module == "awx.awx.workflow_job_template":
            del body["destroy_current_nodes"]
            nodes = body.pop("workflow_nodes")
            found.append(("WorkflowJobTemplate", {**body, "organization": 3}))
            for node in nodes:
                template = node["unified_job_template"]
                sent = {key: value for key, value in node.items() if key not in ("related", "unified_job_template")}
                sent["workflow_job_template"] = "9"
                if template["type"] == "workflow_approval":
                    approval = {key: value for key, value in template.items() if key != "type"}
                    found.append(("WorkflowApprovalTemplate", approval))
                else:
                    sent["unified_job_template"] = 11
                found.append(("WorkflowJobTemplateNode", sent))
        else:
            del body["organization"]
            found.append(("Schedule", {**body, "unified_job_template": 12}))
    return found


def test_awx_s_schema_takes_every_object() -> None:
    sent = bodies(awx_export.tasks(made(), settings()))
    assert [name for name, _body in sent].count("WorkflowApprovalTemplate") == 2
    assert {name for name, _body in sent} == set(FACTS["definitions"])
    assert [(name, problem) for name, body in sent for problem in problems(name, body)] == []


@pytest.mark.parametrize(
    ("definition", "body"),
    [
        ("JobTemplate", {}),
        ("JobTemplate", {"name": "x", "job_type": "walk"}),
        ("JobTemplate", {"name": "x", "allow_simultaneous": "no"}),
        ("JobTemplate", {"name": "x", "organization": 1}),
        ("WorkflowJobTemplate", {"name": "x" * 513}),
        ("WorkflowApprovalTemplate", {"name": "x", "timeout": 1 << 31}),
        ("WorkflowJobTemplateNode", {"workflow_job_template": "1", "extra_vars": "{}"}),
    ],
)
def test_the_check_itself_finds(definition: str, body: Body) -> None:
    assert len(problems(definition, body)) == 1


def test_the_modules_know_every_option() -> None:
    for module, given in arguments(awx_export.tasks(made(), settings())):
        options = FACTS["modules"][module.removeprefix("awx.awx.")]
        assert set(given) <= set(options), module
        for key, value in given.items():
            kind = {"list": list, "dict": dict, "bool": bool, "int": int}.get(options[key].get("type", "str"), str)
            assert isinstance(value, kind), (module, key)
            assert value in options[key].get("choices", [value])


# -- what it does ----------------------------------------------------------------------------------------------------


def test_one_node_for_each_wave_after_its_approval() -> None:
    nodes = workflow(awx_export.tasks(made(), settings()))["workflow_nodes"]
    assert [node["identifier"] for node in nodes] == [
        "plan",
        "wave-pilot",
        "approval-most",
        "wave-most",
        "approval-all",
        "wave-all",
    ]
    for node, after in zip(nodes, [*nodes[1:], None], strict=True):
        wanted = [{"identifier": after["identifier"]}] if after else []
        assert node["related"] == {"success_nodes": wanted, "failure_nodes": [], "always_nodes": []}
    bound = {"fleet_ota_plan_digest": made().document["digest"]}
    assert [node.get("extra_data") for node in nodes] == [
        None,
        {**bound, "fleet_ota_until_wave": "pilot"},
        None,
        {**bound, "fleet_ota_until_wave": "most", "fleet_ota_approved_wave": "most"},
        None,
        {**bound, "fleet_ota_until_wave": "all", "fleet_ota_approved_wave": "all"},
    ]
    stem = "fleet.ota gateway-2.0-1a2b3c4d"
    templates = [node["unified_job_template"]["name"] for node in nodes if "extra_data" in node]
    assert templates == [f"{stem} rollout"] * 3
    assert nodes[0]["unified_job_template"]["name"] == f"{stem} plan"
    assert nodes[2]["unified_job_template"]["timeout"] == 3600
    assert nodes[2]["unified_job_template"]["name"] == "gateway-2.0-1a2b3c4d wave most"


def test_slices_take_part_in_an_open_wave_and_are_judged_whatever_came_of_them() -> None:
    tasks = awx_export.tasks(made(approval=["most"]), settings(slices=3))
    assert [(name, problem) for name, body in bodies(tasks) for problem in problems(name, body)] == []
    nodes = {node["identifier"]: node for node in workflow(tasks)["workflow_nodes"]}
    assert list(nodes) == ["plan", "wave-pilot", "approval-most", "open-most", "slices-most", "wave-most", "wave-all"]
    digest = made(approval=["most"]).document["digest"]
    assert nodes["open-most"]["extra_data"] == {
        "fleet_ota_open_wave": "most",
        "fleet_ota_approved_wave": "most",
        "fleet_ota_plan_digest": digest,
    }
    assert nodes["slices-most"]["extra_data"] == {
        "fleet_ota_rollout_id": "gateway-2.0-1a2b3c4d",
        "fleet_ota_wave": "most",
    }
    assert nodes["open-most"]["related"]["success_nodes"] == [{"identifier": "slices-most"}]
    judged = {"success_nodes": [], "failure_nodes": [], "always_nodes": [{"identifier": "wave-most"}]}
    assert nodes["slices-most"]["related"] == judged
    assert nodes["wave-most"]["extra_data"]["fleet_ota_until_wave"] == "most"
    named = nodes["slices-most"]["unified_job_template"]["name"]
    template = next(given for _module, given in arguments(tasks) if given["name"] == named)
    assert (template["job_slice_count"], template["allow_simultaneous"]) == (3, True)
    assert template["playbook"] == "fleet.ota.join"


def test_turns_are_not_for_slices() -> None:
    found = made(approval=[])
    found.document["waves"][1]["turns"] = [1, 1]
    tasks = awx_export.tasks(sealed({**found.document}), settings(slices=3))
    assert [node["identifier"] for node in workflow(tasks)["workflow_nodes"]] == [
        "plan",
        "wave-pilot",
        "wave-most",
        "wave-all",
    ]


def test_nobody_passes_an_approval_by_a_variable() -> None:
    tasks = awx_export.tasks(made(), settings())
    whole = workflow(tasks)
    assert whole["ask_variables_on_launch"] is False
    assert [question["variable"] for question in whole["survey_spec"]["spec"]] == ["fleet_ota_take_over"]
    # a schedule has nobody to answer
    assert all(question["default"] for question in whole["survey_spec"]["spec"])
    templates = [given for module, given in arguments(tasks) if module == "awx.awx.job_template"]
    assert [given["playbook"] for given in templates] == ["fleet.ota.plan", "fleet.ota.rollout"]
    assert all(given["ask_variables_on_launch"] for given in templates)
    assert not any(given["allow_simultaneous"] for given in [*templates, whole])


def test_the_jobs_take_the_release_of_the_plan() -> None:
    newest = settings(variables={**VARIABLES, "fleet_ota_release": "gateway"})
    for _module, given in arguments(awx_export.tasks(made(), newest))[:2]:
        assert given["extra_vars"] == {"fleet_ota_deferred_exit": 0, **VARIABLES}


def test_what_is_not_given_is_left_out() -> None:
    tasks = awx_export.tasks(made(approval=()), settings(schedule=None, execution_environment=None, credentials=[]))
    assert [module for module, _given in arguments(tasks)] == [
        "awx.awx.job_template",
        "awx.awx.job_template",
        "awx.awx.workflow_job_template",
    ]
    assert not {"execution_environment", "credentials"} & set(arguments(tasks)[0][1])
    assert len(workflow(tasks)["workflow_nodes"]) == 4


def test_the_playbook_is_the_tasks_and_somebody_s_text_is_no_template() -> None:
    text = "{{ lookup('pipe', 'id') }}"
    found, given = made(), settings(variables={**VARIABLES, "fleet_ota_waves": [{"name": text}]})
    tasks = awx_export.tasks(found, given)
    content = awx_export.render(found, tasks)
    assert content == awx_export.render(made(), awx_export.tasks(made(), given))
    unsafe: list[str] = []

    class Loader(yaml.SafeLoader):
        pass

    def read(_loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
        unsafe.append(node.value)
        return str(node.value)

    Loader.add_constructor("!unsafe", read)
    (play,) = yaml.load(content, Loader=Loader)
    assert play["tasks"] == tasks
    assert play["hosts"] == "localhost"
    assert unsafe == [text, text]  # one for each job template


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"organization": ""}, ["organization"]),
        ({"variables": {}, "prefix": ""}, ["prefix", "fleet_ota_repository", "fleet_ota_journal_dir"]),
        ({"variables": {**VARIABLES, "fleet_ota_approved_wave": "all"}}, ["fleet_ota_approved_wave"]),
        ({"variables": {**VARIABLES, "fleet_ota_confirm": "terminal"}}, ["fleet_ota_confirm"]),
        (
            {"variables": {**VARIABLES, "fleet_ota_repository": "https://me:pw@ota.example.com"}},
            ["fleet_ota_repository"],
        ),
        ({"variables": {**VARIABLES, "fleet_ota_mirrors": ["http://m", "http://token@m"]}}, ["fleet_ota_mirrors[1]"]),
        ({"variables": {**VARIABLES, "fleet_ota_mirrors": "http://m,http://u:pw@m"}}, ["fleet_ota_mirrors: holds"]),
        ({"variables": {**VARIABLES, "fleet_ota_data": ["--url=http://u:p,w@m/x"]}}, ["fleet_ota_data[0]: holds"]),
        ({"variables": {**VARIABLES, "fleet_ota_notify": [{"url": "https://h/x"}]}}, ["fleet_ota_notify[0].url"]),
        ({"variables": {**VARIABLES, "fleet_ota_notify": [{"url": "https://h?key=1"}]}}, ["fleet_ota_notify[0].url"]),
        ({"variables": {**VARIABLES, "fleet_ota_notify": [{"url": "https://h/#key"}]}}, ["fleet_ota_notify[0].url"]),
        ({"limit": "d1:d2"}, ["made under --limit d1:d2"]),
        ({"approval_timeout": -1}, ["approval_timeout"]),
        ({"prefix": "x" * 500}, ["512"]),
        ({"schedule": "every monday"}, ["DTSTART", "RRULE"]),
        ({"schedule": "DTSTART:20300107T220000 RRULE:FREQ=DAILY;INTERVAL=1"}, ["DTSTART"]),
        ({"schedule": "DTSTART:20300107T220000Z RRULE:FREQ=DAILY"}, ["INTERVAL"]),
        ({"schedule": "DTSTART:20300107T220000Z RRULE:FREQ=SECONDLY;INTERVAL=1"}, ["second"]),
    ],
)
def test_every_mistake_is_named(more: Body, named: list[str]) -> None:
    with pytest.raises(PlanError) as caught:
        awx_export.tasks(made(), settings(**more))
    assert all(any(word in problem for problem in caught.value.detail["problems"]) for word in named)


def test_everything_that_a_rollout_reads_is_handed_on_or_is_known_not_to_be() -> None:
    """A variable that is new to the playbooks or the role makes this fail until it is decided."""
    root = pathlib.Path(__file__).parents[4]
    places = [*(root / "playbooks" / f"{name}.yml" for name in ("ask", "plan", "rollout", "tasks/plan", "tasks/ask"))]
    places += [*(root / "playbooks/tasks").glob("turn_*.yml"), root / "roles/update/meta/argument_specs.yml"]
    places += [root / "plugins/action/plan.py"]  # which reads more than its options' variables
    read = {name for path in places for name in re.findall(r"\bfleet_ota_([a-z_]+)", path.read_text())}
    named = [{**plugin.ActionModule.variables} for plugin in (plan_action, gate, slices, update, approval_action)]
    named += [journal.VARIABLES["started"], journal.VARIABLES["concluded"]]
    read |= {name.removeprefix("fleet_ota_") for names in named for name in names.values()}
    # what the workflow's nodes say, or a person; what passes between tasks; what asks for approvals
    nodes = {"until_wave", "open_wave", "approved_wave", "plan_digest", "take_over", "confirm"}
    inner = {"action", "bundle", "decision", "generation", "info", "infos", "journal", "name", "now", "overwrite"}
    inner |= {
        "asked_devices",
        "own_rollout_id",
        "planned",
        "rollout",
        "rollout_id",
        "started",
        "turn",
        "turns",
        "applied",
    }
    inner |= {"concluded_run"}
    inner -= {"infos"}
    asking = {"approval_hours", "remark", "request_approval", "request_wave", "requested_by", "requested_by_key"}
    asking |= {"keys", "passphrase_file", "pin_file"}
    assert read - variables.HANDED == nodes | inner | asking
    secret = {"fleet_ota_keys": ["k"], "fleet_ota_pin_file": "p", "fleet_ota_until_wave": "w", "hosts": "x", "order": 1}
    assert variables.handed({**secret, "fleet_ota_order": ["a"]}) == {"fleet_ota_order": ["a"]}


def test_addresses_without_secrets_pass() -> None:
    fine: Body = {
        "fleet_ota_deadline": 90,
        "fleet_ota_by": "a@b//c",
        "fleet_ota_mirrors": ["https://m/?a=b"],
        "fleet_ota_notify": [{"url": "https://h:8443/", "token_file": "/t"}, {"url": "https://h"}],
    }
    given = arguments(awx_export.tasks(made(), settings(variables={**VARIABLES, **fine})))[0][1]["extra_vars"]
    assert given == {"fleet_ota_deferred_exit": 0, **VARIABLES, **fine}


@pytest.mark.parametrize(
    "given",
    [{}, {**made().document, "digest": "0"}, {**made(()).document, "targets": 99}],
)
def test_what_is_no_plan_is_refused(given: Body) -> None:
    with pytest.raises(PlanError, match="plan: "):
        awx_export.tasks(plan.Plan.of(given), settings())


def test_a_way_back_is_refused() -> None:
    back: Body = {**made(()).document, "back_from": "gateway-2.0-1a2b3c4d"}
    with pytest.raises(PlanError, match="a way back"):
        awx_export.tasks(sealed(back), settings())
