# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tell the fleet in one table, from what its devices said of themselves."""

from __future__ import annotations

import typing as t

from ..plugin_utils._actions.base import Arguments, Options, Result, named
from ..plugin_utils._actions.controller import ControllerAction, here, targets
from ..plugin_utils._actions.hostvars import registered
from ..plugin_utils._control.reports import fleet, witness


class ActionModule(ControllerAction):
    """C(fleet.ota.census)."""

    argument_spec: t.ClassVar[Options] = {
        "hosts": {"type": "list", "elements": "str"},
        "info": {"type": "dict"},
        "health": {"type": "dict"},
        "journal_dir": {"type": "path"},
    }
    variables: t.ClassVar[t.Mapping[str, str]] = named("journal_dir")

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """Put what was registered and what rollouts know side by side."""
        hosts = arguments["hosts"]
        if hosts is None:
            hosts = targets(task_vars)
        info, health = (
            registered(name, hosts, self.inventory) if arguments[option] is None else arguments[option]
            for option, name in (("info", "fleet_ota_info"), ("health", "fleet_ota_health"))
        )
        places: dict[str, fleet.Place] = {}
        problems: list[str] = []
        if arguments["journal_dir"]:
            places, problems = fleet.places(here(arguments["journal_dir"]), hosts)
        rows = fleet.rows(hosts, info, health, places)
        problems += witness.differences(rows, info, places)
        if arguments["journal_dir"]:
            rollouts = [place.rollout for place in places.values()]
            problems += witness.predecessors(here(arguments["journal_dir"]), rollouts)
        return {
            "changed": False,
            "devices": rows,
            "totals": fleet.totals(rows),
            "unreached": [row["device"] for row in rows if not row["reached"]],
            "problems": problems,
            "summary_lines": [*fleet.lines(rows), *problems],
        }
