# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one command costs: wall time, CPU of it and all its descendants, peak memory, remote commands."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.lab import processes


@dataclasses.dataclass(frozen=True)
class Cost:
    """Seconds, CPU seconds, bytes of the largest sum of memory (PSS), and remote commands."""

    wall: float
    cpu: float
    memory: int
    commands: int


def run(argv: Sequence[str], *, environment: Mapping[str, str], folder: Path, log: Path, calls: Path) -> Cost:
    """Run ``argv`` and measure it; raises RuntimeError when it fails.

    ``calls`` is a file to which the ssh wrapper of :func:`counting_ssh` adds a byte for each remote command.
    """
    calls.write_bytes(b"")
    others = set(processes.children(os.getpid()))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        with _memory(process.pid) as peak:
            code = process.wait()
    wall = time.monotonic() - started
    _end_orphans(others)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if code != 0:
        raise RuntimeError(f"{' '.join(argv)} ended with {code}:\n{log.read_text()[-3000:]}")
    cpu = (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)
    return Cost(wall, cpu, peak[0], len(calls.read_bytes()))


def counting_ssh(folder: Path, program: str) -> tuple[Path, Path]:
    """A wrapper around an ssh program that counts its calls; returns the wrapper and the file it counts in."""
    calls, wrapper = folder / "calls", folder / "ssh"
    wrapper.write_text(f'#!/bin/sh\nprintf . >>{calls}\nexec {program} "$@"\n')
    wrapper.chmod(0o755)
    return wrapper, calls


def _end_orphans(others: set[int]) -> None:
    """End and reap the connections left behind, so that their CPU time counts; ``others`` were there before."""
    for _attempt in range(200):
        children = [child for child in processes.children(os.getpid()) if child not in others]
        if not children:
            return
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, os.WNOHANG)
        time.sleep(0.02)


@contextlib.contextmanager
def _memory(pid: int) -> Iterator[list[int]]:
    """Sample the memory of a process and its descendants; the first entry of the list is the largest sum."""
    peak, done = [0], threading.Event()

    def sample() -> None:
        while not done.wait(0.3):
            peak[0] = max(peak[0], sum(_pss(child) for child in [pid, *_family(pid)]))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def _family(pid: int) -> list[int]:
    found = processes.children(pid)
    for child in found:
        found += processes.children(child)
    return found


def _pss(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) * 1024
    return 0
