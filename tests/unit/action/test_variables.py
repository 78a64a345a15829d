# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a task leaves out is read from variables, and the variables of all devices are validated at once."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest
import yaml
from ansible.errors import AnsibleActionFail
from ansible_collections.fleet.ota.plugins.action import journal
from ansible_collections.fleet.ota.plugins.plugin_utils._actions import options, settings, steps
from ansible_collections.fleet.ota.plugins.plugin_utils._actions.base import Arguments, Options, Result, named
from ansible_collections.fleet.ota.plugins.plugin_utils._actions.controller import ControllerAction
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import PlanError

if t.TYPE_CHECKING:
    from .conftest import Act, Play

ROLE = pathlib.Path(__file__).resolve().parents[3] / "roles" / "update"


class Echo(ControllerAction):
    """Returns its arguments."""

    argument_spec: t.ClassVar[Options] = {
        "soak": {"type": "int", "default": 7},
        "order": {"type": "list", "elements": "str"},
        "other": {"type": "str"},
        "keys": {"type": "list", "elements": "str", "no_log": False},
    }
    variables: t.ClassVar[t.Mapping[str, str]] = named("soak", "order", "keys")

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        return {"arguments": arguments}


class Needy(Echo):
    """Needs two of its options."""

    constraints: t.ClassVar[Arguments] = {"required_together": [("soak", "order")]}
    argument_spec: t.ClassVar[Options] = {**Echo.argument_spec, "soak": {"type": "int"}}

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        try:
            raise OSError("a socket said no")
        except OSError as error:
            raise PlanError("nothing can be reached; try again") from error


def test_an_absent_option_is_told_with_the_variable_that_stands_for_it(act: Act) -> None:
    with pytest.raises(AnsibleActionFail) as caught:
        act(Needy, {"fleet_ota_soak": 1})
    assert str(caught.value) == "parameters are required together: soak, order; set fleet_ota_order"


def test_a_failure_is_told_once(act: Act) -> None:
    """Ansible appends the text of whatever caused an error."""
    with pytest.raises(AnsibleActionFail) as caught:
        act(Needy)
    assert str(caught.value) == "nothing can be reached; try again"


@pytest.mark.parametrize(
    ("given", "variables", "wanted"),
    [
        ({}, {}, {"soak": 7}),
        ({}, {"fleet_ota_soak": 9}, {"soak": 9}),
        ({"soak": 1}, {"fleet_ota_soak": 9}, {"soak": 1}),
        ({"soak": None}, {"fleet_ota_soak": 9}, {"soak": 9}),  # null means "not given"
        ({}, {"fleet_ota_soak": None}, {"soak": 7}),
        ({}, {"fleet_ota_splay": "x"}, {"soak": 7}),  # not among the variables of the action
        ({}, {"fleet_ota_keys_dir": 5}, {"soak": 7, "keys": ["5"]}),
        ({}, {"fleet_ota_keys_dir": 5, "fleet_ota_soak": False}, {"soak": 0, "keys": ["5"]}),
    ],
)
def test_a_variable_stands_for_what_is_not_given(act: Act, given: Result, variables: Result, wanted: Result) -> None:
    nothing: Result = {"order": None, "other": None, "keys": None}
    assert act(Echo, variables, **given)["arguments"] == {**nothing, **wanted}


@pytest.mark.parametrize("document", [{}, {"format": 1, "waves": []}, {"format": 2, "digest": "x"}])
def test_what_is_not_a_plan_is_refused_by_name(act: Act, tmp_path: pathlib.Path, document: Result) -> None:
    with pytest.raises(AnsibleActionFail, match="the plan cannot be used: it is not of format"):
        act(journal.ActionModule, state="started", plan=document, journal_dir=str(tmp_path))


def test_soak_goes_beside_conditions_that_came_as_a_text(play: Play) -> None:
    """From a survey, or from C(-e name=value): what is wrong with them the validator says."""
    task = {"fleet.ota.plan": {}, "run_once": True}
    places = {"repository": "/nowhere", "trust_root": "/nowhere", "channel": "stable", "release": "latest"}
    values = {"fleet_ota_soak": 5, **{f"fleet_ota_{name}": value for name, value in places.items()}}
    for conditions, answer in (('{"on_halt": "stop"}', "trust root /nowhere"), ("[1]", "convert"), ([1], "convert")):
        variables = {**values, "fleet_ota_conditions": conditions}
        ran = play({"hosts": "all", "gather_facts": False, "vars": variables, "tasks": [task]})
        assert ran.rc and answer in ran.text and "is not a mapping" not in ran.text, ran.text


