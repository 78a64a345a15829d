# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Expiry is planned for: what ends is told before it does, and stops nobody who does not need it."""

from __future__ import annotations

import dataclasses
import datetime
import shutil
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import ControlError, RepositoryError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.client import expiry, renewal
from ansible_collections.fleet.ota.plugins.plugin_utils._control.client.bundle import ENDED
from ansible_collections.fleet.ota.plugins.plugin_utils._control.repository.metadata import store

if t.TYPE_CHECKING:
    from ..conftest import Site

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


def test_an_approvals_role_that_nobody_used_stops_nobody_who_needs_none(
    empty: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as then:  # a client of today would not take it
        then.setattr(store.Store, "require_accepted", lambda *_arguments, **_more: None)
        empty.repository(NOW - 31 * DAY).ensure(
            empty.config(approvals={"approvals": empty.holders("dora", "emil", threshold=2)}), empty.ring()
        )
    assert empty.repository().refresh(empty.ring("snapshot", "timestamp")).changed
    empty.repository().publish("stable", empty.document(), empty.ring("stable", "snapshot", "timestamp"))
    bundle = empty.fetch()
    assert (bundle.version, bundle.approvals, bundle.ends["approvals"]) == ("1.0", [], ENDED)
    assert "the metadata of approvals have ended" in expiry.lines(bundle.ends, NOW, NOW)[0]


def test_what_ends_soon_or_before_the_rollout_is_told(site: Site) -> None:
    site.publish()
    ends = site.fetch().ends
    assert set(ends) == {"root", "targets", "snapshot", "timestamp", "stable"}
    assert expiry.lines(ends, NOW, NOW + DAY) == []
    (long, more) = expiry.lines(ends, NOW, NOW + 8 * DAY)
    assert "before the rollout can: it goes on with what fleet.ota.refresh signs" in long + more
    assert (long.split()[0], more.split()[0]) == ("snapshot", "timestamp")
    told = {line.split()[0]: line for line in expiry.lines(ends, NOW + 338 * DAY, NOW + 338 * DAY)}
    assert "have its people sign it again by then (fleet.ota.refresh with the keys of root)" in told["root"]
    whole = {line.split()[0]: line for line in expiry.lines(ends, NOW, NOW + 100 * DAY)}
    assert "before the rollout can: have its people sign it again" in whole["stable"]
    approvals = {"approvals/a": (NOW + DAY).isoformat(), "approvals/b": (NOW + 3 * DAY).isoformat()}
    (line,) = expiry.approvals(approvals, NOW + 2 * DAY)
    assert "approvals/a ends" in line


def test_an_approval_that_has_ended_is_told_before_a_device_is_asked(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.publish()
    bundle = dataclasses.replace(site.fetch(), approvals=["approvals/a"])
    path = bundle.save(site.folder / "bundle.json")

    class Over:
        path = "approvals/a"

        def expired(self, now: datetime.datetime) -> bool:
            return True

    monkeypatch.setattr(renewal.Bundle, "approved", lambda _bundle: [Over()])
    monkeypatch.setattr(renewal.updater, "prepare", lambda **_asked: bundle)
    with pytest.raises(ControlError, match="approvals/a has ended; ask for another one") as caught:
        renewal.renew(path, site.trust_root, NOW)
    assert caught.value.code == "APPROVAL"


def test_a_publisher_whose_clock_is_behind_signs_nothing(site: Site) -> None:
    late = site.repository(NOW - 20 * DAY)
    before = {path.name for path in (site.path / "metadata").iterdir()}
    with pytest.raises(RepositoryError, match="set the clock, nothing was signed") as caught:
        late.publish("stable", site.document(), site.ring())
    assert caught.value.code == "CLOCK"
    assert {path.name for path in (site.path / "metadata").iterdir()} == before
    site.repository(NOW - datetime.timedelta(minutes=10)).publish("stable", site.document(), site.ring())


def test_a_shorter_period_is_no_clock_that_is_behind(site: Site) -> None:
    site.repository().ensure(site.config(periods={"timestamp": 60}), site.ring())
    site.repository().publish("stable", site.document(), site.ring())
    site.repository().ensure(site.config(periods={"timestamp": 1}), site.ring())
    site.repository().publish("stable", site.document("2.0", 2), site.ring())
    assert site.fetch().version == "2.0"


def test_a_restored_backup_is_moved_above_what_clients_have_seen(site: Site) -> None:
    site.publish()
    shutil.copytree(site.path, site.folder / "backup")
    for number in range(2, 6):
        site.publish(f"{number}.0", number)
    assert site.fetch().version == "5.0"
    shutil.rmtree(site.path)
    shutil.copytree(site.folder / "backup", site.path)
    with pytest.raises(ControlError):
        site.fetch()
    lacking = site.repository().refresh(site.ring("targets", "snapshot", "timestamp"), raise_versions=50)
    assert any(line.startswith("stable keeps its version") for line in lacking.warnings)
    assert site.repository().refresh(site.ring(), raise_versions=50).warnings == []
    assert site.fetch().version == "1.0"
    site.publish("6.0", 6)
    assert site.fetch().version == "6.0"
