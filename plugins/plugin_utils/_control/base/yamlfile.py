# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""YAML files that people write, read strictly: a key that stands twice is an error."""

from __future__ import annotations

import pathlib
import typing as t

import yaml

from .errors import RepositoryError


class _Loader(yaml.SafeLoader):
    """YAML without its silent surprise: a key that stands twice is an error, not the last one."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[object, object]:
    loader.flatten_mapping(node)
    seen: set[object] = set()
    for key_node, _value in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", key_node.start_mark)
        seen.add(key)
    return t.cast("dict[object, object]", loader.construct_mapping(node, deep=True))


def load(path: pathlib.Path) -> t.Any:
    """What the YAML file ``path`` holds, strictly. Raises :class:`RepositoryError` with ``RELEASE``."""
    try:
        with path.open("rb") as handle:
            return yaml.load(handle, _Loader)  # noqa: S506 - a SafeLoader that is stricter still
    except OSError as error:
        raise _unreadable(path, error) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RepositoryError(f"{path} is not YAML: {error}; correct it", code="RELEASE") from error


def _unreadable(path: pathlib.Path, error: OSError) -> RepositoryError:
    name = error.filename or path
    return RepositoryError(f"{name} cannot be read ({error.strerror}); correct the path", code="RELEASE")
