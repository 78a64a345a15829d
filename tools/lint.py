# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`make lint`: every linter, all of them even when one fails, and one line for each at the end."""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tools import ROOT, changes, pythons, results, sanity, tree, venvs

#: Takes longer than all others together and uses one processor: these run beside it.
LONGEST = "sanity"
#: A link to the checkout at a path that makes its Python importable by its full name; mypy's cache stays valid.
LINK_TREE = ROOT / ".cache" / "link"


def run(only: list[str], *, since: str | None = None) -> int:
    """Run the linters whose names start with one of ``only`` (all when empty). Returns the exit code.

    ``since``: a commit; where nothing but documents has changed since, only the linters of documents run.
    """
    if since and changes.is_documents_alone(since):
        only = [name for name in changes.DOCS_LINTERS if not only or name in only]
    results.clear("lint")
    try:
        programs = venvs.make(venvs.VENVS / "lint", pythons.current(), "requirements-lint.txt").parent
    except SystemExit as error:
        results.record("lint", "environment", failure=str(error))
        raise
    with tree.copied() as copy, concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        linters = _linters(programs, copy)
        chosen = [name for name in linters if not only or any(name.startswith(start) for start in only)]
        lanes = [[name for name in chosen if name == LONGEST], [name for name in chosen if name != LONGEST]]
        for done in [pool.submit(_drive, lane, linters) for lane in lanes]:
            done.result()
    total = results.count("lint")
    print(f"\nlinters: {total}", flush=True)
    return 1 if total.failed or not total.passed else 0


def _drive(lane: list[str], linters: dict[str, Callable[[], int]]) -> None:
    """Run these one after the other and keep what each brought."""
    for name in lane:
        started = time.monotonic()
        code = linters[name]()
        failure = f"ended with code {code}" if code else None
        results.record("lint", name, failure=failure, seconds=time.monotonic() - started)
        print(f"{name}: {failure or 'ok'} ({time.monotonic() - started:.0f} s)", flush=True)


def _linters(programs: Path, copy: Path) -> dict[str, Callable[[], int]]:
    def program(name: str, *arguments: str, cwd: Path = ROOT, **env: str) -> Callable[[], int]:
        def call() -> int:
            path = f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
            done = subprocess.run(
                [str(programs / name), *arguments],
                cwd=cwd,
                env={**os.environ, "PATH": path, **env},
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            print(f"\n=== {name}\n{done.stdout}", end="", flush=True)  # at once, not between what sanity says
            return done.returncode

        return call

    return {
        "ruff": program("ruff", "check", "."),
        "ruff-format": program("ruff", "format", "--check", "."),
        "mypy": _mypy(program),
        "yamllint": program("yamllint", "--strict", ".", cwd=copy),
        "changelog": program("antsibull-changelog", "lint", cwd=copy),
        "docs": program("antsibull-docs", "lint-collection-docs", "--plugin-docs", "--skip-rstcheck", ".", cwd=copy),
        "nox-config": program("antsibull-nox", "lint-config"),
        # In a home of its own it leaves no copy of the collection behind that would shadow the checkout.
        "ansible-lint": program(
            "ansible-lint",
            "--offline",
            "--strict",
            cwd=copy,
            ANSIBLE_HOME=str(copy.parents[2] / "home"),
            ANSIBLE_COLLECTIONS_PATH=str(copy.parents[2]),
        ),
        "sanity": lambda: sanity.run(copy, programs, []),
    }


def _mypy(program: Callable[..., Callable[[], int]]) -> Callable[[], int]:
    link = LINK_TREE / "ansible_collections" / "fleet" / "ota"
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink():
        link.unlink()
    link.symlink_to(ROOT, target_is_directory=True)
    packages = ["ansible_collections.fleet.ota.plugins", "tools", "tests"]
    arguments = [argument for package in packages for argument in ("-p", package)]
    return program("mypy", *arguments, MYPYPATH=f"{LINK_TREE}{os.pathsep}{ROOT}")
