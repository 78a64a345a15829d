# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change without notice.

"""What a person writes about a release, read from YAML and described for signing."""

from __future__ import annotations

import hashlib
import pathlib
import typing as t

import yaml

from ...module_utils._device import release
from . import files
from .errors import RepositoryError


class _Loader(yaml.SafeLoader):
    """YAML without its silent surprise: a key that stands twice is an error, not the last one."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[t.Any, t.Any]:
    loader.flatten_mapping(node)
    seen: set[t.Any] = set()
    for key_node, _value in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", key_node.start_mark)
        seen.add(key)
    return t.cast("dict[t.Any, t.Any]", loader.construct_mapping(node, deep=True))


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read(path: pathlib.Path) -> tuple[dict[str, t.Any], bytes, dict[str, pathlib.Path]]:
    """The release that the YAML file ``path`` describes: signed form, its canonical bytes, payload files by SHA-256.

    Raises :class:`RepositoryError` with ``RELEASE`` and every mistake in ``detail['problems']``.
    """
    try:
        described, payloads = release.describe(load(path), path.parent)
        content = release.canonical(described)
        return release.parse(content), content, payloads
    except OSError as error:
        raise _unreadable(path, error) from error
    except release.ReleaseError as error:
        raise RepositoryError(
            f"{path} has errors: {'; '.join(error.problems)}", code="RELEASE", problems=error.problems
        ) from error


def load(path: pathlib.Path) -> t.Any:
    """What the YAML file ``path`` holds, strictly. Raises :class:`RepositoryError` with ``RELEASE``."""
    try:
        with path.open("rb") as handle:
            return yaml.load(handle, _Loader)  # noqa: S506 - a SafeLoader that is stricter still
    except OSError as error:
        raise _unreadable(path, error) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RepositoryError(f"{path} is not YAML: {error}; correct it", code="RELEASE") from error


def digest(content: bytes) -> str:
    """The digest of a release document, from its canonical bytes."""
    return release.digest(content)


def digest_of(path: pathlib.Path) -> str:
    """SHA-256 of a file."""
    found = hashlib.sha256()
    for chunk in files.read_chunks(path):
        found.update(chunk)
    return found.hexdigest()


def _unreadable(path: pathlib.Path, error: OSError) -> RepositoryError:
    name = error.filename or path
    return RepositoryError(f"{name} cannot be read ({error.strerror}); correct the path", code="RELEASE")
