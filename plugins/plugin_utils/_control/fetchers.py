# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""How python-tuf reaches repositories that are not behind HTTP."""

from __future__ import annotations

import pathlib
import typing as t
import urllib.parse

from . import files

try:
    from tuf.api.exceptions import DownloadHTTPError
    from tuf.ngclient.fetcher import FetcherInterface
except ImportError:  # libraries.require() tells
    FetcherInterface = object  # type: ignore[assignment, misc]


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


def is_url(repository: str) -> bool:
    """Whether ``repository`` is reached over HTTP, and not a directory."""
    return urllib.parse.urlsplit(repository).scheme in ("http", "https")
