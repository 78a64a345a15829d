# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""How python-tuf reaches repositories: directories, and HTTP with TLS files and credentials of the controller."""

from __future__ import annotations

import pathlib
import ssl
import time
import typing as t
import urllib.parse
import urllib.request

from ..base import files
from ..base.errors import TrustError

try:
    import urllib3
    from tuf.api.exceptions import DownloadError, DownloadHTTPError, SlowRetrievalError
    from tuf.ngclient.fetcher import FetcherInterface
except ImportError:  # libraries.require() tells
    FetcherInterface = object  # type: ignore[assignment, misc]

#: A server that sends fewer bytes a second on the whole costs time, but not for ever.
SLOWEST = 1024


class DirectoryFetcher(FetcherInterface):
    """Reads ``metadata/...`` and ``targets/...`` below a directory.

    ``overlay`` maps such names to bytes that stand before the directory's own files: a repository as it will be.
    """

    def __init__(self, directory: pathlib.Path, overlay: t.Mapping[str, bytes] | None = None) -> None:
        self.directory = directory
        self.overlay = overlay or {}

    def _fetch(self, url: str) -> t.Iterator[bytes]:
        if url in self.overlay:
            return iter([self.overlay[url]])
        path = self.directory / url
        if ".." in path.parts or not path.is_file():
            raise DownloadHTTPError(f"{path}: no such file", 404)  # what the client workflow expects
        return files.read_chunks(path)


#: Paths of PEM files: ``ca``, ``certificate`` and ``key``.
Tls = t.Mapping[str, str]
#: Seconds that a server may be silent.
_TIMEOUT = 30.0
_BLOCK = 1 << 18


class HttpFetcher(FetcherInterface):
    """Reads over HTTP(S) with the pinned CA, client certificate and credentials of one repository.

    With any of these nobody is followed elsewhere. ``base`` is the repository's address without credentials: what
    python-tuf asks for, and what its messages may show. ``deadline`` is in seconds for one file; what has arrived buys
    more of them, at :data:`SLOWEST` bytes a second.
    """

    def __init__(self, repository: str, tls: Tls | None = None, deadline: float = 60) -> None:
        self.deadline = deadline
        place = urllib.parse.urlsplit(repository)
        pair, _at, host = place.netloc.rpartition("@")
        self.base = urllib.parse.urlunsplit(place._replace(netloc=host)).rstrip("/")
        self._headers = {"User-Agent": "fleet.ota"}
        if pair:
            self._headers.update(urllib3.make_headers(basic_auth=urllib.parse.unquote(pair)))
        self._redirect = not (pair or tls)
        more: dict[str, t.Any] = {"ssl_context": tls_context(tls)} if tls else {}
        proxy = None if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(place.scheme)
        self._pool = urllib3.ProxyManager(proxy, **more) if proxy else urllib3.PoolManager(**more)

    def _fetch(self, url: str) -> t.Iterator[bytes]:
        answer = self._pool.request(
            "GET",
            url,
            headers=self._headers,
            preload_content=False,
            redirect=self._redirect,
            timeout=urllib3.Timeout(_TIMEOUT),
        )
        if answer.status >= 300:
            answer.close()
            raise DownloadHTTPError(f"HTTP {answer.status}", answer.status)
        return self._chunks(answer)

    def _chunks(self, answer: t.Any) -> t.Iterator[bytes]:
        end = time.monotonic() + self.deadline
        try:
            while block := answer.read1(_BLOCK):  # what is here, not what a slow server may still send
                end += len(block) / SLOWEST
                if time.monotonic() > end:
                    raise SlowRetrievalError(f"{answer.geturl()} sends too slowly")
                yield block
            answer.release_conn()
        except urllib3.exceptions.TimeoutError as error:
            raise SlowRetrievalError(f"{answer.geturl()} fell silent") from error
        except urllib3.exceptions.HTTPError as error:
            raise DownloadError(f"{answer.geturl()}: {error}") from error
        finally:
            answer.close()


def tls_context(tls: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.get("ca"))
        if tls.get("certificate"):
            # an empty passphrase: an encrypted key is an error, and nobody is asked on a terminal
            context.load_cert_chain(tls["certificate"], tls.get("key"), password="")
    except (OSError, ValueError) as error:
        names = ", ".join(tls[name] for name in sorted(tls))
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise TrustError(
            f"the TLS files {names} cannot be used ({reason}); give PEM files that belong together, the key without a "
            "passphrase",
            code="TLS",
        ) from error
    return context
