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

from ....module_utils._device.documents import release
from ..base import files
from ..base.errors import RepositoryError
from ..base.yamlfile import _Loader, _mapping, _unreadable, load

_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read(path: pathlib.Path) -> tuple[dict[str, t.Any], bytes, dict[str, pathlib.Path]]:
    """The release that the YAML file ``path`` describes: signed form, its canonical bytes, payload files by SHA-256.

    Raises :class:`RepositoryError` with ``RELEASE`` and every mistake in ``detail['problems']``.
    """
    try:
        described, payloads = release.describe(load(path), path.parent)
        content = release.canonical(described)
        return t.cast("dict[str, t.Any]", release.parse(content)), content, payloads
    except OSError as error:
        raise _unreadable(path, error) from error
    except release.ReleaseError as error:
        raise RepositoryError(
            f"{path} has errors: {'; '.join(error.problems)}", code="RELEASE", problems=error.problems
        ) from error


def digest(content: bytes) -> str:
    """The digest of a release document, from its canonical bytes."""
    return release.digest(content)


def digest_of(path: pathlib.Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    for chunk in files.read_chunks(path):
        digest.update(chunk)
    return digest.hexdigest()
