# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A release derived again from its inputs: the same to the last byte, or nobody should sign."""

from __future__ import annotations

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import RepositoryError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.proposals.proposal import Request
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.reproduce import derive

from ..conftest import Site


def test_what_is_listed_is_derived_again(site: Site) -> None:
    change = site.publish()
    assert change.release is not None
    found = derive(site.repository(), "stable", site.document())
    assert (found.digest, found.where) == (change.release.digest, ["channel stable"])
    assert found.lines[0].startswith("app.tar.gz: sha256 ")


def test_what_would_be_signed_is_derived_again(site: Site) -> None:
    change = site.repository().publish(
        "stable", site.document(), site.ring("snapshot", "timestamp"), propose=Request("anna")
    )
    assert change.proposal is not None
    assert derive(site.repository(), "stable", site.document()).where == [change.proposal.id]


def test_another_payload_is_named(site: Site) -> None:
    site.repository().publish(
        "stable", site.document(content=b"evil"), site.ring("snapshot", "timestamp"), propose=Request("mallory")
    )
    with pytest.raises(RepositoryError, match=r"payloads\[0\].files\[0\].sha256 is .* there and .* here") as error:
        derive(site.repository(), "stable", site.document())
    assert error.value.code == "HASH_MISMATCH"
    assert "do not sign it" in error.value.message


def test_another_word_in_the_document_is_named(site: Site) -> None:
    site.publish(protect=["/etc/gateway"])
    with pytest.raises(RepositoryError, match="protect is"):
        derive(site.repository(), "stable", site.document(protect=["/etc/gateway", "/etc/x"]))


def test_what_stands_nowhere_is_told(site: Site) -> None:
    with pytest.raises(RepositoryError, match="neither listed in channel stable nor proposed") as error:
        derive(site.repository(), "stable", site.document())
    assert error.value.code == "RELEASE"
