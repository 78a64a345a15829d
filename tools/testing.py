# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`make test`: everything that this machine can run, and the reason for what it cannot."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from tools import ROOT, changes, pythons, results, venvs
from tools.pythons import Python

#: Seconds after which a single test case is stopped.
UNIT_TIMEOUT = 180
LAB_TIMEOUT = 900
#: Its machine is emulated, and its disks are made in the first test's time.
VM_TIMEOUT = 1800
LONG_TIMEOUT = 7200
#: So many tests are named at the end: who wants a run to take less looks there.
LONGEST = 40
#: Folders below tests/ of which every test has a full length of its own; of the others the tests that are marked.
WHOLE = ("reliability",)
#: How a test, or one of its parameters, is marked as a long one.
MARK = "mark.long"

#: Seconds that each leg may take on two cores that do nothing else, environment included. A change that adds to a leg
#: pays for it: it takes something out, or raises the number and says why. A leg over its budget is named, not failed:
#: machines differ. All of CI, from a clean checkout with empty caches, has 40 minutes (CONTRIBUTING.md).
BUDGETS = {
    "unit": 600,
    "reliability": 200,
    "conformance": 90,
    "mutation": 130,
    "device": 280,
    "core": 330,
    "demo": 60,
    "docs": 30,
    "integration": 2000,
    "vm": 300,
    "molecule": 60,
}
#: What a change of documents alone can break.
DOCS_TESTS = ("tests/unit/test_codes.py", "tests/unit/test_docs.py")

#: A name, and what runs it: with the name, and where its output goes (None: where ours goes).
Leg = tuple[str, Callable[[str, "Out"], None]]
Out = IO[bytes] | None
#: So many legs run side by side: those of the lab wait for devices most of the time, the others use processors.
SIDE_BY_SIDE = 2
#: These use the lab, one at a time.
LAB = ("integration", "molecule")
_lab = threading.Lock()
_printing = threading.Lock()
_seconds: dict[str, float] = {}


def run(only: list[str], *, long: bool = False, since: str | None = None) -> int:
    """Run the legs whose names start with one of ``only`` (all when empty). Returns the exit code.

    ``long``: only what takes too long for every change, to its full length. ``since``: a commit; where nothing but
    documents has changed since, only the tests of documents run.
    """
    results.clear("test")
    # Collections that a user keeps in the default place must not shadow the checkout.
    with tempfile.TemporaryDirectory(prefix="fleet-ota-home-") as home:
        os.environ["ANSIBLE_HOME"] = home
        try:
            interpreter = venvs.make(ROOT / ".venv", pythons.current(), "requirements-test.txt")
            if since and changes.is_documents_alone(since):
                print(f"only documents have changed since {since}: their tests run, no others", flush=True)
                legs = list(_docs_legs(interpreter))
            else:
                legs = list(_long_legs(interpreter) if long else _legs(interpreter, every=bool(only)))
        except SystemExit as error:
            legs = []
            _fail("environment", str(error))
        chosen = [(name, leg) for name, leg in legs if not only or any(name.startswith(start) for start in only)]
        _run_side_by_side(chosen)
    total = results.count("test")
    print("\nseconds of each leg, and of its budget:", *_spent(), sep="\n", flush=True)
    if not only:
        print("\nthe longest, in seconds:", *results.longest("test", LONGEST), sep="\n", flush=True)
    print(f"\ntests: {total}", flush=True)
    return 1 if total.failed or not total.passed else 0


def _budget(name: str) -> int | None:
    """The budget of a leg; legs of one kind (``device-python3.8``) have the same one."""
    return BUDGETS.get(name, BUDGETS.get(name.partition("-")[0]))


def _spent() -> list[str]:
    """A line for each leg that ran: its seconds, its budget, and whether that was too small."""
    lines = []
    for name, seconds in _seconds.items():
        budget = _budget(name)
        over = f"  over by {seconds - budget:.0f}" if budget is not None and seconds > budget else ""
        lines.append(f"{seconds:7.0f} of {budget if budget is not None else '-':>5} {name}{over}")
    return lines


