# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""One HTTP request of the controller to something of the team's: bounded in time and size, never followed elsewhere."""

from __future__ import annotations

import time
import typing as t
import urllib.parse

from ..base.errors import ControlError
from . import tuf

try:
    import urllib3
except ImportError:  # libraries.require() tells
    pass

#: Bytes that an answer may have.
LARGEST = 8 << 20


class WebError(Exception):
    """Nothing useful came back; says what, without query, path or any secret of the address."""


def ask(
    method: str,
    url: str,
    *,
    timeout: float,
    headers: t.Mapping[str, str] | None = None,
    body: str | bytes | None = None,
    token_file: str | None = None,
    tls: tuf.Tls | None = None,
    read: bool = True,
) -> tuple[int, bytes]:
    """Status and content of the answer, which takes ``timeout`` seconds at most for each silence and for its content.

    ``token_file`` holds a bearer token; ``tls`` has paths as ``ca``, ``certificate`` and ``key``. Without ``read`` the
    content is left alone, and is empty here. Raises :class:`WebError`.
    """
    sent = {"User-Agent": "fleet.ota", **(headers or {})}
    if token_file:
        sent["Authorization"] = f"Bearer {token(token_file)}"
    shown = _shown(url)
    end = time.monotonic() + timeout
    try:
        more: dict[str, t.Any] = {"ssl_context": tuf.tls_context(tls)} if tls else {}
    except ControlError as error:
        raise WebError(error.message) from None
    try:
        with urllib3.PoolManager(timeout=timeout, retries=False, **more) as pool:
            # a redirect would carry the token to somebody who was not named
            answer = pool.request(method, url, body=body, headers=sent, redirect=False, preload_content=False)
            content = b""
            while read and (block := answer.read1(1 << 16)):
                content += block
                if time.monotonic() > end:
                    raise WebError(f"{shown} did not end its answer within {timeout} seconds")
                if len(content) > LARGEST:
                    raise WebError(f"{shown} answers more than {LARGEST} bytes")
            answer.close()
    except urllib3.exceptions.HTTPError as error:
        raise WebError(f"{shown} does not answer ({type(error).__name__})") from None
    return answer.status, content


def split(url: t.Any) -> urllib.parse.SplitResult | None:
    """The parts of an http or https address with a host and, if any, a port that is a number; None for what is none."""
    try:
        parts = urllib.parse.urlsplit(url)
        _port = parts.port  # raises for what is none
    except (ValueError, TypeError, AttributeError):
        return None
    return parts if parts.scheme in ("http", "https") and parts.hostname else None


def token(path: str) -> str:
    """The bearer token in a file. Raises :class:`WebError`."""
    try:
        with open(path, encoding="ascii") as handle:
            content = handle.read().strip()
    except (OSError, ValueError) as error:
        raise WebError(f"token_file {path} cannot be read ({type(error).__name__})") from None
    if not content.isprintable():
        raise WebError(f"token_file {path} holds more than one line; a token is one line")
    return content


def _shown(url: str) -> str:
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        raise WebError("the address cannot be read; correct the brackets in it") from None
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
