# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the verifier's fast tests against every mutant of it; every one must be noticed, or be explained.

The tests are collected once. A child process is forked for a first run, which tells what each test reaches, and then
one for each mutant, in which the code of one function is exchanged and the tests that reach it run until one fails.
`equivalent.txt` lists the mutants that cannot matter, with the reason; without `--all` they are not tried.
"""

from __future__ import annotations

import argparse
import gc
import os
import pickle
import shutil
import signal
import sys
import tempfile
import time
import types
import typing as t
import zlib
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

from . import mutants
from .mutants import Mutant

ROOT = Path(__file__).resolve().parents[2]
DEVICE = ROOT / "plugins" / "module_utils" / "_device"
MODULES = sorted((DEVICE / "trust").glob("*.py"))
TESTS = [
    "tests/conformance",
    "tests/unit/device/trust/test_bundle.py",
    "tests/unit/device/trust/test_store.py",
    "tests/unit/device/trust/test_crypto.py",
]
EQUIVALENT = Path(__file__).with_name("equivalent.txt")
#: Seconds after which a mutant counts as noticed: it does not come to an end.
PATIENCE = 60
#: A quick run tries one of so many.
SAMPLE = 3
#: Lines that a test reaches, by file, and the seconds it took.
Reach = dict[str, tuple[set[tuple[str, int]], float]]


def main() -> int:
    """Returns the exit code: 1 if a mutant lives that is not explained, or an explained one is gone."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--all", action="store_true", help="try the explained ones too, and say which are noticed")
    help_quick = f"only those that leave something out as a whole, one of {SAMPLE}, always the same"
    parser.add_argument("--quick", action="store_true", help=help_quick)
    parser.add_argument("only", nargs="*", help="try those whose names hold one of these texts")
    arguments = parser.parse_args()
    runner = Runner(arguments.all, arguments.quick, arguments.only)
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:warnings",
        "-k",
        "not controller and not slow_drip",
        "--import-mode=importlib",
    ]
    code = pytest.main([*options, *TESTS, "--ignore=tests/conformance/test_programs.py"], [runner])
    return 1 if code else runner.report()