def _run_side_by_side(legs: list[Leg]) -> None:
    """Run ``legs``, the longest first, so that what is left at the end is short."""
    legs = sorted(legs, key=lambda leg: -(_budget(leg[0]) or 0))
    # One of the lab waits for the other, and nothing else is to wait with it.
    waiting = [leg for leg in legs if leg[0] in LAB][1:]
    legs = [leg for leg in legs if leg not in waiting] + waiting
    with concurrent.futures.ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool:
        for done in [pool.submit(_drive, name, leg, alone=len(legs) == 1) for name, leg in legs]:
            done.result()


def _drive(name: str, leg: Callable[[str, Out], None], *, alone: bool) -> None:
    """Run a leg; beside another one, it tells its story when it has ended."""
    with _lab if name in LAB else contextlib.nullcontext():
        log = results.path("test", name).with_suffix(".log")
        started = time.monotonic()
        with _printing:
            print(f"\n=== {name}" if alone else f"=== {name} begins", flush=True)
        with contextlib.nullcontext() if alone else log.open("wb") as out:
            try:
                leg(name, out)
            except SystemExit as error:  # its environment could not be made; the others may well go
                _fail(f"{name}-environment", str(error))
        _seconds[name] = time.monotonic() - started
        if not alone:
            with _printing:
                text = log.read_text(errors="replace")
                print(f"\n=== {name}\n{text}\n{name}: {_seconds[name]:.0f} s", flush=True)


def _legs(interpreter: Path, *, every: bool) -> Iterator[Leg]:
    """Every leg; the Pythons between the oldest and the newest only with ``every``, for whoever asks for them."""
    main = pythons.current()
    others = [python for python in pythons.find().values() if python.version != main.version]
    # With legs for the oldest and the newest Python, the device engine on the one between says nothing more.
    least = ["--ignore=tests/unit/device"] if not every and len(others) > 1 else []
    yield "unit", lambda name, out: _pytest(name, out, interpreter, ["tests/unit", *least], UNIT_TIMEOUT)
    yield "reliability", lambda name, out: _pytest(name, out, interpreter, ["tests/reliability"], LAB_TIMEOUT)
    yield "conformance", lambda name, out: _pytest(name, out, interpreter, ["tests/conformance"], UNIT_TIMEOUT)
    yield "mutation", lambda name, out: _program(name, out, [str(interpreter), "-m", "tests.mutation", "--quick"])
    for python in others if every else others[:1] + others[1:][-1:]:
        # the oldest shows what the engine may not use, the newest what is gone: whole transactions do not differ
        yield f"device-{python.name}", _device_leg(python, every or python is others[0])
    yield from _core_legs(main)
    yield "demo", lambda name, out: _demo(name, out, interpreter)
    yield "integration", lambda name, out: _pytest(name, out, interpreter, ["tests/integration"], LAB_TIMEOUT)
    yield "vm", lambda name, out: _pytest(name, out, interpreter, ["tests/vm"], VM_TIMEOUT)
    yield "molecule", lambda name, out: _molecule(name, out, interpreter)


def _docs_legs(interpreter: Path) -> Iterator[Leg]:
    """What a change of documents alone can break."""
    tests = [test for test in DOCS_TESTS if (ROOT / test).exists()]
    yield "docs", lambda name, out: _pytest(name, out, interpreter, tests, UNIT_TIMEOUT)


def _long_legs(interpreter: Path) -> Iterator[Leg]:
    """What `make test-long` adds: faults at every call, more power cuts, the whole kill matrix, whatever is marked.

    Found by looking, so that no folder is forgotten in which somebody marks the first test.
    """
    for folder in sorted(path for path in (ROOT / "tests").iterdir() if path.is_dir()):
        whole = folder.name in WHOLE
        if whole or any(MARK in file.read_text("utf-8") for file in folder.rglob("*.py")):
            arguments = [f"tests/{folder.name}", "--long", *([] if whole else ["-m", "long"])]
            leg = functools.partial(_pytest, interpreter=interpreter, arguments=arguments, timeout=LONG_TIMEOUT)
            yield folder.name, leg


