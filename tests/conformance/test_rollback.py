# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Older metadata after newer, metadata past its time, and the way out after a fast-forward attack."""

from __future__ import annotations

import datetime

import pytest

from .conftest import Client
from .simulator import Simulator

DAY = datetime.timedelta(days=1)


@pytest.fixture(params=[False, True], ids=["plain", "with hashes"])
def repository(request: pytest.FixtureRequest) -> Simulator:
    """With and without hashes of metadata: a rollback must be seen either way."""
    return Simulator(hashes=request.param)


def test_an_older_timestamp(ready: Client, repository: Simulator) -> None:
    old = repository.files["metadata/timestamp.json"]
    repository.publish("snapshot")
    assert ready.refresh() == 0
    repository.files["metadata/timestamp.json"] = old
    assert ready.refresh() == 1
    assert ready.version("timestamp") == 2


def test_an_older_snapshot_named_by_a_newer_timestamp(ready: Client, repository: Simulator) -> None:
    repository.publish("snapshot")
    assert ready.refresh() == 0
    repository.asked()
    repository.snapshot.version = 1
    repository.serve("snapshot")
    repository.timestamp.snapshot_meta = repository._meta("snapshot")
    repository.timestamp.version = 9
    repository.serve("timestamp")
    assert ready.refresh() == 1
    assert ready.versions() == (1, 2, 2, 1)
    assert repository.asked()[-1] == "timestamp.json"


def test_older_targets_named_by_a_newer_snapshot(ready: Client, repository: Simulator) -> None:
    repository.publish("targets")
    assert ready.refresh() == 0
    repository.targets.version = 1
    repository.serve("targets")
    repository.describe("targets")
    repository.publish("snapshot")
    assert ready.refresh() == 1
    assert ready.versions()[2:] == (2, 2)


def test_an_older_delegated_role(ready: Client, repository: Simulator) -> None:
    repository.delegate("targets", "A")
    repository.publish("targets", "A")
    repository.publish("A")
    assert ready.download("nothing") == 1
    assert ready.version("A") == 3
    repository.delegated["A"].version = 2
    repository.serve("A")
    repository.describe("A")
    repository.publish("snapshot")
    assert ready.download("nothing") == 1
    assert (ready.version("snapshot"), ready.version("A")) == (3, 3)


def test_a_role_that_vanishes_from_the_snapshot(ready: Client, repository: Simulator) -> None:
    repository.delegate("targets", "A")
    repository.publish("targets", "A")
    assert ready.refresh() == 0
    del repository.snapshot.meta["A.json"]
    repository.publish("snapshot")
    assert ready.refresh() == 1
    assert ready.version("snapshot") == 2


def test_the_kept_snapshot_counts_though_another_is_described(ready: Client, repository: Simulator) -> None:
    """Rollback is told from the kept snapshot even if its hash is no longer the one that the timestamp names."""
    repository.publish("targets")
    assert ready.refresh() == 0
    repository.publish("snapshot")
    repository.hashes = True
    repository.targets.version = 1
    repository.describe("targets")
    repository.publish("snapshot")
    assert ready.refresh() == 1
    assert ready.version("snapshot") == 2


@pytest.mark.parametrize("rotated", [("timestamp",), ("snapshot", "timestamp")], ids=["timestamp", "both"])
def test_recovery_from_a_fast_forwarded_timestamp(
    ready: Client, repository: Simulator, rotated: tuple[str, ...]
) -> None:
    repository.timestamp.version = 99999
    repository.serve("timestamp")
    assert ready.refresh() == 0
    repository.timestamp.version = 1
    repository.publish("snapshot")
    assert ready.refresh() == 1
    for role in rotated:
        repository.rotate(role)
    repository.publish("root", "snapshot")
    assert ready.refresh() == 0
    assert ready.version("timestamp") == 3


def test_recovery_goes_on_where_it_was_cut_off(ready: Client, repository: Simulator) -> None:
    """The new root was kept, and then the power went: the next run sees no new keys any more."""
    repository.timestamp.version = 99999
    repository.serve("timestamp")
    assert ready.refresh() == 0
    repository.timestamp.version = 1
    repository.rotate("timestamp")
    repository.publish("root", "snapshot")
    honest = repository.files["metadata/timestamp.json"]
    repository.files["metadata/timestamp.json"] = 500
    assert ready.refresh() == 1
    assert ready.version("root") == 2
    repository.files["metadata/timestamp.json"] = honest
    assert ready.refresh() == 0
    assert ready.version("timestamp") == 2


def test_recovery_from_a_fast_forwarded_snapshot(ready: Client, repository: Simulator) -> None:
    repository.snapshot.version = 99999
    repository.publish("snapshot")
    assert ready.refresh() == 0
    for role in ("snapshot", "timestamp"):
        repository.rotate(role)
    repository.snapshot.version = 1
    repository.publish("root", "snapshot")
    assert ready.refresh() == 0
    assert ready.version("snapshot") == 2


def test_recovery_by_snapshot_keys_alone(ready: Client, repository: Simulator) -> None:
    """5.3.11 drops both when either was rotated. python-tuf goes by signatures: its timestamp still is signed well,
    and so it refuses; both of its keys must be rotated for it."""
    repository.snapshot.version = 99999
    repository.publish("snapshot")
    assert ready.refresh() == 0
    repository.rotate("snapshot")
    repository.snapshot.version = 1
    repository.publish("root", "snapshot")
    assert ready.refresh() == (0 if ready.kind == "device" else 1)


