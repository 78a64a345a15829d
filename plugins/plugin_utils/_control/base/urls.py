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

#: ``scheme:/...``, ``host:/...`` and ``user@host:...``: what lies on another machine.
_ADDRESS = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9+.-]*:/|[^/\s]+@[^/\s]+:)")


def shown(repository: str) -> str:
    """``repository`` without user and password, for people."""
    text = re.sub(r"//.*@", "//***@", repository, flags=re.DOTALL)
    if text == repository and is_address(text):
        text = re.sub(r"^(\s*[A-Za-z0-9+.-]+:/+)?.*@", r"\1***@", text, count=1, flags=re.DOTALL)
    return text


def hidden(value: object, show: t.Callable[[str], str] = shown) -> t.Any:
    """``value`` of a task with every address in it :func:`shown`: callbacks get the arguments of each task."""
    if isinstance(value, t.Mapping):
        return {key: hidden(entry, show) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [hidden(entry, show) for entry in value]
    return show(value) if isinstance(value, str) and is_address(value) else value


def host_of(address: str) -> str:
    """``address`` for people without what follows its host: of a webhook that is the secret."""
    return re.sub(r"(://[^/?#\\\s]*)[/?#\\\s].*", r"\1/***", shown(address), count=1, flags=re.DOTALL)


def is_url(repository: str) -> bool:
    """Whether ``repository`` is reached over HTTP, and not a directory."""
    return urllib.parse.urlsplit(repository).scheme in ("http", "https")


def is_address(text: str) -> bool:
    """Whether ``text`` names a place on another machine, or one of a scheme, and no directory of this one."""
    return _ADDRESS.match(text) is not None
