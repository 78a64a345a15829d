# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the test runs and linters brought, kept as JUnit files so that one count serves all of them."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from xml.etree import ElementTree

from tools import ROOT

#: One JUnit file per run; `clear` empties it.
REPORTS = ROOT / ".cache" / "reports"
#: What a test case that failed has in such a file.
FAILED = {"failure", "error"}
#: So many lines of what pytest says of a failure; its end tells most.
LINES = 40


@dataclasses.dataclass
class Count:
    """How many test cases (or linters) ended how."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def path(kind: str, name: str) -> Path:
    """Where the run ``name`` of ``kind`` (`test` or `lint`) has to leave its JUnit file."""
    folder = REPORTS / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.xml"


def clear(kind: str) -> None:
    """Forget earlier results of ``kind``."""
    shutil.rmtree(REPORTS / kind, ignore_errors=True)


def record(kind: str, name: str, *, failure: str | None = None, skipped: str | None = None, seconds: float = 0) -> None:
    """Write down one result that did not come from pytest."""
    case = ElementTree.Element("testcase", classname=kind, name=name, time=f"{seconds:.1f}")
    if failure is not None:
        ElementTree.SubElement(case, "failure", message=failure)
    elif skipped is not None:
        ElementTree.SubElement(case, "skipped", message=skipped)
    suite = ElementTree.Element("testsuite", name=name)
    suite.append(case)
    ElementTree.ElementTree(suite).write(path(kind, name), encoding="unicode")


def count(*kinds: str) -> Count:
    """Count the results of ``kinds`` (all when none is given)."""
    total = Count()
    for file in sorted(REPORTS.glob("*/*.xml")):
        if not kinds or file.parent.name in kinds:
            one = read(file)
            total = Count(total.passed + one.passed, total.failed + one.failed, total.skipped + one.skipped)
    return total


def longest(kind: str, most: int) -> list[str]:
    """The ``most`` test cases of ``kind`` that took the most time, one line each: seconds, run, name."""
    found = []
    for file in sorted((REPORTS / kind).glob("*.xml")):
        found += [(float(case.get("time", 0)), file.stem, case.get("name", "")) for case in _cases(file)]
    return [f"{seconds:7.1f} {run} {name}" for seconds, run, name in sorted(found, reverse=True)[:most]]


def failures() -> list[str]:
    """Every failed result of all kinds with its run, its name, and the last lines of what was said of it."""
    found = []
    for file in sorted(REPORTS.glob("*/*.xml")):
        for case in _cases(file):
            for child in case:
                if child.tag in FAILED:
                    lines = (child.text or child.get("message") or "").rstrip().splitlines()[-LINES:]
                    found.append("\n".join([f"--- failed: {file.stem} {case.get('name', '')}", *lines]))
    return found


def read(file: Path) -> Count:
    """Count one JUnit file; one that is missing or torn counts as nothing."""
    found = Count()
    for case in _cases(file):
        ways = {child.tag for child in case}
        if ways & FAILED:
            found.failed += 1
        elif "skipped" in ways:
            found.skipped += 1
        else:
            found.passed += 1
    return found


def _cases(file: Path) -> list[ElementTree.Element]:
    """The test cases of one JUnit file; none of one that is missing or torn."""
    try:
        return list(ElementTree.parse(file).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return []