def test_recovery_from_fast_forwarded_targets(ready: Client, repository: Simulator) -> None:
    repository.targets.version = 99
    repository.publish("targets")
    assert ready.refresh() == 0
    repository.rotate("snapshot")
    repository.targets.version = 1
    repository.publish("root", "targets")
    assert ready.refresh() == 0
    assert ready.version("targets") == 2


def test_the_same_keys_under_other_ids_are_no_recovery(ready: Client, repository: Simulator) -> None:
    """python-tuf checks the kept timestamp by key ids, does not find them any more, and forgets what it had seen."""
    repository.publish("snapshot")
    assert ready.refresh() == 0
    repository.timestamp.version = 0
    for role in ("timestamp", "snapshot"):
        signer = repository.signers[role][0]
        repository.drop_keys(role)
        repository.alias(role, signer, role + "-again")
    repository.publish("root", "snapshot")
    assert ready.refresh() == (1 if ready.kind == "device" else 0)


def test_the_same_key_with_a_note_is_no_recovery(ready: Client, repository: Simulator) -> None:
    repository.publish("snapshot")
    assert ready.refresh() == 0
    for key in repository.root.keys.values():
        key.unrecognized_fields["x-note"] = "moved to another safe"
    repository.timestamp.version = 0
    repository.publish("root", "snapshot")
    assert ready.refresh() == 1
    assert ready.version("timestamp") == 2


def test_a_raised_threshold_is_asked_of_a_timestamp_of_the_same_version(client: Client, repository: Simulator) -> None:
    """The kept one is not signed as it must be now: it is no reason to pass over the one that came."""
    second = repository.add_key("timestamp", signs=False)
    repository.serve("root")
    assert client.init(repository) == 0 and client.refresh() == 0
    repository.root.roles["timestamp"].threshold = 2
    repository.publish("root")
    assert client.refresh() == 1
    repository.signers["timestamp"].append(second)
    repository.serve("timestamp")
    assert client.refresh() == 0
    content = client.metadata / "timestamp.json"
    assert content.read_bytes() == repository.files["metadata/timestamp.json"]


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "A"])
def test_expired(client: Client, repository: Simulator, role: str) -> None:
    repository.delegate("targets", "A")
    repository.add_target("A", "artifact", b"content")
    repository.publish("targets", "A")
    assert client.init(repository) == 0
    assert client.download("artifact") == 0
    before = client.version(role)
    repository.signed(role).expires = repository.end - 31 * DAY
    repository.publish(*(["snapshot"] if role == "timestamp" else [role]))
    assert client.download("artifact") == 1
    assert client.version(role) == before


def test_what_is_kept_expires_too(ready: Client, repository: Simulator) -> None:
    ready.travel(31)
    assert ready.refresh() == 1


def test_a_kept_timestamp_expires_while_its_version_stays(ready: Client, repository: Simulator) -> None:
    repository.timestamp.expires = repository.end - 20 * DAY
    repository.publish("snapshot")
    assert ready.refresh() == 0
    ready.travel(15)
    assert ready.refresh() == 1


def test_expired_metadata_is_the_base_for_newer(ready: Client, repository: Simulator) -> None:
    repository.timestamp.expires = repository.end - 23 * DAY
    repository.publish("snapshot")
    assert ready.refresh() == 0
    repository.timestamp.expires = repository.end - 9 * DAY
    repository.publish("targets")
    ready.travel(18)
    assert ready.refresh() == 0
    assert ready.versions() == (1, 3, 3, 2)


@pytest.mark.parametrize("role", ["timestamp", "snapshot"])
def test_expired_metadata_still_tells_a_rollback(ready: Client, repository: Simulator, role: str) -> None:
    repository.timestamp.expires = repository.end - 23 * DAY
    repository.publish("snapshot")
    assert ready.refresh() == 0
    repository.timestamp.expires = repository.end - 9 * DAY
    repository.snapshot.version = 1
    repository.serve("snapshot")
    repository.timestamp.snapshot_meta = repository._meta("snapshot")
    repository.timestamp.version = 1 if role == "timestamp" else 9
    repository.serve("timestamp")
    ready.travel(18)
    assert ready.refresh() == 1
    assert ready.versions()[1:3] == (2, 2)


def test_time_is_believed_only_forward(ready: Client, repository: Simulator) -> None:
    """A clock that was set back revives nothing. python-tuf has only the clock."""
    ready.travel(20)
    assert ready.refresh() == 0
    repository.timestamp.expires = repository.end - 20 * DAY
    repository.publish("snapshot")
    ready.travel(0)
    assert ready.refresh() == (1 if ready.kind == "device" else 0)


def test_the_moment_of_expiry_is_too_late(ready: Client, repository: Simulator) -> None:
    moment = repository.timestamp.expires
    now = datetime.datetime.now(datetime.UTC)
    ready.travel((moment - now).total_seconds() / 86400 - 0.01)
    assert ready.refresh() == 0
    ready.travel((moment - now).total_seconds() / 86400)
    ready.now = moment.timestamp()
    assert ready.refresh() == 1
