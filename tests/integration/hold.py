# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a lab device around its engine: ``python3 -I -S -B hold.py ENGINE.pyz ...``.

The engine is the real one. As soon as it has made the state that stands in ``/run/fleet-ota-hold`` durable, and before
that state's step runs, this stops the process (SIGSTOP) and says so in ``/run/fleet-ota-held``.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Any

HOLD, HELD = "/run/fleet-ota-hold", "/run/fleet-ota-held"


def main() -> None:
    sys.argv = sys.argv[1:]
    sys.path.insert(0, sys.argv[0])
    transaction = importlib.import_module("fleet_ota.records.transaction")
    engine = importlib.import_module("fleet_ota.main").main

    advance = transaction.Transaction.advance

    def held(self: Any, state: str, **changes: Any) -> None:
        advance(self, state, **changes)
        try:
            with open(HOLD) as handle:
                wanted = handle.read().strip()
        except FileNotFoundError:
            return
        if wanted == state:
            os.unlink(HOLD)
            with open(HELD + ".new", "w") as handle:
                handle.write(str(os.getpid()))
            os.rename(HELD + ".new", HELD)
            os.kill(os.getpid(), signal.SIGSTOP)

    transaction.Transaction.advance = held
    engine()


main()