def _device_leg(python: Python, every: bool) -> Callable[[str, Out], None]:
    def leg(name: str, out: Out) -> None:
        interpreter = venvs.make(venvs.VENVS / name, python, "requirements-device.txt")
        chosen = [] if every else ["-m", "not one_python and not long"]
        _pytest(name, out, interpreter, ["tests/unit/device", *chosen], UNIT_TIMEOUT)

    return leg


def _core_legs(main: Python) -> Iterator[Leg]:
    """The other supported ansible-core: `.venv` got the newest one that its Python can run."""
    if main.version < (3, 12):
        yield "core-newest", _core_leg((3, 12), [], "the newest ansible-core needs Python 3.12 or newer")
    if main.version > (3, 11):
        yield "core-2.19", _core_leg((3, 11), ["ansible-core~=2.19.0"], "ansible-core 2.19 needs Python 3.11 to 3.13")


def _core_leg(oldest: tuple[int, int], extra: list[str], needs: str) -> Callable[[str, Out], None]:
    def leg(name: str, out: Out) -> None:
        able = [python for version, python in pythons.find().items() if oldest <= version <= (3, 13)]
        if not able:
            _skip(name, f"{needs}, and none was found")
            return
        interpreter = venvs.make(venvs.VENVS / name, able[0], "requirements-test.txt", extra)
        # Neither engine knows anything of Ansible, which tests/unit/test_architecture.py sees to.
        engines = ["--ignore=tests/unit/device", "--ignore=tests/unit/control"]
        arguments = ["tests/unit", *engines, "-m", "not one_core and not long"]
        _pytest(name, out, interpreter, arguments, UNIT_TIMEOUT)

    return leg


def _pytest(name: str, out: Out, interpreter: Path, arguments: list[str], timeout: int) -> None:
    if not (ROOT / arguments[0]).exists():
        _skip(name, f"{arguments[0]} does not exist yet")
        return
    report = results.path("test", name)
    command = [str(interpreter), "-m", "pytest", *arguments, "-q", f"--timeout={timeout}", f"--junitxml={report}"]
    code = _call(command, out)
    if code and not results.read(report).failed:
        # It died before it could write its report, or found nothing to run.
        results.record("test", f"{name}-run", failure=f"pytest ended with code {code}")


def _molecule(name: str, out: Out, interpreter: Path) -> None:
    if not (ROOT / "molecule").is_dir():
        _skip(name, "molecule does not exist yet")
    elif os.geteuid() != 0:
        _skip(name, "its devices are made by root only")
    else:
        path = f"{interpreter.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        _program(name, out, [str(interpreter), "-m", "molecule", "test"], {**os.environ, "PATH": path})


def _demo(name: str, out: Out, interpreter: Path) -> None:
    """`make demo` as one test: it ends with 0 only if its story went as told."""
    with tempfile.TemporaryDirectory(prefix="fleet-ota-demo-") as folder:
        _program(name, out, [str(interpreter), "-m", "demo", "--folder", folder, "--leave-nothing"])


def _program(name: str, out: Out, command: list[str], environment: dict[str, str] | None = None) -> None:
    """Run a program that is one test as a whole."""
    started = time.monotonic()
    code = _call(command, out, environment)
    failure = f"{name} ended with code {code}" if code else None
    results.record("test", name, failure=failure, seconds=time.monotonic() - started)


def _call(command: list[str], out: Out, environment: dict[str, str] | None = None) -> int:
    errors = subprocess.STDOUT if out else None
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=False, stdin=subprocess.DEVNULL, stdout=out, stderr=errors
    )
    return done.returncode


def _fail(name: str, reason: str) -> None:
    print(f"failed: {reason}", flush=True)
    results.record("test", name, failure=reason)


def _skip(name: str, reason: str) -> None:
    print(f"skipped: {reason}", flush=True)
    results.record("test", name, skipped=reason)
