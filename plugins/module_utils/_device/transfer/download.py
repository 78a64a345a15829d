# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.
"""One download over HTTP(S) from a server that is not trusted.

Whatever it does costs time and nothing else: it may not send us elsewhere, it is ended when it comes to a standstill
in any phase (name, handshake, headers, body), and never a byte more than was signed is read.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import re
import socket
import threading
import typing as t
import urllib.parse

from ..base.urls import shown

if t.TYPE_CHECKING:
    import http.client
    import ssl

#: A server must bring this many bytes a second, looked at once a window (seconds); slower is as good as nothing.
SLOWEST = 1024
WINDOW = 30.0
_BLOCK = 1 << 16
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)\Z")


class DownloadError(Exception):
    """What went wrong, in words for people; never with what a URL holds of credentials.

    ``broken_off`` is true where the connection ended under way, which says nothing about the server's next answer.
    """

    def __init__(self, message: str, broken_off: bool = False) -> None:
        super().__init__(message)
        self.broken_off = broken_off


class _Ended(OSError):
    """The server ended the connection before all was here."""


class _Progress:
    """Ends a connection that does not get on; used as a context around everything that talks to the server."""

    def __init__(self) -> None:
        self.bytes = 0
        self.ended = False
        self._socket: socket.socket | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Progress:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._done.set()
        self._thread.join()
        if self._socket is not None:
            self._socket.close()

    def of(self, connection: socket.socket) -> None:
        """Watch this connection, below TLS: by a handle of our own, which stays when TLS takes the socket over."""
        self._socket = connection.dup()

    def _watch(self) -> None:
        seen = 0
        while not self._done.wait(WINDOW):
            if self.bytes - seen < SLOWEST * WINDOW:
                self.ended = True
                if self._socket is not None:
                    with contextlib.suppress(OSError):
                        self._socket.shutdown(socket.SHUT_RDWR)
            seen = self.bytes


def download(url: str, handle: t.IO[bytes], have: int, length: int, context: t.Callable[[], ssl.SSLContext]) -> None:
    """Bring the bytes from ``have`` to ``length`` of ``url`` into ``handle``, which has what comes before.

    Starts over when the server does not know ranges. ``context`` is asked for TLS when the address is https. Raises
    DownloadError, and OSError only for a full disk; what arrived until then stays in ``handle``.
    """
    import http.client  # only here: every start of the engine would wait for it

    with _Progress() as progress:
        try:
            _download(url, handle, have, length, context, progress)
        except (OSError, ValueError, http.client.HTTPException) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise
            reason = "too slow: less than %d bytes a second" % SLOWEST if progress.ended else _reason(error)
            broken_off = isinstance(error, (ConnectionResetError, BrokenPipeError, _Ended)) and not progress.ended
            raise DownloadError("%s: %s" % (shown(url), reason), broken_off) from error


def _reason(error: Exception) -> str:
    text = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error) or type(error).__name__
    return str(text).splitlines()[0][:200]


def _download(
    url: str,
    handle: t.IO[bytes],
    have: int,
    length: int,
    context: t.Callable[[], ssl.SSLContext],
    progress: _Progress,
) -> None:
    place = urllib.parse.urlsplit(url)
    if place.scheme not in ("http", "https") or not place.hostname:
        raise ValueError("only http and https are taken")
    path = urllib.parse.urlunsplit(("", "", place.path or "/", place.query, ""))
    if re.search(r"[\x00-\x20\x7f]", path):
        raise ValueError("an address has no blanks")
    connection = _connect(place, context, progress)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=_headers(place, have))
        answer = connection.getresponse()
        start = _start(answer, have, length)
        handle.seek(start)
        handle.truncate()
        while start < length:
            block = answer.read1(min(_BLOCK, length - start))  # never a byte more than was signed
            if not block:
                raise _Ended("ended after %d of %d bytes" % (start, length))
            handle.write(block)
            start += len(block)
            progress.bytes += len(block)


def _connect(
    place: urllib.parse.SplitResult, context: t.Callable[[], ssl.SSLContext], progress: _Progress
) -> http.client.HTTPConnection:
    host, secure = t.cast(str, place.hostname), place.scheme == "https"
    try:
        port = place.port or (443 if secure else 80)
    except ValueError:
        raise ValueError("the port of the address is not a number") from None  # it may be half a password
    import http.client

    connection = http.client.HTTPConnection(host, port, timeout=WINDOW)
    connection.default_port = 443 if secure else 80
    plain = socket.create_connection((host, port), timeout=WINDOW)
    progress.of(plain)
    try:
        connection.sock = context().wrap_socket(plain, server_hostname=host) if secure else plain
    except BaseException:
        plain.close()
        raise
    return connection


def _headers(place: urllib.parse.SplitResult, have: int) -> dict[str, str]:
    headers = {"User-Agent": "fleet.ota", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = "bytes=%d-" % have
    if place.username is not None:
        pair = "%s:%s" % (urllib.parse.unquote(place.username), urllib.parse.unquote(place.password or ""))
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    return headers


def _start(answer: http.client.HTTPResponse, have: int, length: int) -> int:
    """Where the bytes that now come belong; OSError when they are not what was asked for."""
    if answer.status == 200:
        return 0
    if answer.status in (301, 302, 303, 307, 308):
        raise OSError("HTTP %d: a mirror serves the file itself, to be sent elsewhere is no answer" % answer.status)
    if answer.status != 206:
        raise OSError("HTTP %d" % answer.status)
    match = _RANGE.match(answer.headers.get("Content-Range", ""))
    if not have or not match or int(match.group(1)) != have or match.group(3) not in ("*", str(length)):
        raise OSError("another range was sent than asked for: %r" % answer.headers.get("Content-Range", "")[:80])
    return have
