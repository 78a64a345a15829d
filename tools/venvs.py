# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Virtual environments that are made once and refreshed when their requirements change."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools import ROOT
from tools.pythons import Python

#: Environments for tests and linters; the one for people is ROOT/.venv.
VENVS = ROOT / ".cache" / "venv"


def make(folder: Path, python: Python, requirements: str, extra: Sequence[str] = ()) -> Path:
    """Make or refresh the environment ``folder`` and return its interpreter.

    ``requirements`` is the name of a requirements file of the checkout, ``extra`` are further requirements as text.
    In every environment the checkout is importable as `ansible_collections.fleet.ota`, wherever it lies: ansible-core
    looks for collections on Python's path too.

    Raises SystemExit when pip fails; what pip said went to standard error.
    """
    # One stamp per file: an environment can carry the base for the demo and the tests' packages on top.
    stamp = folder / f"fleet-ota-{Path(requirements).stem}"
    interpreter = folder / "bin" / "python"
    wanted = _fingerprint(python, requirements, extra)
    if not _made_from(python, folder):
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python.path, "-m", "venv", folder], check=True)
        (folder / "fleet-ota-python").write_text(str(python.path))
    elif stamp.is_file() and stamp.read_text() == wanted:
        stamp.touch()  # make compares times
        return interpreter
    print(f"installing {' '.join([requirements, *extra])} into {_short(folder)} ...", file=sys.stderr, flush=True)
    pip: list[str] = [str(interpreter), "-m", "pip", "--disable-pip-version-check", "install", "-qq", "--upgrade"]
    if subprocess.run([*pip, "-r", str(ROOT / requirements), *extra], check=False, stdin=subprocess.DEVNULL).returncode:
        raise SystemExit(f"pip could not install {requirements} into {folder}; its own message stands above")
    _link_collection(interpreter)
    stamp.write_text(wanted)
    return interpreter


def _made_from(python: Python, folder: Path) -> bool:
    mark = folder / "fleet-ota-python"
    interpreter = folder / "bin" / "python"
    try:
        alive = subprocess.run([interpreter, "-c", ""], capture_output=True, timeout=30, check=False).returncode == 0
        if alive and mark.read_text() == str(python.path):
            return True
    except (OSError, subprocess.SubprocessError):
        pass
    return False


def _fingerprint(python: Python, requirements: str, extra: Sequence[str]) -> str:
    # Requirements files refer to one another: all of them count. The checkout may have been moved.
    digest = hashlib.sha256(repr([str(python.path), requirements, list(extra), str(ROOT)]).encode())
    for path in sorted(ROOT.glob("requirements*.txt")):
        digest.update(path.read_bytes())
    return digest.hexdigest() + "\n"


def _link_collection(interpreter: Path) -> None:
    command = [str(interpreter), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    link = packages / "ansible_collections" / "fleet" / "ota"
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink():
        link.unlink()
    link.symlink_to(ROOT, target_is_directory=True)


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
