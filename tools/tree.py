# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A copy of the checkout at `ansible_collections/fleet/ota`, which several tools insist on.

`ansible-test` refuses any other place and sees through symbolic links, so it has to be a copy; it lies outside the
checkout, because a tool that finds a git repository above would ask that one which files count.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools import ROOT


@contextlib.contextmanager
def copied() -> Iterator[Path]:
    """Copy what git knows or would add, and remove the copy afterwards. Yields the collection's folder."""
    with tempfile.TemporaryDirectory(prefix="fleet-ota-tree-") as top:
        target = Path(top).resolve() / "ansible_collections" / "fleet" / "ota"
        for name in _files():
            source = ROOT / name
            if source.is_symlink() or source.is_file():  # a file may be deleted but not yet committed so
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target / name, follow_symlinks=False)
        yield target


def _files() -> list[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name]
