# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Check ``tcp``: a port accepts connections."""

from __future__ import annotations

import socket
import time

from ...base import schema
from . import Check, Context, Measured, Unhealthy, _latency

REQUIRED = ("port",)
WAIT = 5.0
RULES: dict[str, schema.Rule] = {
    "host": schema.text,
    "port": lambda value: None if str(value).isdigit() or str(value).startswith("${") else "must be a port number",
    "wait": schema.number(0.1),
    **_latency.RULES,
}


def look(check: Check, context: Context) -> Measured:
    """Connect once; ``host`` is the device itself by default."""
    host, port = check.get("host", "127.0.0.1"), int(check["port"])
    started = time.monotonic()
    try:
        socket.create_connection((host, port), timeout=float(check.get("wait", WAIT))).close()
    except OSError as error:
        raise Unhealthy("%s port %d does not accept: %s" % (host, port, error)) from None
    seconds = time.monotonic() - started
    _latency.judge(check, seconds, context)
    return {"seconds": round(seconds, 4)}
