# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The export to AWX by its playbook: what the jobs will plan with is what the plan was made with."""

from __future__ import annotations

import re

import yaml

from .conftest import MakeFleet, Result

WAVES = [{"name": "pilot", "count": 1}, {"name": "rest", "percent": 100}]
PLACE = {f"fleet_ota_awx_{name}": name for name in ("organization", "project", "inventory")}


class Loader(yaml.SafeLoader):
    """Reads what Ansible is not to take as a template as the text that it is."""


Loader.add_constructor("!unsafe", lambda _loader, node: node.value)


def test_the_playbook_writes_the_workflow_and_touches_nothing(make_fleet: MakeFleet) -> None:
    fleet = make_fleet("d1", "d2", bare=True)
    path = fleet.folder / "awx.yml"
    asked: Result = {**PLACE, "fleet_ota_awx_dest": str(path), "fleet_ota_waves": WAVES}
    given = {
        "fleet_ota_budget": [{"max_unavailable": 1}],
        "fleet_ota_windows": {"install": [{"days": ["sat"], "start": "22:00", "length": "4h"}]},
        "fleet_ota_notify": [{"type": "cloudevents", "url": "https://events.example.com", "token_file": "/token"}],
        "fleet_ota_root": "/devices/{{ inventory_hostname }}",
        "fleet_ota_deadline": 90,
    }
    # who signs, and what is everybody's in the inventory: no variables of the jobs
    asked.update(given, fleet_ota_keys=["/keys/anna.pem"])
    fleet.common["fleet_ota_order"] = ["fleet"]
    ran = fleet.play("export_awx", "--become", **asked)
    assert ran.rc == 0, ran.text
    (play,) = yaml.load(path.read_text(), Loader=Loader)
    plans, _rolls_out, workflow = play["tasks"]
    variables = plans["awx.awx.job_template"]["extra_vars"]
    rights = {key: plans["awx.awx.job_template"][key] for key in ("become_enabled", "forks")}
    assert rights == {"become_enabled": True, "forks": 8}
    assert variables == {
        "fleet_ota_deferred_exit": 0,
        **{f"fleet_ota_{name}": fleet.common[f"fleet_ota_{name}"] for name in ("repository", "trust_root", "channel")},
        "fleet_ota_release": "gateway/2",
        "fleet_ota_journal_dir": str(fleet.folder / "journal"),
        "fleet_ota_hosts": "fleet",
        "fleet_ota_waves": WAVES,
        **given,
    }
    nodes = workflow["awx.awx.workflow_job_template"]["workflow_nodes"]
    assert [node["identifier"] for node in nodes] == ["plan", "wave-pilot", "wave-rest"]
    assert not (fleet.folder / "journal").exists()
    limited = fleet.play("export_awx", "--limit", "d1", **{**asked, "fleet_ota_awx_dest": str(path) + ".limited"})
    assert "the plan was made under --limit d1" in " ".join(limited.text.split())
    assert not path.with_name(path.name + ".limited").exists()
    again = fleet.play("export_awx", "--become", **asked)
    # planning says that a rollout would begin; the file is as it was
    assert re.search(r"TASK \[Write the workflow\] \*+\nok: \[d1\]", again.text), again.text