class Runner:
    """A pytest plugin that runs the collected tests in its own way."""

    def __init__(self, everything: bool, quick: bool, only: list[str]) -> None:
        self.everything, self.quick, self.only = everything, quick, only
        self.alive: list[str] = []
        self.noticed = 0
        self.explained = _explained()
        self.stale: list[str] = []
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = tempfile.mkdtemp(prefix="fleet-ota-mutation-", dir=base)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of pytest's own loop."""
        try:
            self._all(session.items)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
        return True

    def _all(self, items: list[pytest.Item]) -> None:
        gc.collect()
        gc.freeze()  # what is forked stays shared
        reach = self._first(items)
        made = [one for path in MODULES for one in mutants.of(path, str(path.relative_to(DEVICE)))]
        names = {one.name for one in made}
        self.stale = sorted(set(self.explained) - names)
        wanted = [one for one in made if self.everything or one.name not in self.explained]
        if self.quick:
            wanted = [one for one in wanted if one.quick and zlib.crc32(one.name.encode()) % SAMPLE == 0]
        wanted = [one for one in wanted if not self.only or any(text in one.name for text in self.only)]
        print(f"{len(made)} mutants, {len(self.explained)} explained, {len(wanted)} tried", flush=True)
        running: dict[int, tuple[Mutant, float]] = {}
        started = time.monotonic()
        while wanted or running:
            while wanted and len(running) < (os.cpu_count() or 1):
                mutant = wanted.pop(0)
                running[self._start(mutant, items, reach)] = (mutant, time.monotonic())
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid:
                self._ended(running.pop(pid)[0], status)
                continue
            for pid, (_mutant, begun) in running.items():
                if time.monotonic() - begun > PATIENCE:
                    os.killpg(pid, signal.SIGKILL)
            time.sleep(0.005)
        print(f"{time.monotonic() - started:.0f} s", flush=True)

    def _first(self, items: list[pytest.Item]) -> Reach:
        """Run everything once as it is, in a child; what each test reaches."""
        result = Path(self.folder, "reach")
        pid = os.fork()
        if not pid:
            _child(self.folder)
            files: dict[str, str | None] = {str(path): str(path) for path in MODULES}
            found: Reach = {}
            for number, item in enumerate(items):
                lines: set[tuple[str, int]] = set()
                begun = time.monotonic()
                sys.settrace(_tracer(files, lines))
                good = _run(items, number)
                sys.settrace(None)
                if not good:
                    os.write(2, f"{item.nodeid} fails as it is\n".encode())
                    os._exit(1)
                found[item.nodeid] = (lines, time.monotonic() - begun)
            result.write_bytes(pickle.dumps(found))
            os._exit(0)
        _pid, status = os.waitpid(pid, 0)
        if status:
            raise SystemExit("the tests must pass before they can be tried; see above")
        return t.cast(Reach, pickle.loads(result.read_bytes()))

    def _start(self, mutant: Mutant, items: list[pytest.Item], reach: Reach) -> int:
        path = str(mutant.path)

        def rank(number: int) -> tuple[bool, float]:
            lines, seconds = reach[items[number].nodeid]
            return not any((path, line) in lines for line in mutant.sharp), seconds

        chosen = [
            number
            for number, item in enumerate(items)
            if any((path, line) in reach[item.nodeid][0] for line in mutant.lines)
        ]
        chosen.sort(key=rank)
        pid = os.fork()
        if pid:
            return pid
        os.setpgid(0, 0)
        _child(tempfile.mkdtemp(dir=self.folder))
        if not _exchange(mutant):
            os._exit(3)
        order = [items[number] for number in chosen]
        for number in range(len(order)):
            if not _run(order, number):
                os._exit(1)
        os._exit(0)

    def _ended(self, mutant: Mutant, status: int) -> None:
        if status and os.waitstatus_to_exitcode(status) != 3:
            self.noticed += 1
            if mutant.name in self.explained:
                self.stale.append(f"{mutant.name} (a test notices it)")
            return
        if mutant.name not in self.explained:
            self.alive.append(mutant.name)
            print(f"ALIVE {mutant.name}", flush=True)

    def report(self) -> int:
        """Say what came out; the exit code."""
        for name in self.stale:
            print(f"explained in {EQUIVALENT.name}, but gone: {name}")
        alive, stale = len(self.alive), len(self.stale)
        print(f"{self.noticed} noticed, {alive} alive and not explained, {stale} explained for nothing")
        return 1 if self.alive or self.stale or not self.noticed else 0


def _explained() -> dict[str, str]:
    """Reasons by the names of mutants; a reason stands above the names it is for."""
    found, reason = {}, ""
    for line in EQUIVALENT.read_text(encoding="utf-8").splitlines() if EQUIVALENT.exists() else []:
        if line.startswith("#"):
            reason = line.lstrip("# ")
        elif line.strip():
            found[line.strip()] = reason
    return found


def _child(folder: str) -> None:
    """A child says nothing, and has temporary folders of its own; it is in one too, for mutants write anywhere."""
    os.chdir(folder)
    os.environ["PYTEST_DEBUG_TEMPROOT"] = os.environ["TMPDIR"] = tempfile.tempdir = folder
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)


def _run(items: list[pytest.Item], number: int) -> bool:
    following = items[number + 1] if number + 1 < len(items) else None
    reports = runtestprotocol(items[number], nextitem=following, log=False)
    return not any(report.failed for report in reports)


def _tracer(files: dict[str, str | None], lines: set[tuple[str, int]]) -> t.Any:
    """Notes the lines that run in ``files``; other files are noted there as None once they were looked at."""

    def start(frame: types.FrameType, event: str, argument: object) -> t.Any:
        name = frame.f_code.co_filename
        if name not in files:
            real = os.path.realpath(name)
            files[name] = files.get(real)
        path = files[name]
        if path is None:
            return None

        def local(frame: types.FrameType, event: str, argument: object) -> t.Any:
            lines.add((path, frame.f_lineno))
            return local

        return local(frame, event, argument)

    return start


def _exchange(mutant: Mutant) -> bool:
    """Give the function of every copy of the module the changed code; modules may be imported by two names."""
    done = False
    for module in list(sys.modules.values()):
        if os.path.realpath(getattr(module, "__file__", None) or "") != str(mutant.path):
            continue
        found: t.Any = module
        for name in mutant.function.split("."):
            found = vars(found)[name]
        found = getattr(found, "fget", None) or getattr(found, "__func__", found)
        found.__code__ = mutant.code
        done = True
    return done


if __name__ == "__main__":
    sys.exit(main())
