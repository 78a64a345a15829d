# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The device's own verifier as a TUF client over HTTP; runs as ``python3 -I -S -B tests/conformance/device.py``.

Only the source is made for this: a device itself never fetches metadata, it gets a bundle. All checks are the device
engine's.
"""

from __future__ import annotations

import http.client
import os
import socket
import sys
import threading
import time
import typing as t
import urllib.parse
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from plugins.module_utils._device.base.errors import OtaError
from plugins.module_utils._device.system import durable
from plugins.module_utils._device.trust import metadata
from plugins.module_utils._device.trust.store import Store
from plugins.module_utils._device.trust.workflow import Source, Workflow
from tests.conformance import protocol

#: Seconds that one file may take in all, and that a server may be silent.
DEADLINE = 30.0
SILENCE = 10.0


class HttpSource(Source):
    """Metadata below an http(s) URL."""

    def __init__(self, url: str, deadline: float) -> None:
        self.url, self.deadline = url.rstrip("/") + "/", deadline

    def metadata(self, role: str, version: int | None, limit: int) -> bytes | None:
        """``[VERSION.]ROLE.json``."""
        prefix = "" if version is None else "%d." % version
        return get(self.url + prefix + urllib.parse.quote(role, safe="") + ".json", limit, self.deadline)


def get(url: str, limit: int, deadline: float) -> bytes | None:
    """At most ``limit`` + 1 bytes of what lies at ``url``; None if the server says that there is nothing.

    No redirect is followed. The whole answer has to be here in ``deadline`` seconds, however slowly it drips. Raises
    OtaError ``FETCH``.
    """
    parts = urllib.parse.urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=min(SILENCE, deadline))
    end = time.monotonic() + deadline
    try:
        connection.connect()
        # A time-out of the socket is only for its silence; this one cuts off slow headers and bodies alike.
        timer = threading.Timer(deadline, _shut, [connection.sock])
        timer.daemon = True
        timer.start()
        try:
            connection.request("GET", parts.path)
            answer = connection.getresponse()
            if answer.status in (403, 404):
                return None
            if answer.status != 200:
                raise OtaError("FETCH", "%s answers %d" % (url, answer.status))
            content = answer.read(limit + 1)
        finally:
            timer.cancel()
        if time.monotonic() >= end:
            raise OtaError("FETCH", "%s is too slow" % url)
        if len(content) <= limit and answer.length:
            raise OtaError("FETCH", "%s ends early" % url)
        return content
    except (OSError, http.client.HTTPException) as error:
        raise OtaError("FETCH", "%s: %s" % (url, error)) from None
    finally:
        connection.close()


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def act(call: protocol.Call, now: float | None = None, deadline: float = DEADLINE) -> None:
    """Do what a call says; raises if it cannot be done."""
    folder = str(call.metadata_dir)
    # Not called .json: every such file in the folder is metadata.
    store = Store(folder, os.path.join(folder, "floor"))
    if call.trusted_root is not None:
        durable.write(store.path("root"), call.trusted_root.read_bytes())
        return
    assert call.metadata_url is not None
    workflow = Workflow(store, HttpSource(call.metadata_url, deadline), store.time(now), reuse=True)
    workflow.refresh()
    if call.command == "download":
        assert call.target_name is not None and call.target_base_url is not None and call.target_dir is not None
        _download(workflow, call.target_name, call.target_base_url, call.target_dir, deadline)


def _download(workflow: Workflow, name: str, base_url: str, folder: Path, deadline: float) -> None:
    found = workflow.find(name)
    if found is None:
        raise OtaError("METADATA", "no metadata lists %s" % name)
    entry = found.entry
    # One more letter, for names like "..".
    path = folder / ("=" + urllib.parse.quote(name, safe=""))
    if path.is_file():
        try:
            metadata.require_described(name, path.read_bytes(), entry)
            return
        except OtaError:
            pass  # another content than the repository has now
    parent, slash, last = name.rpartition("/")
    if workflow.root.consistent:
        last = next(iter(entry.hashes.values())) + "." + last
    url = base_url.rstrip("/") + "/" + urllib.parse.quote(parent + slash + last)
    content = get(url, t.cast(int, entry.length), deadline)
    if content is None:
        raise OtaError("FETCH", "%s is not there" % url)
    metadata.require_described(name, content, entry)
    durable.write(str(path), content)


if __name__ == "__main__":
    sys.exit(protocol.run(act))
