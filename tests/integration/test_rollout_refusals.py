# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be refused is refused, by the device itself where a controller could be fooled; nothing is touched."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import Metadata

from tests.lab import evidence, service

from .project import Project
from .site import Site, assert_same, confirmed, copy_of, look, look_at_all


@pytest.fixture
def own(site: Site, tmp_path: Path) -> Site:
    """A site whose repository may be damaged."""
    site.project = copy_of(site.project, tmp_path / "project")
    return site


def change_one_byte(repository: Path, sha256: str) -> None:
    path = repository / "targets/payloads" / sha256
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def assert_refused(site: Site, release: str, code: str, outcome: str = "refused", **variables: Any) -> None:
    """The rollout stops at the canary, which refuses; no device shows any change."""
    before = look_at_all(site.devices)
    done = {device.name: confirmed(device) for device in site.devices}
    assert site.rollout(release, **variables) != 0, site.said()
    assert site.outcomes() == {"dev1": (outcome, code)}, site.said()
    assert site.result() == ("halted" if outcome == "refused" else "held")
    for device in site.devices:
        assert_same(before[device.name], look(device))
        assert confirmed(device) == done[device.name]


def test_a_mirror_with_a_changed_byte(own: Site, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    shutil.copytree(own.project.repository, mirror)
    package = own.project.fetch("meter/2").payloads()[-1]
    change_one_byte(mirror, package["sha256"])
    with own.fleet.serve(mirror) as url:
        pull = {"fleet_ota_transfer": "pull", "fleet_ota_mirrors": [url]}
        assert_refused(own, "meter/2", "FETCH", "deferred", **pull)  # another mirror, or another day


def test_devices_pull_from_an_honest_mirror(own: Site) -> None:
    with own.fleet.serve(own.project.repository) as url:
        pull = {"fleet_ota_transfer": "pull", "fleet_ota_mirrors": [url], "fleet_ota_splay": 2}
        assert own.rollout("meter/2", **pull) == 0, own.said()
    for device in own.devices:
        answer = evidence.http_json(device, service.PORT)
        assert answer is not None
        assert answer["version"] == "2"


def test_a_repository_with_a_changed_byte(own: Site) -> None:
    change_one_byte(own.project.repository, own.project.fetch("meter/2").payloads()[-1]["sha256"])
    assert_refused(own, "meter/2", "HASH_MISMATCH")


def test_a_release_for_other_hardware(own: Site) -> None:
    other = {"version": "6", "counter": 6, "compatible": {"hardware": ["edge-gw-9"]}}
    own.project.publish(own.project.meter("2", **other))
    assert_refused(own, "meter/6", "INCOMPATIBLE")


def test_an_older_release_replayed(site: Site) -> None:
    assert site.rollout("meter/2") == 0, site.said()
    later = Site(site.project, site.fleet, site.journals / "later")
    assert_refused(later, "meter/1", "ROLLBACK")


def test_older_metadata_replayed(own: Site, project: Project) -> None:
    own.project.publish(own.project.meter("2", version="6", counter=6))
    assert own.rollout("meter/6") == 0, own.said()
    older = Site(project, own.fleet, own.journals / "older")
    assert_refused(older, "meter/5", "ROLLBACK")


def test_expired_metadata(own: Site) -> None:
    path = own.project.repository / "metadata/timestamp.json"
    timestamp = Metadata.from_file(str(path))
    timestamp.signed.expires = datetime.datetime.now(datetime.UTC).replace(microsecond=0) - datetime.timedelta(hours=1)
    timestamp.signed.version += 1
    wire = own.project.fetch("meter/2").wire()
    (keyid,) = timestamp.signatures
    timestamp.sign(own.project.ring.signers[keyid])
    timestamp.to_file(str(path))
    before = look_at_all(own.devices)
    assert own.rollout("meter/2") != 0
    assert "EXPIRED" in own.said() or "expired" in own.said()
    # The controller already refused; a device that is offered it all the same does so too.
    engine = own.engine(2)
    engine.install()
    reply = engine.call("apply", bundle={**wire, "timestamp": path.read_text()}, wait=30, rollout="x")
    assert (reply["outcome"], reply["code"]) == ("refused", "EXPIRED"), reply
    for device in own.devices:
        assert_same(before[device.name], look(device))
