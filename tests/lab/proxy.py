# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenSSH's way into a fleet's network: connect in there, hand the socket over, end (`ProxyUseFdpass`).

Run as ``python3 -I -S proxy.py NAMESPACE HOST PORT``. With it a plain ``ssh -F ssh_config dev3`` works from anywhere,
and no process stays between ssh and the device.
"""

from __future__ import annotations

import ctypes
import socket
import sys


def main() -> int:
    """Connect and pass the socket on standard output; returns the exit code."""
    namespace, host, port = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{namespace}", "rb") as handle:
        if libc.setns(handle.fileno(), 0x40000000):
            sys.stderr.write(f"cannot enter network namespace {namespace}\n")
            return 1
    try:
        connection = socket.create_connection((host, int(port)), timeout=10)
    except OSError as error:
        sys.stderr.write(f"connect to host {host} port {port}: {error}\n")
        return 1
    connection.setblocking(True)
    with socket.socket(fileno=1) as parent:
        socket.send_fds(parent, [b"\0"], [connection.fileno()])
        parent.detach()
    return 0


if __name__ == "__main__":
    sys.exit(main())
