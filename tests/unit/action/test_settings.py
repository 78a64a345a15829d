# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for a whole rollout is one value for all of its hosts, or it is refused."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._actions import settings
from ansible_collections.fleet.ota.plugins.plugin_utils._actions.base import Arguments, Options, Result
from ansible_collections.fleet.ota.plugins.plugin_utils._actions.controller import ControllerAction
from ansible_collections.fleet.ota.plugins.plugin_utils._actions.hostvars import Inventory
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import PlanError

if t.TYPE_CHECKING:
    from .conftest import Act

HOSTS = ["d1", "d2", "d3"]


def refusal(*values: t.Any) -> str:
    variables = {
        host: {} if value is None else {"fleet_ota_soak": value} for host, value in zip(HOSTS, values, strict=True)
    }
    try:
        settings.require_same(HOSTS, Inventory(variables), ["fleet_ota_soak"])
    except PlanError as error:
        return error.message
    return ""


@pytest.mark.parametrize("values", [(5, 5, 5), (None, None, None), ("", None, ""), ([{"a": 1}],) * 3])
def test_one_value_for_all_is_taken(values: tuple[t.Any, ...]) -> None:
    assert refusal(*values) == ""


def test_values_that_differ_are_refused_and_named() -> None:
    assert "fleet_ota_soak is 5 (2 devices: d1, d3); 600 (1 device: d2)" in refusal(5, 600, 5)
    assert "fleet_ota_soak is nothing (1 device: d1); 5 (2 devices: d2, d3)" in refusal(None, 5, 5)


class Lists(ControllerAction):
    """Returns what the variable of a list came to."""

    argument_spec: t.ClassVar[Options] = {"waves": {"type": "list", "elements": "dict"}}
    variables: t.ClassVar[t.Mapping[str, str]] = {"waves": "fleet_ota_waves"}

    def variable(self, name: str) -> t.Any:
        return self.task_vars.get(name) or None  # there is no templar without Ansible

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        return {"waves": arguments["waves"]}


@pytest.mark.parametrize("text", ['[{"count": 1}]', ' [{"count": 1}]'])
def test_a_survey_sends_lists_as_texts(act: Act, text: str) -> None:
    assert act(Lists, {"fleet_ota_waves": text})["waves"] == [{"count": 1}]
    assert act(Lists, {"fleet_ota_waves": ""})["waves"] is None
