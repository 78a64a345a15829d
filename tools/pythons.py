# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find the Python interpreters of this machine.

A name on PATH proves little: a version manager's stand-in may refuse to run, a distribution may lack `venv`. So every
candidate is started and asked.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

#: Minor versions of Python 3 that are looked for: the device engine's oldest to the newest known.
MINORS = range(8, 16)

_QUESTION = """
import json, sys
try:
    import ensurepip, venv
    able = True
except ImportError:
    able = False
print(json.dumps({"version": list(sys.version_info[:2]), "final": sys.version_info[3] == "final",
                  "path": getattr(sys, "_base_executable", sys.executable), "venv": able}))
"""


@dataclasses.dataclass(frozen=True)
class Python:
    """One interpreter: ``version`` is (major, minor), ``path`` the real executable."""

    version: tuple[int, int]
    path: Path

    @property
    def name(self) -> str:
        """For example ``python3.8``."""
        return "python{}.{}".format(*self.version)


def _candidates(minor: int) -> Iterator[Path]:
    name = f"python3.{minor}"
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = Path(folder or ".") / name
        if path.is_file() and os.access(path, os.X_OK):
            yield path
    # Versions that a version manager has built but does not offer on PATH at the moment.
    managed = Path(os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))) / "versions"
    for version in sorted(managed.glob(f"3.{minor}.*"), key=lambda p: _natural(p.name), reverse=True):
        yield version / "bin" / name


def _natural(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def _ask(path: Path) -> Python | None:
    try:
        answer = subprocess.run([path, "-I", "-c", _QUESTION], capture_output=True, text=True, timeout=30, check=True)
        facts = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if not (facts["venv"] and facts["final"]):
        return None
    major, minor = facts["version"]
    return Python((major, minor), Path(facts["path"]))


@functools.lru_cache(maxsize=1)
def find() -> dict[tuple[int, int], Python]:
    """All usable interpreters (released, able to make a virtual environment), one per minor version, oldest first."""
    found: dict[tuple[int, int], Python] = {}
    for minor in MINORS:
        for path in _candidates(minor):
            python = _ask(path)
            if python is not None and python.version == (3, minor):
                found[python.version] = python
                break
    return found


def current() -> Python:
    """The interpreter that runs this; inside a virtual environment, the one that it was made from.

    Raises SystemExit with the next step when it cannot make virtual environments.
    """
    python = _ask(Path(sys.executable))
    if python is None:
        raise SystemExit(f"{sys.executable} cannot make virtual environments; install its venv package (python3-venv)")
    return python
