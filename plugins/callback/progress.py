# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Show how far a rollout is."""

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: aggregate
short_description: Shows how far a rollout is
version_added: 0.1.0
description:
  - Shows waves, devices, outcomes, rate and time left of a rollout while it runs, from its journal. What other
    controllers write into the same journal is shown too.
  - In a terminal as a table that stays at the bottom (with the Python library rich), elsewhere as plain lines.
  - Works beside any stdout callback, also AWX's; enable it with C(callbacks_enabled=fleet.ota.progress) in
    C(ansible.cfg) or C(ANSIBLE_CALLBACKS_ENABLED).
author:
  - fleet.ota contributors (@fleet-ota)
requirements:
  - enabled by name
  - rich (for the table in a terminal; without it lines are printed)
options:
  display:
    description:
      - V(table) needs a terminal, V(lines) does not. V(auto) looks whether there is one that a person reads, and not
        ansible-runner.
    type: str
    choices: [auto, table, lines]
    default: auto
    env:
      - name: FLEET_OTA_PROGRESS
    ini:
      - section: callback_fleet_ota_progress
        key: display
"""

EXAMPLES = r"""
# ansible.cfg
# [defaults]
# callbacks_enabled = fleet.ota.progress
"""

import json
import os
import sys
import typing as t

from ansible import constants as C
from ansible.plugins.callback import CallbackBase

from ..plugin_utils._actions import progress_table
from ..plugin_utils._control.journal.record import Record
from ..plugin_utils._control.reports import progress


class CallbackModule(CallbackBase):
    """Reads on in the journal whenever a task gave a result."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "fleet.ota.progress"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._path: str | None = None
        self._read = 0
        self._progress = progress.Progress()
        self._table: t.Any = None

    def set_options(self, task_keys: t.Any = None, var_options: t.Any = None, direct: t.Any = None) -> None:
        """Ansible's hook: decide how to show it."""
        super().set_options(task_keys=task_keys, var_options=var_options, direct=direct)
        wanted = self.get_option("display")
        if wanted == "table" and not progress_table.AVAILABLE:
            self._display.warning(
                "fleet.ota.progress: the library rich is missing, lines are printed instead of a table"
            )
        # ansible-runner, and so AWX, reads its events from what is written to a terminal of its own
        is_read = "AWX_ISOLATED_DATA_DIR" in os.environ or C.DEFAULT_STDOUT_CALLBACK == "awx_display"
        has_terminal = sys.stdout.isatty() and not is_read
        if progress_table.AVAILABLE and (wanted == "table" or (wanted == "auto" and has_terminal)):
            self._table = progress_table.Table()

    def v2_runner_on_ok(self, result: t.Any) -> None:
        """A task gave a result: another journal may have begun, and this one may have grown."""
        fields = result.result
        begins = result.task.action == "fleet.ota.journal" and fields.get("resumed") is not None
        if begins and fields["path"] != self._path:
            self._path, self._read, self._progress = str(fields["path"]), 0, progress.Progress()
            self._catch_up()
        self._look()

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        """A failed task may have recorded something too."""
        self._look()

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        """And one that met nobody."""
        self._look()

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        """A prompt needs the terminal for itself."""
        if self._table and task.action in ("ansible.builtin.pause", "pause"):
            self._table.stop()

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        """The end of the run."""
        self._look()
        if self._table:
            self._table.stop()

    def _catch_up(self) -> None:
        """Take in what earlier runs recorded without telling it again, but for where it stands."""
        lines = [line for record in self._records() for line in self._progress.feed(record)]
        self._show(lines[-1:])

    def _look(self) -> None:
        self._show([line for record in self._records() for line in self._progress.feed(record)])

    def _records(self) -> t.Iterator[Record]:
        """The whole records that are new. Whatever cannot be read is left to those who verify: this only shows."""
        if self._path is None:
            return
        try:
            with open(self._path, "rb") as journal:
                journal.seek(self._read)
                block = journal.read()
        except OSError:
            return
        whole = block[: block.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                return

    def _show(self, lines: list[str]) -> None:
        if self._table and lines:
            self._table.show(self._progress, lines)
        else:
            for line in lines:
                self._display.display(f"[fleet.ota] {line}")
