# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of variables has every one that something reads; any other name with our prefix is refused."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.fleet.ota.plugins.plugin_utils._actions import known

from tests import reference

ROOT = Path(__file__).resolve().parents[3]
NAME = re.compile(r"\bfleet_ota_([a-z_]+[a-z])\b")


def read_by_something() -> set[str]:
    """Names in playbooks, roles and Python, and those that actions read for their options."""
    files = [path for folder in ("playbooks", "roles", "plugins/action") for path in (ROOT / folder).rglob("*.*")]
    files += (ROOT / "plugins/plugin_utils").rglob("*.py")
    files = [path for path in files if path.is_file() and path.name != "known.py" and "__pycache__" not in path.parts]
    names = {name for path in files for name in NAME.findall(path.read_text())}
    for path in (ROOT / "plugins/action").glob("[a-z]*.py"):
        module = importlib.import_module(f"ansible_collections.fleet.ota.plugins.action.{path.stem}")
        for options in [module.ActionModule.variables, *getattr(module, "VARIABLES", {}).values()]:
            names |= {name.removeprefix(known.PREFIX) for name in options.values()}
    return names


def test_the_table_has_what_is_read_and_nothing_else() -> None:
    names, table = read_by_something(), {*known.GIVEN, *known.OWN}
    assert names - table == set()
    assert table - names == set()
    assert not known.OWN & set(known.GIVEN)


def test_a_slip_is_told_with_the_nearest_name_and_who_has_it() -> None:
    hosts = {f"dev{number}": ["ansible_host", "fleet_ota_windows", "fleet_ota_freeze"] for number in range(5)}
    with pytest.raises(AnsibleActionFail) as refused:
        known.require({**hosts, "dev9": ["fleet_ota_zzz"]})
    text = str(refused.value)
    assert "fleet_ota_freeze (did you mean fleet_ota_freezes?) of dev0, dev1, dev2 and 2 more" in text
    assert "fleet_ota_zzz of dev9" in text
    known.require({"dev1": ["ansible_host", "fleet_ota_windows", "fleet_ota_info", "fleetota"]})


def test_the_reference_of_variables_is_made_of_the_table() -> None:
    assert reference.PAGE.read_text("utf-8") == reference.page(), "run python -m tests.reference"
    rows = [line.split("|") for line in reference.page().splitlines() if line.startswith("| `")]
    assert [row[1] for row in rows if not row[2].strip()] == [], "these have no type"


def test_a_variable_that_the_documents_name_is_on_the_page() -> None:
    pages = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("roles/*/README.md")]
    assert not {name for page in pages for name in NAME.findall(page.read_text())} & known.OWN
