# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback plugin that writes down everything a callback is ever given; `test_secrets` searches it."""

from __future__ import annotations

import os
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: events
type: aggregate
short_description: Everything that callbacks see
description: One line for each event, with task arguments, results and statistics.
"""


class CallbackModule(CallbackBase):
    """Appends to the file that `EVENTS` names."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "events"
    CALLBACK_NEEDS_ENABLED = True

    def v2_on_any(self, *args: Any, **kwargs: Any) -> None:
        """Write the event."""
        with open(os.environ["EVENTS"], "a", encoding="utf-8") as stream:
            for value in (*args, *kwargs.values()):
                shown = [repr(value)]
                for name in ("_result", "_task_fields", "result", "task_fields", "args", "vars"):
                    shown.append(repr(getattr(value, name, None)))
                stream.write(" ".join(shown) + "\n")
