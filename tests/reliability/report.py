# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run counted, for people and for docs/reliability.md: ``.cache/reports/reliability/NAME.json``."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "reports" / "reliability"


class Report:
    """Counts of one test: iterations (whole cycles), interruptions (faults that struck), violations."""

    def __init__(self, name: str, seed: int | None = None) -> None:
        self.name, self.seed = name, seed
        self.iterations = 0
        self.interruptions = 0
        self.violations: list[str] = []

    def violation(self, where: str, problems: list[str]) -> None:
        """Note that after the fault at ``where`` something did not hold."""
        self.violations.extend("%s: %s" % (where, problem) for problem in problems)

    def close(self) -> None:
        """Write it down, and fail if there were violations."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        found = {"name": self.name, "time": now, "seed": self.seed, "iterations": self.iterations}
        found.update(interruptions=self.interruptions, violations=len(self.violations))
        (FOLDER / ("%s.json" % self.name)).write_text(json.dumps(found, indent=1) + "\n")
        print(json.dumps(found))
        assert not self.violations, "\n".join(self.violations[:20])
