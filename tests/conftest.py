# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make the checkout importable as `ansible_collections.fleet.ota`, whatever its folder is called.

Also for `ansible-playbook` and other programs that tests start: they find `fleet.ota.*` through the environment. Runs
on Python 3.8 and without Ansible, because the device engine's tests do.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def _arrange() -> None:
    top = Path(tempfile.mkdtemp(prefix="fleet-ota-collections-"))
    # Not by a fixture: modules under test are imported while tests are collected.
    atexit.register(shutil.rmtree, str(top), ignore_errors=True)
    link = top / "ansible_collections" / "fleet" / "ota"
    link.parent.mkdir(parents=True)
    link.symlink_to(ROOT, target_is_directory=True)
    sys.path.insert(0, str(top))
    os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(top)
    # Collections and settings that a user keeps in the default places must not shadow the checkout.
    os.environ["ANSIBLE_HOME"] = str(top / "home")
    os.environ.pop("ANSIBLE_CONFIG", None)


_arrange()


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--long``: everything that takes too long for every change as well (``make test-long``)."""
    parser.addoption("--long", action="store_true", help="run the long tests too, and the others to their full length")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without ``--long`` leave out what is marked ``long``."""
    if config.getoption("--long"):
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
