# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""Packages of which each module is one kind of a thing, found by its name: adding a kind is adding a file."""

from __future__ import annotations

import importlib
import pkgutil
import types
import typing as t


def names(path: t.Iterable[str]) -> list[str]:
    """The kinds in the package whose ``__path__`` is given; what begins with an underscore is none."""
    return sorted(entry.name for entry in pkgutil.iter_modules(path) if not entry.name.startswith("_"))


def module(package: str, path: t.Iterable[str], kind: object) -> types.ModuleType | None:
    """The module of ``kind`` in the package of that name and path, or None."""
    if not isinstance(kind, str) or kind not in names(path):
        return None
    return importlib.import_module("%s.%s" % (package, kind))
