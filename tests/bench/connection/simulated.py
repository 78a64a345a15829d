# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A FAKE connection to a device that is not there: its answers follow docs/reference/engine.md.

For measuring what the controller itself costs with more devices than one machine can run. Everything else of a run is
real: Ansible, its workers, the plan, the journal. What a device did is kept in ``$FLEET_OTA_SIMULATED/NAME.json``.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import typing as t

from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: simulated
short_description: A fake device for benchmarks
description:
  - Answers the engine's requests without any device.
version_added: 0.0.0
author: fleet.ota contributors
options: {}
"""

Reply = dict[str, t.Any]


class Connection(ConnectionBase):
    """Answers as an engine would that finds everything in order."""

    transport = "simulated"
    has_pipelining = True

    def _connect(self) -> Connection:
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """The engine's reply to the request in ``in_data``; nothing for any other command."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        if not in_data:
            return 0, b"", b""
        request = json.loads(in_data.split(b"\n", 1)[0])
        return 0, json.dumps(self._answer(request)).encode() + b"\n", b""

    def put_file(self, in_path: str, out_path: str) -> None:
        """There is nowhere to put it."""

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """There is nothing to fetch."""

    def close(self) -> None:
        """Nothing is open."""

    def _answer(self, request: Reply) -> Reply:
        path = pathlib.Path(os.environ["FLEET_OTA_SIMULATED"]) / f"{self._play_context.remote_addr}.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        verb = request["verb"]
        if verb == "apply":
            text = request["bundle"]["documents"][request["bundle"]["target"]]
            release = {key: json.loads(text)[key] for key in ("name", "version", "counter")}
            release["digest"] = hashlib.sha256(text.encode()).hexdigest()
            known = {"transaction": f"of-{path.stem}", "rollout": request["rollout"], "state": "unconfirmed"}
            known.update(outcome=None, release=release)
        elif verb == "confirm":
            known.update(state="confirmed", outcome="updated")
        path.write_text(json.dumps(known))
        common = {"code": None, "message": None, "boot_id": "b", "instance": path.stem, "sequence": 1, "seconds": 1}
        if verb == "health":
            releases = {"gateway": {"current": known.get("release")}}
            return {"healthy": True, "checks": {}, "releases": releases, "transaction": known or None}
        return {"transaction": None, "state": "idle", "outcome": None, "before": None, **known, **common}
