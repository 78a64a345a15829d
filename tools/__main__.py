# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command behind `make`: `python -m tools venv | test | lint | summary`."""

from __future__ import annotations

import argparse
import sys

from tools import ROOT, lint, pythons, results, testing, venvs

OLDEST = (3, 11)


def main() -> int:
    """Parse the command line and run one command. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    venv = commands.add_parser("venv", help="make or refresh .venv")
    venv.add_argument("requirements", help="name of a requirements file, for example requirements.txt")
    venv.add_argument("--folder", default=".venv", help="where, below the checkout (.venv)")
    test = commands.add_parser("test", help="run the tests")
    test.add_argument("only", nargs="*", help="beginnings of names, for example unit or device")
    test.add_argument("--since", help="a commit: where only documents changed since, only their tests run")
    test.add_argument("--long", action="store_true", help="only what has a long mode, to its full length")
    linters = commands.add_parser("lint", help="run the linters")
    linters.add_argument("only", nargs="*", help="beginnings of names, for example ruff or sanity")
    linters.add_argument("--since", help="a commit: where only documents changed since, only their linters run")
    commands.add_parser("summary", help="print what failed in the last test and lint runs, and a count")
    arguments = parser.parse_args()
    if arguments.command == "venv":
        venvs.make(ROOT / arguments.folder, pythons.current(), arguments.requirements)
        return 0
    if arguments.command == "test":
        return testing.run(arguments.only, long=arguments.long, since=arguments.since)
    if arguments.command == "lint":
        return lint.run(arguments.only, since=arguments.since)
    print(*results.failures(), results.count(), sep="\n")
    return 0


if __name__ == "__main__":
    if sys.version_info < OLDEST:
        raise SystemExit("Python {}.{} or newer is needed, this is {}".format(*OLDEST, sys.version.split()[0]))
    raise SystemExit(main())
