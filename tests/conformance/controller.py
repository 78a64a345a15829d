# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's TUF client, python-tuf as this project sets it up, as ``python tests/conformance/controller.py``.

Always with the pinned root as bootstrap: its cache alone is not trusted.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ansible_collections.fleet.ota.plugins.plugin_utils._control.transports.tuf import HttpFetcher
from tuf.ngclient import Updater

from tests.conformance import protocol

#: Seconds that one file may take in all.
DEADLINE = 30.0


def act(call: protocol.Call, deadline: float = DEADLINE) -> None:
    """Do what a call says; raises if it cannot be done."""
    pinned = call.metadata_dir / "pinned" / "root.json"
    if call.trusted_root is not None:
        pinned.parent.mkdir()
        pinned.write_bytes(call.trusted_root.read_bytes())
        return
    assert call.metadata_url is not None
    updater = Updater(
        str(call.metadata_dir),
        call.metadata_url,
        str(call.target_dir) if call.target_dir else None,
        call.target_base_url,
        HttpFetcher(call.metadata_url, deadline=deadline),
        bootstrap=pinned.read_bytes(),
    )
    updater.refresh()
    if call.command == "download":
        assert call.target_name is not None
        info = updater.get_targetinfo(call.target_name)
        if info is None:
            raise LookupError(f"no metadata lists {call.target_name}")
        if updater.find_cached_target(info) is None:
            updater.download_target(info)


if __name__ == "__main__":
    sys.exit(protocol.run(act))
