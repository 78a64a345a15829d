# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real HTTP server that answers as a test tells it, also badly."""

from __future__ import annotations

import contextlib
import http.server
import threading
import typing as t


class Request(t.NamedTuple):
    """One request that came."""

    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """Answers one request after the other as ``answers`` say, and from the last on always so.

    An answer has ``status``, ``headers`` and ``body``; with ``hang`` nothing is answered, with ``drip`` a byte now and
    then, until :meth:`close`.
    """

    def __init__(self) -> None:
        self.answers: list[dict[str, t.Any]] = [{}]
        self.requests: list[Request] = []
        self._closed = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answer = outer.answers[min(len(outer.requests), len(outer.answers) - 1)]
                outer.requests.append(Request(self.path, dict(self.headers), body))
                if answer.get("hang"):
                    outer._closed.wait()
                    return
                self.send_response(answer.get("status", 200))
                for name, value in answer.get("headers", {}).items():
                    self.send_header(name, value)
                self.end_headers()
                while answer.get("drip") and not outer._closed.wait(0.03):
                    try:
                        self.wfile.write(b" ")
                    except OSError:
                        return
                with contextlib.suppress(OSError):  # who asked may be gone
                    self.wfile.write(answer.get("body", b""))

            do_GET = do_POST = _answer

            def log_message(self, *_words: t.Any) -> None:
                """Be quiet."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """End it, and whoever still waits for an answer."""
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