def test_a_hook_that_only_its_device_can_work_out_stops_no_gate(play: Play) -> None:
    """The role works it out, and what comes of that is the device's."""
    (play.folder / "host_vars").mkdir()
    (play.folder / "host_vars/d2.json").write_text(json.dumps({"fleet_ota_hook_after": "{{ of_a_play }}/after.yml"}))
    task = {"fleet.ota.gate": {"journal": "none", "point": "before"}, "register": "gate", "run_once": True}
    plays = {"hosts": "all", "gather_facts": False, "vars": {"of_a_play": "/hooks"}}
    steps_of = {"ansible.builtin.debug": {"msg": "steps: {{ gate.steps }}"}, "run_once": True}
    ran = play({**plays, "tasks": [task, steps_of]}, hosts=["d1", "d2"], options=["--check"])
    assert ran.rc == 0 and "steps: hooks" in ran.text, ran.text


def test_templates_empty_texts_and_omit_in_real_variables(play: Play) -> None:
    """By the gate's action of a dry run, which needs no journal: ``workers`` decides ``steps``."""
    task = {"fleet.ota.gate": {"journal": "none", "point": "before"}, "register": "gate", "run_once": True}
    values: list[tuple[t.Any, bool]] = [("{{ omit }}", True), ("", True), ("{{ [] }}", True), ("{{ [1] }}", False)]
    values.append((False, True))
    for value, works in values:
        plays = {"hosts": "all", "gather_facts": False, "vars": {"fleet_ota_workers": value}, "tasks": [task]}
        ran = play(plays, options=["--check"])
        assert (ran.rc == 0) is works, ran.text


def test_the_role_documents_what_the_action_reads() -> None:
    """The same options with the same defaults, or a wave would not do what the role does."""
    specs = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    for option, name in options.UPDATE_VARIABLES.items():
        assert defaults[name] == specs[name]["default"] == options.UPDATE[option]["default"], name
        assert specs[name].get("choices") == options.UPDATE[option].get("choices"), name


def test_variables_of_devices_are_refused_by_name_and_all_at_once() -> None:
    inventory: dict[str, Result] = {
        "d1": {"fleet_ota_deadline": "soon", "fleet_ota_guard": "dog"},
        "d2": {"fleet_ota_deadline": "90", "fleet_ota_unknown": 1, "fleet_ota_protect": None},
        "d3": {"fleet_ota_data": [{"path": "/srv"}]},
        "d4": {"fleet_ota_deadline": "never"},
    }
    with pytest.raises(PlanError) as raised:
        settings.require(["d1", "d2", "d3", "elsewhere"], inventory)
    text = str(raised.value)
    assert "d1: argument 'fleet_ota_deadline' is of type" in text
    assert "d1: value of fleet_ota_guard must be one of: auto, systemd, process, none" in text
    assert "d3: missing required arguments: on_restore found in fleet_ota_data" in text
    assert "d2" not in text and "d4" not in text
    settings.require(["d2"], inventory)


@pytest.mark.parametrize(
    ("of_play", "of_hosts", "workers", "wanted"),
    [
        ({}, {}, False, steps.DEVICES),
        ({}, {"fleet_ota_hook_after": ""}, False, steps.DEVICES),
        ({}, {"fleet_ota_hook_after": "after.yml"}, False, steps.HOOKED),
        ({"fleet_ota_hook_before": "before.yml"}, {}, False, steps.HOOKED),
        ({"fleet_ota_hook_before": "before.yml"}, {}, True, steps.WORKERS),
    ],
)
def test_a_wave_has_as_few_tasks_as_its_team_leaves_room_for(
    of_play: Result, of_hosts: Result, workers: bool, wanted: str
) -> None:
    inventory = {"d1": {}, "d2": of_hosts, "d3": {"fleet_ota_hook_before": "of another wave"}}
    assert steps.choose(["d1", "d2", "gone"], of_play, inventory, workers=workers) == wanted
