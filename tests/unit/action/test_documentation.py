# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``ansible-doc`` shows of each module is what its action takes, option by option."""

from __future__ import annotations

import importlib
import json
import pathlib
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._actions.base import Action, Options

MODULES = pathlib.Path(__file__).resolve().parents[3] / "plugins" / "modules"
NAMES = sorted(path.stem for path in MODULES.glob("*.py") if path.stem != "__init__")
Shape = dict[str, t.Any]


def action(name: str) -> type[Action]:
    module = importlib.import_module(f"ansible_collections.fleet.ota.plugins.action.{name}")
    assert issubclass(module.ActionModule, Action)
    return t.cast("type[Action]", module.ActionModule)


def documented(options: t.Mapping[str, t.Any]) -> Shape:
    keys = ("type", "default", "choices", "elements")
    return {
        name: {
            **{key: option.get(key) for key in keys},
            "required": bool(option.get("required")),
            "options": documented(option["suboptions"]) if "suboptions" in option else None,
        }
        for name, option in options.items()
    }


def taken(options: Options, shown: Shape) -> Shape:
    """Of the same form; a document may leave the entries of a list or mapping to a guide."""
    keys = ("type", "default", "choices", "elements")
    return {
        name: {
            **{key: option.get(key) for key in keys},
            "required": bool(option.get("required")),
            "options": taken(option["options"], shown[name]["options"])
            if "options" in option and shown.get(name, {}).get("options")
            else None,
        }
        for name, option in options.items()
    }


@pytest.fixture(scope="module")
def documents() -> Shape:
    """The documents of all modules, fragments included."""
    program = str(pathlib.Path(sys.executable).with_name("ansible-doc"))
    argv = [program, "--json", "--type", "module", *(f"fleet.ota.{name}" for name in NAMES)]
    done = subprocess.run(argv, capture_output=True, check=True, timeout=120)
    return t.cast("Shape", json.loads(done.stdout))


@pytest.mark.parametrize("name", NAMES)
def test_options_are_documented_as_they_are_taken(documents: Shape, name: str) -> None:
    shown = documented(documents[f"fleet.ota.{name}"]["doc"]["options"])
    assert taken(action(name).argument_spec, shown) == shown


@pytest.mark.parametrize("name", NAMES)
def test_variables_stand_for_options_that_there_are(name: str) -> None:
    plugin = action(name)
    assert set(plugin.variables) <= set(plugin.argument_spec)
    assert all(variable.startswith("fleet_ota_") for variable in plugin.variables.values())
