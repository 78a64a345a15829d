# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Which delegated roles are asked for a path (TUF specification, sections 4.5 and 5.6.7)."""

from __future__ import annotations

import fnmatch
import hashlib
import typing as t

from .metadata import DelegatedRole

#: Delegated roles that one search visits at most; python-tuf has the same limit.
MAX_VISITED = 32


def matching(roles: t.Sequence[DelegatedRole], path: str) -> tuple[list[DelegatedRole], bool]:
    """The delegations for ``path`` in order up to a terminating one, and whether there was one."""
    delegated = []
    for role in roles:
        if matches(role, path):
            delegated.append(role)
            if role.terminating:
                return delegated, True
    return delegated, False


def matches(role: DelegatedRole, path: str) -> bool:
    """Whether ``role`` is trusted for ``path``: by pattern, or by the SHA-256 of the path."""
    if role.prefixes is not None:
        digest = hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()
        return any(digest.startswith(prefix) for prefix in role.prefixes)
    return any(_pattern(path, pattern) for pattern in role.paths)


def _pattern(path: str, pattern: str) -> bool:
    """A pattern's ``*`` never crosses a ``/``, and case counts (GHSA-qp9x-wp8f-qgjj)."""
    parts, patterns = path.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(fnmatch.fnmatchcase(part, p) for part, p in zip(parts, patterns))
