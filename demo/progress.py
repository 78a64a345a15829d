# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running a playbook of the collection and telling, from the journal, what happens meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from demo.world import World


class Playbooks:
    """Runs playbooks in the demo's folder; their full output goes to ``ansible.log``."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.log = world.folder / "ansible.log"

    def run(self, name: str, **variables: object) -> int:
        """Run ``fleet.ota.NAME`` and print what its journal says while it goes. Returns the exit code."""
        program = Path(sys.executable).with_name("ansible-playbook")
        argv = [str(program), f"fleet.ota.{name}", "-e", json.dumps(variables)]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        told = Told(self.world.journals)
        with self.log.open("ab") as log:
            log.write(f"\n$ {' '.join(argv)}\n".encode())
            log.flush()
            with subprocess.Popen(
                argv, cwd=self.world.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            ) as process:
                while process.poll() is None:
                    told.news()
                    time.sleep(0.1)
        told.news()
        return process.returncode


class Told:
    """The journal records that were not told yet, as lines for people."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen = {path: path.stat().st_size for path in self._files()}

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*/journal.jsonl"))

    def news(self) -> None:
        """Print what is new."""
        for path in self._files():
            with path.open("rb") as handle:
                handle.seek(self.seen.get(path, 0))
                for line in handle:
                    if not line.endswith(b"\n"):
                        break
                    self.seen[path] = self.seen.get(path, 0) + len(line)
                    text = sentence(json.loads(line))
                    if text:
                        print(f"    {text}", flush=True)


def sentence(record: dict[str, object]) -> str:
    """One record in one line; an empty text for what nobody needs to read."""
    data = record["data"]
    assert isinstance(data, dict)
    if record["event"] == "wave.started":
        return f"wave {data['name']}: {data['decision']}"
    if record["event"] == "wave.ended":
        return f"gate after {data['name']}: {data['decision']} ({data['reason']})"
    if record["event"] == "device.outcome":
        cause = f" ({record['code']}: {record.get('message', '')})" if record.get("code") else ""
        return f"  {record['device']}: {record['outcome']}{cause}"
    return ""
