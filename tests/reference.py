# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``python -m tests.reference`` writes docs/reference/variables.md from the table of variables and argument specs."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
importlib.import_module("tests.conftest")  # makes the collection importable
PAGE = ROOT / "docs/reference/variables.md"
HEAD = """# Variables

Every variable that the collection reads. It may stand wherever Ansible takes variables (inventory, group and host
variables, extra vars, surveys, a play's `vars`); one for each host only where the third column says so. Empty texts, as
surveys send them, count as absent. **A variable that begins with `fleet_ota_` and is not on this page is an error**,
told with the nearest name before anything is touched. Made from the argument specs by `python -m tests.reference`.

| variable | type, default | per host | what |
|---|---|---|---|
"""


def specs() -> dict[str, dict[str, Any]]:
    """Argument specs by variable: of roles, then of the actions that read it for an option."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((ROOT / "plugins/action").glob("[a-z]*.py")):
        module = importlib.import_module(f"ansible_collections.fleet.ota.plugins.action.{path.stem}")
        for options in [module.ActionModule.variables, *getattr(module, "VARIABLES", {}).values()]:
            for option, name in options.items():
                found.setdefault(name, module.ActionModule.argument_spec[option])
    for path in sorted(ROOT.glob("roles/*/meta/argument_specs.yml")):
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values():
            found.update(entry.get("options", {}))
    return found


def page() -> str:
    """The reference of variables."""
    known = importlib.import_module("ansible_collections.fleet.ota.plugins.plugin_utils._actions.known")
    given, lines = specs(), []
    for name, variable in known.GIVEN.items():
        spec = given.get(known.PREFIX + name, {})
        kind = spec.get("type", "str") if spec else variable.kind
        kind += f" of {spec['elements']}" if spec.get("elements") else ""
        if spec.get("default") not in (None, "", [], {}):
            kind += f", `{spec['default'] if isinstance(spec['default'], str) else json.dumps(spec['default'])}`"
        lines.append(f"| `{known.PREFIX}{name}` | {kind} | {'yes' if variable.per_host else ''} | {variable.text} |\n")
    return HEAD + "".join(lines)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    PAGE.write_text(page(), encoding="utf-8")
