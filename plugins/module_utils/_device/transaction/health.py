# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Health: a baseline before, verdicts after.

A check is healthy when it passes ``passes`` times in a row within ``timeout``, which begins after ``settle``; whatever
is inconclusive is not healthy, nor is what passes now and then (docs/health.md has the table; Argo
Rollouts' analysis counts consecutive successes the same way).
"""

from __future__ import annotations

import string
import time
import typing as t

from ..base.errors import OtaError
from ..kinds import checks
from ..system.layout import Layout

PASSES, INTERVAL, TIMEOUT, SETTLE = 2, 1.0, 60.0, 0.0
#: Looks at how long an answer takes before the update, of which the median counts.
_BASELINE_LOOKS = 3


class Verdict(t.NamedTuple):
    """``healthy`` and, for each check by name, ``{"ok", "reason", "measured"}``."""

    healthy: bool
    checks: dict[str, dict[str, t.Any]]

    @property
    def reason(self) -> str:
        """What failed, for people."""
        wrong = ["%s: %s" % (name, found["reason"]) for name, found in self.checks.items() if not found["ok"]]
        return "; ".join(wrong) or "healthy"


def fill(check: t.Any, words: t.Mapping[str, str]) -> t.Any:
    """``check`` with each ``${word}`` replaced from the device's identity; OtaError RELEASE for an unknown word."""
    if isinstance(check, str):
        try:
            return string.Template(check).substitute(words)
        except (KeyError, ValueError) as error:
            message = "health check: %s in %r is not a label of this device; add it to the identity" % (error, check)
            raise OtaError("INCOMPATIBLE", message) from None
    if isinstance(check, list):
        return [fill(entry, words) for entry in check]
    if isinstance(check, dict):
        return {key: fill(value, words) for key, value in check.items()}
    return check


class Health:
    """The checks of one release on one device."""

    def __init__(self, layout: Layout, section: t.Mapping[str, t.Any], words: t.Mapping[str, str]) -> None:
        self.layout = layout
        self.passes = int(section.get("passes", PASSES))
        self.interval = float(section.get("interval", INTERVAL))
        self.timeout = float(section.get("timeout", TIMEOUT))
        self.settle = float(section.get("settle", SETTLE))
        self.checks = [t.cast("dict[str, t.Any]", fill(check, words)) for check in section.get("checks", [])]

    def look(self, baseline: t.Mapping[str, t.Any] | None = None) -> Verdict:
        """Look once at every check. ``baseline`` maps check names to what an earlier look measured."""
        found = {}
        for check in self.checks:
            measured = (baseline or {}).get(check["name"]) or {"taken": baseline is not None}
            found[check["name"]] = self._one(check, measured)
        return Verdict(all(entry["ok"] for entry in found.values()), found)

    def before(self) -> Verdict:
        """Look for a baseline: what is compared by its duration is measured several times, and the median kept."""
        first = self.look()
        for check in self.checks:
            found = first.checks[check["name"]]
            if "baseline_factor" in check and found["ok"]:
                again = [self._one(check, {"taken": False}) for _look in range(_BASELINE_LOOKS - 1)]
                more = [one["measured"].get("seconds") for one in again]
                seconds = sorted(value for value in (found["measured"]["seconds"], *more) if value is not None)
                found["measured"]["seconds"] = seconds[len(seconds) // 2]
        return first

    def wait(self, baseline: t.Mapping[str, t.Any] | None = None) -> Verdict:
        """Look until every check passed ``passes`` times in a row, or ``timeout`` seconds are over."""
        if self.checks:
            time.sleep(self.settle)
        end = time.monotonic() + self.timeout
        looks, passed = 0, {check["name"]: 0 for check in self.checks}
        row = dict(passed)
        last = Verdict(not self.checks, {})
        while True:
            verdict = self.look(baseline)
            looks += 1
            for name, found in verdict.checks.items():
                passed[name] += int(found["ok"])
                row[name] = row[name] + 1 if found["ok"] and _steady(last.checks.get(name), found) else int(found["ok"])
            last = verdict
            if all(count >= self.passes for count in row.values()):
                return Verdict(True, verdict.checks)
            if time.monotonic() >= end:
                break
            time.sleep(self.interval)
        for name, found in last.checks.items():
            if found["ok"] and row[name] < self.passes:
                found.update(ok=False, reason="passed only %d of %d times in a row" % (row[name], self.passes))
            if not found["ok"] and 0 < passed[name] < looks:
                found["reason"] += " (flapping: %d of %d looks passed)" % (passed[name], looks)
        return Verdict(False, last.checks)

    def _one(self, check: dict[str, t.Any], measured: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        found = checks.module(check["type"])
        if found is None:
            return {"ok": False, "reason": "unknown kind of check %r" % check["type"], "measured": {}}
        try:
            seen = found.look(check, checks.Context(self.layout.is_real, measured, self.layout.root))
        except checks.Unhealthy as error:
            return {"ok": False, "reason": str(error), "measured": {}}
        except Exception as error:  # a check that breaks says nothing, and nothing is not healthy
            return {"ok": False, "reason": "inconclusive: %s: %s" % (type(error).__name__, error), "measured": {}}
        return {"ok": True, "reason": "", "measured": seen}


def _steady(before: dict[str, t.Any] | None, now: dict[str, t.Any]) -> bool:
    """Whether nothing restarted between two looks."""
    if before is None or "restarts" not in now["measured"]:
        return True
    return bool(before["measured"].get("restarts", now["measured"]["restarts"]) == now["measured"]["restarts"])


def measured(verdict: Verdict) -> dict[str, t.Any]:
    """The baseline to keep: what each passing check measured."""
    return {name: found["measured"] for name, found in verdict.checks.items() if found["ok"]}
