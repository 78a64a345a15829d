# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tools behind make: what CI counts, and which interpreters it believes in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools import changes, pythons, results, testing


@pytest.fixture(autouse=True)
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(results, "REPORTS", tmp_path / "reports")
    return tmp_path / "reports"


def test_every_way_to_end_is_counted_across_kinds() -> None:
    results.record("test", "good")
    results.record("test", "bad", failure="why")
    results.record("lint", "absent", skipped="no such program")
    assert str(results.count()) == "1 passed, 1 failed, 1 skipped"
    assert str(results.count("lint")) == "0 passed, 0 failed, 1 skipped"
    results.clear("test")
    assert str(results.count()) == "0 passed, 0 failed, 1 skipped"


def test_the_longest_are_named_with_their_run(reports: Path) -> None:
    results.record("test", "demo", seconds=61.2)
    results.record("test", "vm", seconds=300)
    results.record("test", "quick", seconds=0.1)
    results.record("lint", "sanity", seconds=500)
    (reports / "test" / "torn.xml").write_text("<testsuite>")
    assert results.longest("test", 2) == ["  300.0 vm vm", "   61.2 demo demo"]


def test_pytest_reports_are_counted_by_case(tmp_path: Path) -> None:
    (tmp_path / "test_sample.py").write_text(
        "import pytest\n"
        "def test_good(): pass\n"
        "def test_bad(): assert False\n"
        "def test_broken(nowhere): pass\n"
        "@pytest.mark.skip(reason='not here')\n"
        "def test_skipped(): pass\n"
    )
    testing._pytest("sample", None, Path(sys.executable), [str(tmp_path)], 60)
    assert str(results.count()) == "1 passed, 2 failed, 1 skipped"


def test_failures_are_told_with_their_end(tmp_path: Path) -> None:
    (tmp_path / "test_sample.py").write_text(
        "import pytest\n"
        "@pytest.fixture\ndef broken(): raise OSError('no disk')\n"
        "def test_good(): pass\n"
        "def test_bad(): print('x\\n' * 99); assert False, 'because'\n"
        "def test_broken(broken): pass\n"
    )
    testing._pytest("sample", None, Path(sys.executable), [str(tmp_path)], 60)
    results.record("lint", "ruff", failure="ruff ended with code 1")
    lint, bad, broken = results.failures()
    assert lint == "--- failed: ruff ruff\nruff ended with code 1"
    assert bad.startswith("--- failed: sample test_bad\n") and "because" in bad
    assert len(bad.splitlines()) <= 1 + results.LINES
    assert broken.startswith("--- failed: sample test_broken\n") and "no disk" in broken


def test_a_run_that_leaves_no_report_is_a_failure(tmp_path: Path) -> None:
    testing._pytest("empty", None, Path(sys.executable), [str(tmp_path)], 60)
    assert results.count().failed == 1


def test_legs_side_by_side_tell_each_its_whole_output_and_none_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    lab: list[str] = []

    def leg(name: str, out: testing.Out) -> None:
        assert out is not None
        out.write(f"{name} spoke".encode())
        if name in testing.LAB:
            assert testing._lab.locked()
            lab.append(name)
        if name == "molecule":
            raise SystemExit("no environment")
        results.record("test", name)

    testing._run_side_by_side([(name, leg) for name in ("molecule", "unit", "demo", "integration")])
    assert lab == ["integration", "molecule"], "the longest first, one at a time"
    assert str(results.count()) == "3 passed, 1 failed, 0 skipped"
    assert "=== demo\ndemo spoke" in capsys.readouterr().out


def long_legs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What pytest is given for each leg of `make test-long`."""
    given: list[list[str]] = []
    monkeypatch.setattr(testing, "_pytest", lambda *_, arguments, **__: given.append(arguments))
    for name, leg in testing._long_legs(Path(sys.executable)):
        leg(name, None)
    return given


def test_every_long_test_of_the_checkout_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    given = long_legs(monkeypatch)
    assert all("--long" in arguments for arguments in given)
    reached = {arguments[0]: "-m" not in arguments for arguments in given}
    assert {"tests/unit", "tests/integration", "tests/reliability"} <= set(reached)
    for path in sorted((testing.ROOT / "tests").rglob("*.py")):
        folder, text = "/".join(path.relative_to(testing.ROOT).parts[:2]), path.read_text("utf-8")
        assert testing.MARK not in text or folder in reached, f"{path} has a long test that nothing runs"
        if 'getoption("--long")' in text and path.name.startswith("test_") and path != Path(__file__):
            assert reached.get(folder), f"{path} asks for its length without a mark: its whole folder has to run"


def test_a_long_test_in_a_new_folder_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marked = "import pytest\n@pytest.mark.long\ndef test_it(): pass\n"
    for name, text in {"new/deep/test_a.py": marked, "short/test_b.py": "", "reliability/test_c.py": ""}.items():
        (tmp_path / "tests" / name).parent.mkdir(parents=True)
        (tmp_path / "tests" / name).write_text(text)
    monkeypatch.setattr(testing, "ROOT", tmp_path)
    given = long_legs(monkeypatch)
    assert given == [["tests/new", "--long", "-m", "long"], ["tests/reliability", "--long"]]


def test_a_torn_report_counts_as_nothing(reports: Path) -> None:
    results.path("test", "torn").write_text("<testsuite><testcase")
    assert str(results.count()) == "0 passed, 0 failed, 0 skipped"


def test_a_stand_in_that_refuses_to_run_is_not_an_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, body in {
        "python3.8": "echo not installed; exit 127",
        "python3.9": f'exec "{sys.executable}" "$@"',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "none"))
    pythons.find.cache_clear()
    try:
        # The second one runs, but is not what its name says.
        assert pythons.find() == {}
    finally:
        pythons.find.cache_clear()


def test_the_running_interpreter_is_the_one_below_any_environment() -> None:
    assert pythons.current().version == sys.version_info[:2]
    assert not (pythons.current().path.parent.parent / "pyvenv.cfg").exists()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit of code and documents."""
    for name in ("docs/page.md", "README.md", "plugins/code.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("old\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    monkeypatch.setattr(changes, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "alone"),
    [
        ([], False),
        (["docs/page.md"], True),
        (["README.md", "docs/new.md", "changelogs/fragments/x.yml"], True),
        (["docs/page.md", "plugins/code.py"], False),
        (["docs/page.md", "plugins/new.py"], False),
    ],
)
def test_a_change_of_documents_alone_is_told(checkout: Path, changed: list[str], alone: bool) -> None:
    for name in changed:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("new\n")
    assert changes.is_documents_alone("HEAD") is alone


def test_a_commit_that_is_not_there_is_no_reason_to_leave_tests_out(checkout: Path) -> None:
    with pytest.raises(SystemExit, match="name a commit of this repository"):
        changes.is_documents_alone("nowhere")


def test_each_leg_is_held_against_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testing, "BUDGETS", {"unit": 100, "device": 10})
    monkeypatch.setattr(testing, "_seconds", {"unit": 90.4, "device-python3.8": 25.0, "new": 3.0})
    assert testing._spent() == [
        "     90 of   100 unit",
        "     25 of    10 device-python3.8  over by 15",
        "      3 of     - new",
    ]


def test_every_leg_has_a_budget() -> None:
    names = [name for name, _leg in testing._legs(Path(sys.executable), every=True)]
    assert [name for name in names if testing._budget(name) is None] == []
