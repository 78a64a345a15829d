# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line that the public conformance suite expects of a client."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import traceback
import typing as t
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a client; what a command does not need is None."""

    command: str
    metadata_dir: Path
    trusted_root: Path | None
    metadata_url: str | None
    target_name: str | None
    target_base_url: str | None
    target_dir: Path | None


def parse(argv: t.Sequence[str] | None) -> Call:
    """The call that the command line describes; exits with 2 if it is none."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--metadata-dir", type=Path, required=True)
    parser.add_argument("--metadata-url")
    parser.add_argument("--target-name")
    parser.add_argument("--target-base-url")
    parser.add_argument("--target-dir", type=Path)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init").add_argument("trusted_root", type=Path)
    commands.add_parser("refresh")
    commands.add_parser("download")
    found = parser.parse_args(argv)
    return Call(
        found.command,
        found.metadata_dir,
        getattr(found, "trusted_root", None),
        found.metadata_url,
        found.target_name,
        found.target_base_url,
        found.target_dir,
    )


def run(act: t.Callable[[Call], None], argv: t.Sequence[str] | None = None) -> int:
    """Exit code 0 if ``act`` returned, 1 with what it raised on standard error."""
    call = parse(argv)
    try:
        act(call)
    except Exception:
        traceback.print_exc(file=sys.stderr)
        return 1
    return 0
