# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service that the demo's releases bring: one small HTTP server per device.

Part of each release, run by the device's engine: ``start`` after the release was switched to, ``stop`` before. It
reads its port from the device's identity and its version from the release's own directory. Standard library only.
"""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent


def start() -> None:
    """Start the server of this release in the background."""
    labels = json.loads(Path(os.environ["FLEET_OTA_IDENTITY"]).read_text())["labels"]
    root = Path(os.environ["FLEET_OTA_ROOT"])
    (root / "run").mkdir(exist_ok=True)
    log = (root / "run" / "service.log").open("ab")
    argv = [sys.executable, __file__, "serve", labels["port"]]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=root)
    (root / "run" / "service.pid").write_text(str(process.pid))


def stop() -> None:
    """Stop the server of this device, whichever release it is from, and wait until it is gone."""
    stop_device(Path(os.environ["FLEET_OTA_ROOT"]))


def stop_device(root: Path) -> None:
    """Stop the server of the device in ``root``; only a process that really is it."""
    path = root / "run" / "service.pid"
    if not path.exists():
        return
    pid = int(path.read_text())
    try:
        for _attempt in range(100):
            if str(root).encode() not in Path(f"/proc/{pid}/cmdline").read_bytes():
                break
            os.kill(pid, signal.SIGTERM)
            time.sleep(0.05)
    except (ProcessLookupError, FileNotFoundError):
        pass
    path.unlink(missing_ok=True)


class Handler(http.server.BaseHTTPRequestHandler):
    """``/health`` answers the version, or an error in the release that is broken on purpose."""

    def do_GET(self) -> None:
        """Answer."""
        about = json.loads((HERE / "release.json").read_text())
        body = json.dumps({"version": about["version"], "status": about["status"]}).encode()
        self.send_response(200 if about["status"] == "ok" else 500)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve(port: int) -> None:
    """Answer until stopped; the switch from one release to the next may hold the port for a moment."""
    http.server.ThreadingHTTPServer.allow_reuse_address = True
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        {"start": start, "stop": stop}[sys.argv[1]]()
