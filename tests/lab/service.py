# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The small HTTP service that test packages and archives install: Python's http.server behind a configuration file.

``GET /health`` answers ``{"status": "ok", "version": VERSION, ...}``. It reads `KEY=VALUE` lines: `PORT`, and
`GREETING`, which it repeats, so that a test sees which configuration is in use.
"""

from __future__ import annotations

PORT = 8480

ANSWERS = '''\
#!/usr/bin/python3
"""A service of the lab, version {version}."""

import http.server
import json
import sys

{imports}
with open(sys.argv[1]) as stream:
    SETTINGS = dict(line.strip().split("=", 1) for line in stream if "=" in line and not line.startswith("#"))


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers /health."""

    def do_GET(self):
        answer = {{"status": "ok", "version": "{version}", "greeting": SETTINGS.get("GREETING", ""){codec}}}
        body = json.dumps(answer).encode()
        self.send_response(200 if self.path == "/health" else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *arguments):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(SETTINGS["PORT"])), Handler).serve_forever()
'''

# Runs, so that systemd is content with it, but nobody answers: what only a health check finds out.
SILENT = '''\
#!/usr/bin/python3
"""A service of the lab, version {version}: it runs and says nothing."""

import signal

while True:
    signal.pause()
'''

UNIT = """\
[Unit]
Description=A service of the lab
After=network.target

[Service]
ExecStart={program} {settings}
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""


def program(version: str, *, silent: bool = False, codec: bool = False) -> str:
    """The service's source text.

    :param version: what /health says
    :param silent: run without answering
    :param codec: use the module of the package `meter-codec`, so that the dependency is a real one
    """
    if silent:
        return SILENT.format(version=version)
    imports = "import meter_codec\n" if codec else ""
    return ANSWERS.format(version=version, imports=imports, codec=', "codec": meter_codec.NAME' if codec else "")


def settings(version: str, port: int = PORT) -> str:
    """The configuration file as version `version` ships it; versions ship different comments."""
    return f"# Settings of the lab's service, as shipped with version {version}.\nPORT={port}\nGREETING=hello\n"


def unit(program_path: str, settings_path: str) -> str:
    """The systemd unit's text."""
    return UNIT.format(program=program_path, settings=settings_path)
