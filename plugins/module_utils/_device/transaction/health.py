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
from ..kinds.checks import Check, Finding, Measured, Section
from ..system import background
from ..system.layout import Layout

PASSES, INTERVAL, TIMEOUT, SETTLE = 2, 1.0, 60.0, 0.0
#: Seconds beyond a check's own ``wait`` in which a look must be over, whatever it waits for.
_GRACE = 2.0
#: Looks at how long an answer takes before the update, of which the median counts.
_BASELINE_LOOKS = 3


class Verdict(t.NamedTuple):
    """``healthy`` and, for each check by name, ``{"ok", "reason", "measured"}``."""

    healthy: bool
    checks: dict[str, Finding]

    @property
    def reason(self) -> str:
        """What failed, for people."""
        wrong = ["%s: %s" % (name, finding["reason"]) for name, finding in self.checks.items() if not finding["ok"]]
        return "; ".join(wrong) or "healthy"


def fill(check: object, words: t.Mapping[str, str]) -> object:
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

    def __init__(self, layout: Layout, section: Section, words: t.Mapping[str, str]) -> None:
        self.layout = layout
        self.passes = int(section.get("passes", PASSES))
        self.interval = float(section.get("interval", INTERVAL))
        self.timeout = float(section.get("timeout", TIMEOUT))
        self.settle = float(section.get("settle", SETTLE))
        self.checks = [t.cast(Check, fill(check, words)) for check in section.get("checks", [])]

    def look(self, baseline: t.Mapping[str, Measured] | None = None) -> Verdict:
        """Look once at every check. ``baseline`` maps check names to what an earlier look measured."""
        findings = {}
        for check in self.checks:
            measured = (baseline or {}).get(check["name"]) or {"taken": baseline is not None}
            findings[check["name"]] = self._one(check, measured)
        return Verdict(all(entry["ok"] for entry in findings.values()), findings)

    def before(self) -> Verdict:
        """Look for a baseline: what is compared by its duration is measured several times, and the median kept."""
        first = self.look()
        for check in self.checks:
            finding = first.checks[check["name"]]
            if "baseline_factor" in check and finding["ok"]:
                again = [self._one(check, {"taken": False}) for _look in range(_BASELINE_LOOKS - 1)]
                more = [one["measured"].get("seconds") for one in again]
                seconds = sorted(value for value in (finding["measured"]["seconds"], *more) if value is not None)
                finding["measured"]["seconds"] = seconds[len(seconds) // 2]
        return first

    def wait(self, baseline: t.Mapping[str, Measured] | None = None) -> Verdict:
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
            for name, finding in verdict.checks.items():
                passed[name] += int(finding["ok"])
                steady = finding["ok"] and _steady(last.checks.get(name), finding)
                row[name] = row[name] + 1 if steady else int(finding["ok"])
            last = verdict
            if all(count >= self.passes for count in row.values()):
                return Verdict(True, verdict.checks)
            if time.monotonic() >= end:
                break
            time.sleep(self.interval)
        for name, finding in last.checks.items():
            if finding["ok"] and row[name] < self.passes:
                finding["ok"], finding["reason"] = (
                    False,
                    "passed only %d of %d times in a row" % (row[name], self.passes),
                )
            if not finding["ok"] and 0 < passed[name] < looks:
                finding["reason"] += " (flapping: %d of %d looks passed)" % (passed[name], looks)
        return Verdict(False, last.checks)

    def _one(self, check: Check, baseline: Measured) -> Finding:
        implementation = checks.module(check["type"])
        if implementation is None:
            return {"ok": False, "reason": "unknown kind of check %r" % check["type"], "measured": {}}
        try:
            context = checks.Context(self.layout.is_real, baseline, self.layout.root)
            seconds = float(check.get("wait", getattr(implementation, "WAIT", checks.WAIT))) + _GRACE
            measured = t.cast(Measured, background.within(seconds, lambda: implementation.look(check, context)))
        except TimeoutError as error:
            return {"ok": False, "reason": "inconclusive: %s" % error, "measured": {}}
        except checks.Unhealthy as error:
            return {"ok": False, "reason": str(error), "measured": {}}
        except Exception as error:  # a check that breaks says nothing, and nothing is not healthy
            return {"ok": False, "reason": "inconclusive: %s: %s" % (type(error).__name__, error), "measured": {}}
        return {"ok": True, "reason": "", "measured": measured}


def _steady(before: Finding | None, now: Finding) -> bool:
    """Whether nothing restarted between two looks."""
    if before is None:
        return True
    earlier, later = before["measured"], now["measured"]
    return all(earlier.get(key, later[key]) == later[key] for key in ("restarts", "invocation") if key in later)


def measured(verdict: Verdict) -> dict[str, Measured]:
    """The baseline to keep: what each passing check measured."""
    return {name: finding["measured"] for name, finding in verdict.checks.items() if finding["ok"]}
