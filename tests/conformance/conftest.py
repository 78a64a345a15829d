# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Both clients, called in this process, and a web server for simulated repositories."""

from __future__ import annotations

import datetime
import http.server
import threading
import typing as t
from pathlib import Path

import pytest
from tuf.ngclient._internal import trusted_metadata_set

from plugins.module_utils._device.base.errors import OtaError

from . import controller, device, protocol
from .simulator import Simulator


class Server(http.server.ThreadingHTTPServer):
    """Serves simulators below ``/NUMBER/``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.mounted: list[Simulator] = []

    def mount(self, simulator: Simulator) -> str:
        """Serve ``simulator``; its URL, ending with a slash."""
        self.mounted.append(simulator)
        return f"http://127.0.0.1:{self.server_address[1]}/{len(self.mounted) - 1}/"


class Handler(http.server.BaseHTTPRequestHandler):
    """One request."""

    server: Server

    def do_GET(self) -> None:
        """Answer from the simulator; the path stays as quoted as it came, up to the file's directory."""
        number, _slash, path = self.path.lstrip("/").partition("/")
        answer = self.server.mounted[int(number)].answer(_unquoted(path))
        if isinstance(answer, int):
            self.send_error(answer)
            return
        self.send_response(200)
        if isinstance(answer, bytes):
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        try:
            for piece in [answer] if isinstance(answer, bytes) else answer():
                self.wfile.write(piece)
                self.wfile.flush()
        except OSError:
            pass  # the client has had enough

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def _unquoted(path: str) -> str:
    """Targets by their path; metadata by the file name that clients make of a role, which is quoted once more."""
    from urllib.parse import unquote

    return path if path.startswith("metadata/") else unquote(path)


@pytest.fixture(scope="session")
def server() -> t.Iterator[Server]:
    """The web server of this session."""
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        yield found
        found.shutdown()
        thread.join()


class Client:
    """One client with its folders; commands return the exit code that the program would."""

    def __init__(self, kind: str, folder: Path, server: Server, patch: pytest.MonkeyPatch) -> None:
        self.kind, self.folder, self.server, self.patch = kind, folder, server, patch
        self.metadata, self.artifacts = folder / "metadata", folder / "targets"
        self.metadata.mkdir()
        self.artifacts.mkdir()
        self.now: float | None = None
        self.deadline = 20.0
        self.url = ""

    def init(self, repository: Simulator, root: bytes | None = None) -> int:
        """Pin the repository's first root, or ``root``."""
        self.url = self.server.mount(repository)
        pinned = self.folder / "initial.json"
        first = repository.files["metadata/1.root.json"] if root is None else root
        assert isinstance(first, bytes)
        pinned.write_bytes(first)
        return self._run("init", str(pinned))

    def refresh(self) -> int:
        """Update the top-level metadata."""
        return self._run("--metadata-url", self.url + "metadata", "refresh")

    def download(self, name: str) -> int:
        """Download an artifact."""
        where = ["--metadata-url", self.url + "metadata/", "--target-base-url", self.url + "targets/"]
        return self._run(*where, "--target-name", name, "--target-dir", str(self.artifacts), "download")

    def travel(self, days: float) -> None:
        """Let the client believe that it is that many days later (or earlier)."""
        moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
        self.now = moment.timestamp()

        class Clock(datetime.datetime):
            @classmethod
            def now(cls, tz: datetime.tzinfo | None = None) -> t.Any:
                return moment

        class Module:
            datetime, timezone = Clock, datetime.timezone

        self.patch.setattr(trusted_metadata_set, "datetime", Module)

    def _run(self, *arguments: str) -> int:
        argv = ["--metadata-dir", str(self.metadata), *arguments]
        if self.kind == "controller":
            return protocol.run(lambda call: controller.act(call, self.deadline), argv)
        try:
            device.act(protocol.parse(argv), self.now, self.deadline)
        except OtaError:
            return 1  # anything else is a mistake of ours, and fails the test
        return 0

    # -- what a test looks at ------------------------------------------------------------------------------------

    def content(self, role: str) -> dict[str, t.Any] | None:
        """The ``signed`` part of the metadata that is trusted for a role."""
        import json

        path = self.metadata / f"{role}.json"
        return t.cast("dict[str, t.Any]", json.loads(path.read_bytes())["signed"]) if path.exists() else None

    def version(self, role: str) -> int | None:
        """The trusted version of a role, or None."""
        found = self.content(role)
        return found["version"] if found else None

    def versions(self) -> tuple[int | None, ...]:
        """Of root, timestamp, snapshot and targets."""
        return tuple(self.version(role) for role in ("root", "timestamp", "snapshot", "targets"))

    def trusted(self) -> list[str]:
        """File names in the metadata folder."""
        return sorted(path.name for path in self.metadata.iterdir() if path.suffix == ".json")

    def got(self) -> list[bytes]:
        """Contents of all downloaded artifacts."""
        return sorted(path.read_bytes() for path in self.artifacts.rglob("*") if path.is_file())


@pytest.fixture(params=["controller", "device"])
def client(request: pytest.FixtureRequest, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Either client, not initialised."""
    return Client(request.param, tmp_path, server, monkeypatch)


@pytest.fixture()
def repository() -> Simulator:
    """A repository."""
    return Simulator()


@pytest.fixture()
def ready(client: Client, repository: Simulator) -> Client:
    """Either client, with the repository's root pinned and refreshed once."""
    assert client.init(repository) == 0
    assert client.refresh() == 0
    repository.asked()
    return client
