# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Update devices by other machines, each a slice of them, with one journal."""

from __future__ import annotations

import importlib.util
import typing as t

from ..plugin_utils._actions.base import Arguments, Options, Result
from ..plugin_utils._actions.controller import ControllerAction, forks, here, targets
from ..plugin_utils._control.base.errors import PlanError
from ..plugin_utils._control.client.bundle import Bundle
from ..plugin_utils._control.journal import journal
from ..plugin_utils._workers import dispatch, inventory, parcel
from ..plugin_utils._workers import worker as workers

#: Outcomes of devices that nothing was changed on.
UNTOUCHED = ("current", "refused", "deferred")


class ActionModule(ControllerAction):
    """C(fleet.ota.slices)."""

    within_rollout = True
    argument_spec: t.ClassVar[Options] = {
        "state": {"type": "str", "choices": ["checked", "done"], "default": "done"},
        "workers": {"type": "list", "elements": "dict", "options": workers.OPTIONS, "required": True},
        "files": {"type": "path"},
        "silence": {"type": "float", "default": 120},
        "hosts": {"type": "list", "elements": "str"},
        "journal": {"type": "path"},
        "generation": {"type": "int", "default": 0},
        "bundle": {"type": "path"},
    }
    variables: t.ClassVar[t.Mapping[str, str]] = {
        "workers": "fleet_ota_workers",
        "files": "fleet_ota_worker_files",
        "silence": "fleet_ota_worker_silence",
    }
    constraints: t.ClassVar[Arguments] = {"required_if": [("state", "done", ("hosts", "journal", "bundle"))]}

    def perform(self, arguments: Arguments, task_vars: Arguments) -> Result:
        """Look whether all of it can go to workers, or let them do it."""
        if importlib.util.find_spec("ansible_runner") is None:
            raise PlanError("workers need ansible-runner on this machine too; install what requirements.txt names")
        most = forks(task_vars)
        machines = workers.parse(arguments["workers"], most)
        files = here(arguments["files"]) if arguments["files"] else None
        if files and not files.is_dir():
            raise PlanError(f"fleet_ota_worker_files is {files}, which is no folder here; name one that is there")
        source = inventory.Source(task_vars, files)
        if arguments["state"] == "checked" or self.check:
            for name in arguments["hosts"] or targets(task_vars):
                source.hooks(name)
            return {"changed": False, "forks": sum(worker.forks for worker in machines)}
        job = parcel.Job(
            book=journal.Journal(here(arguments["journal"])),
            generation=arguments["generation"],
            bundle=Bundle.load(here(arguments["bundle"])),
            source=source,
            files=files,
        )
        over = dispatch.Turn(job, machines, workers.here(most), arguments["silence"]).run(arguments["hosts"])
        for slice_ in over:
            if slice_.open:
                last_words = f"; Ansible said there: {slice_.said}" if slice_.said else ""
                self._display.warning(
                    f"worker {slice_.worker} left {len(slice_.open)} devices: {slice_.reason}{last_words}"
                )
        outcomes = {device: outcome for slice_ in over for device, outcome in slice_.outcomes.items()}
        return {
            "changed": any(outcome not in UNTOUCHED for outcome in outcomes.values()),
            "outcomes": outcomes,
            "open": [name for name in arguments["hosts"] if name not in outcomes],
            "slices": [
                {"worker": one.worker, "devices": one.devices, "open": one.open, "reason": one.reason} for one in over
            ],
        }
