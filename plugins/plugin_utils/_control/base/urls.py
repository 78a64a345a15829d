# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Addresses: which are URLs, and how they are shown to people without what is secret in them."""

from __future__ import annotations

import re
import typing as t
import urllib.parse


def shown(repository: str) -> str:
    """``repository`` without user and password, for people."""
    return re.sub(r"//.*@", "//***@", repository, flags=re.DOTALL)


def hidden(value: object, show: t.Callable[[str], str] = shown) -> t.Any:
    """``value`` of a task with every address in it :func:`shown`: callbacks get the arguments of each task."""
    if isinstance(value, t.Mapping):
        return {key: hidden(entry, show) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [hidden(entry, show) for entry in value]
    return show(value) if isinstance(value, str) and re.match(r"\s*[a-z][a-z0-9+.-]*://", value, re.I) else value


def host_of(address: str) -> str:
    """``address`` for people without what follows its host: of a webhook that is the secret."""
    return re.sub(r"(://[^/?#\\\s]*)[/?#\\\s].*", r"\1/***", shown(address), count=1, flags=re.DOTALL)


def is_url(repository: str) -> bool:
    """Whether ``repository`` is reached over HTTP, and not a directory."""
    return urllib.parse.urlsplit(repository).scheme in ("http", "https")
