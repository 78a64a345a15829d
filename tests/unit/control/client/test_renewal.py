# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a rollout gives its devices is renewed before it expires, and stays the same release."""

from __future__ import annotations

import datetime
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import TrustError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.client import renewal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.client.bundle import Bundle

if t.TYPE_CHECKING:
    import pathlib

    from ..conftest import Site

NOW = datetime.datetime.now(datetime.UTC)
LATER = NOW + datetime.timedelta(days=6, hours=23, minutes=30)


@pytest.fixture
def saved(site: Site) -> pathlib.Path:
    """A release as a rollout keeps it; its timestamp ends in seven days."""
    site.publish("1.0", 1)
    return site.fetch().save(site.folder / "bundle.json")


def test_what_holds_long_enough_is_left_alone(site: Site, saved: pathlib.Path) -> None:
    before = saved.read_bytes()
    assert not renewal.renew(saved, site.trust_root, NOW)
    assert saved.read_bytes() == before


def test_what_ends_soon_is_renewed_and_is_the_same_release(site: Site, saved: pathlib.Path) -> None:
    before = Bundle.load(saved)
    assert not renewal.renew(saved, site.trust_root, LATER), "the repository has nothing newer"
    later = site.repository(LATER)
    later.refresh(site.ring())
    assert renewal.renew(saved, site.trust_root, LATER)
    after = Bundle.load(saved)
    assert (after.digest, after.version, after.documents) == (before.digest, before.version, before.documents)
    assert renewal.ends(after) > LATER + datetime.timedelta(days=6)


def test_a_repository_that_is_gone_leaves_what_there_was(site: Site, saved: pathlib.Path) -> None:
    before = saved.read_bytes()
    (site.path / "metadata").rename(site.path / "elsewhere")
    with pytest.raises(TrustError):
        renewal.renew(saved, site.trust_root, LATER)
    assert saved.read_bytes() == before
