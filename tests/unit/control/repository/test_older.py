# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A repository that commit f1b2194 made is read, published into and fetched from."""

from __future__ import annotations

import pathlib
import tarfile
import typing as t

import pytest

if t.TYPE_CHECKING:
    from ..conftest import Site

HERE = pathlib.Path(__file__).parent


@pytest.fixture
def older(empty: Site) -> Site:
    """Channels pilot and stable, gateway 1.0 and 2.0, and the keys of all roles."""
    with tarfile.open(HERE / "repository-f1b2194.tar.gz") as archive:
        archive.extractall(empty.folder)
    return empty


def test_its_releases_are_listed_and_fetched(older: Site) -> None:
    listed = [(entry.channel, entry.version) for entry in older.repository().releases()]
    assert listed == [("pilot", "2.0"), ("stable", "1.0"), ("stable", "2.0")]
    assert older.fetch().version == "2.0"
    assert older.fetch("gateway/1.0").counter == 1


def test_it_is_published_into(older: Site) -> None:
    assert older.publish("3.0", 3).changed
    assert older.fetch().version == "3.0"
    assert older.repository().promote("gateway", "3.0", "pilot", older.ring()).changed
    assert not older.publish("1.0", 1).changed, "the same inputs give the same release as that commit did"
