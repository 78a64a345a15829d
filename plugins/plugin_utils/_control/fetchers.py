# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""How python-tuf reaches repositories that are not behind HTTP."""

from __future__ import annotations

import pathlib
import time
import typing as t
import urllib.parse

from . import files

try:
    import urllib3
    from tuf.api.exceptions import DownloadError, DownloadHTTPError, SlowRetrievalError
    from tuf.ngclient.fetcher import FetcherInterface
    from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher
except ImportError:  # libraries.require() tells
    FetcherInterface = object  # type: ignore[assignment, misc]
    Urllib3Fetcher = object  # type: ignore[assignment, misc]

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


class HttpFetcher(Urllib3Fetcher):
    """python-tuf's own fetcher with an end: its time-outs only bound how long a server is silent.

    ``deadline`` is in seconds for one file; what has arrived buys more of them, at :data:`SLOWEST` bytes a second.
    """

    def __init__(self, deadline: float = 60) -> None:
        super().__init__(app_user_agent="fleet.ota")
        self.deadline = deadline

    def _chunks(self, response: urllib3.response.BaseHTTPResponse) -> t.Iterator[bytes]:
        end = time.monotonic() + self.deadline
        try:
            while block := response.read1(self.chunk_size):  # what is here, not what a slow server may still send
                end += len(block) / SLOWEST
                if time.monotonic() > end:
                    raise SlowRetrievalError(f"{response.geturl()} sends too slowly")
                yield block
            response.release_conn()
        except urllib3.exceptions.TimeoutError as error:
            raise SlowRetrievalError(f"{response.geturl()} fell silent") from error
        except urllib3.exceptions.HTTPError as error:
            raise DownloadError(f"{response.geturl()}: {error}") from error
        finally:
            response.close()


def is_url(repository: str) -> bool:
    """Whether ``repository`` is reached over HTTP, and not a directory."""
    return urllib.parse.urlsplit(repository).scheme in ("http", "https")
