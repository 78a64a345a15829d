# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine that is tried: this checkout's, or that of another one."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from ansible_collections.fleet.ota.plugins.plugin_utils._targets.engine import zipapp

#: Names a checkout of any commit, for example of one that has a fault that is to be found.
CHECKOUT = "FLEET_OTA_ENGINE_OF"
#: Where a checkout makes its zipapp, the newest first.
_MAKERS = ("plugins/plugin_utils/_targets/engine/zipapp.py", "plugins/plugin_utils/_link/engine.py")
_WRITE = "import runpy, sys; sys.stdout.buffer.write(runpy.run_path(sys.argv[1])['program']().content)"


def is_another() -> bool:
    """Whether another checkout's engine is tried."""
    return CHECKOUT in os.environ


def chosen() -> zipapp.Program:
    """The program.

    :raises AssertionError: when the other checkout makes none
    """
    if not is_another():
        return zipapp.program()
    makers = [Path(os.environ[CHECKOUT]).resolve() / path for path in _MAKERS]
    maker = next((path for path in makers if path.exists()), None)
    assert maker, f"{os.environ[CHECKOUT]} has none of {', '.join(_MAKERS)}"
    content = subprocess.run([sys.executable, "-c", _WRITE, str(maker)], check=True, capture_output=True).stdout
    return zipapp.Program(content, hashlib.sha256(content).hexdigest())
