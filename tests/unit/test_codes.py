# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every code by which something is refused or deferred stands in the reference and has a page that says what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| ((?:`[A-Z_]+`(?: / )?)+) \| (\w+) \|", re.MULTILINE)
#: Raised in code as the first argument of an OtaError or its kind, or as `code=`.
RAISED = re.compile(r"""(?:OtaError|PolicyError|DeviceRefusal)\(\s*"([A-Z_]+)"|\bcode\s*=\s*"([A-Z_]+)\"""")
#: Failures of the controller's own tasks, which no device ever shows.
CONTROLLERS = {"CONTROL", "JOURNAL", "PLAN"}


def listed() -> dict[str, str]:
    """Code -> outcome, as the reference lists them."""
    text = (ROOT / "docs/reference/outcomes.md").read_text()
    return {code: outcome for codes, outcome in ROW.findall(text) for code in re.findall("[A-Z_]+", codes)}


def raised() -> set[str]:
    found = set()
    for path in (ROOT / "plugins").rglob("*.py"):
        found |= {one or other for one, other in RAISED.findall(path.read_text())}
    return found - CONTROLLERS


def test_what_is_raised_is_in_the_reference() -> None:
    assert len(raised()) > 20
    assert raised() - set(listed()) == set()


@pytest.mark.parametrize("code", [code for code, outcome in listed().items() if outcome in ("refused", "deferred")])
def test_a_refusal_has_a_page_that_says_what_to_do(code: str) -> None:
    text = (ROOT / f"docs/codes/{code}.md").read_text()
    assert text.startswith(f"# {code}\n")
    assert f"**Outcome `{listed()[code]}`.**" in text
    assert "## Why\n" in text
    assert "## What to do\n" in text


def test_no_page_is_about_a_code_that_is_gone() -> None:
    assert {path.stem for path in (ROOT / "docs/codes").glob("*.md")} <= set(listed())
