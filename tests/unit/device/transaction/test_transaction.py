# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The transaction of a device, through the protocol, from the zipapp."""

from __future__ import annotations

import json
import os
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base.errors import OtaError
from ansible_collections.fleet.ota.plugins.module_utils._device.documents import release
from ansible_collections.fleet.ota.plugins.module_utils._device.records import installed
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout

from ..conftest import Device, Publisher

pytestmark = pytest.mark.one_python


def apply(device: Device, publisher: Publisher, **options: t.Any) -> dict[str, t.Any]:
    """Stage and apply what was published last."""
    request = {"bundle": publisher.repository.bundle(), "wait": 20, "rollout": "r1", "generation": 1, **options}
    reply = device.call("apply", **request)
    if reply.get("missing"):
        device.stage(publisher.files)
        reply = device.call("apply", **request)
    return reply


def update(device: Device, publisher: Publisher, version: int, **changes: t.Any) -> None:
    """Publish a release, apply it and confirm it."""
    publisher.release(version, **changes)
    reply = apply(device, publisher)
    assert reply["state"] == "unconfirmed", reply
    reply = device.call("confirm", transaction=reply["transaction"])
    assert (reply["state"], reply["outcome"]) == ("confirmed", "updated"), reply


def test_a_release_is_installed_confirmed_and_known(device: Device, publisher: Publisher) -> None:
    update(device, publisher, 1)
    assert device.read("opt/app/current/bin/app") == "app 1"
    info = device.call("info")
    assert info["releases"]["app"]["current"]["version"] == "1"
    assert info["releases"]["app"]["counter"] == 1
    assert not list((device.state / "inbox").iterdir())


def test_the_same_release_again_is_current(device: Device, publisher: Publisher) -> None:
    update(device, publisher, 1)
    before = device.tree()
    assert apply(device, publisher, rollout="another")["outcome"] == "current"
    again = apply(device, publisher)
    assert (again["outcome"], again["again"]) == ("updated", True), "the same rollout keeps its outcome"
    assert device.tree() == before


def test_what_was_changed_by_hand_is_not_current(device: Device, publisher: Publisher) -> None:
    update(device, publisher, 1)
    (device.root / "opt/app/current").unlink()
    assert apply(device, publisher)["state"] == "unconfirmed"


def test_unhealthy_goes_back_to_exactly_what_it_was(device: Device, publisher: Publisher) -> None:
    update(device, publisher, 1)
    before = device.tree()
    fast = {"passes": 1, "interval": 0.1, "timeout": 0.3}
    check = {"name": "answers", "type": "tcp", "port": "${port}"}
    publisher.release(2, health={**fast, "checks": [check]})
    reply = apply(device, publisher)
    assert (reply["outcome"], reply["code"]) == ("restored", "HEALTH"), reply
    assert device.tree() == before
    again = device.call("apply", bundle=publisher.repository.bundle(), rollout="r1", generation=1)
    assert again["error"]["code"] == "REJECTED", again
    assert len(os.listdir(str(device.state / "archives"))) == 1, "nothing is left of the release that went back"
    retry = apply(device, publisher, retry_rejected=True)
    assert retry["outcome"] == "restored"


def test_nobody_confirms_and_the_guard_goes_back(device: Device, publisher: Publisher) -> None:
    update(device, publisher, 1)
    before = device.tree()
    publisher.release(2)
    reply = apply(device, publisher, deadline=5)
    assert reply["state"] == "unconfirmed"
    assert device.read("opt/app/current/bin/app") == "app 2"
    (device.state / "wait").write_text("")
    reply = wait_for(device, "restored")
    assert (reply["outcome"], reply["code"]) == ("restored", "DEADLINE"), reply
    assert device.tree() == before


def wait_for(device: Device, state: str) -> dict[str, t.Any]:
    """Ask until the transaction is in ``state``, as the controller's polling does."""
    import time

    end = time.monotonic() + 30
    while True:
        reply = device.call("status", wait=1)
        if reply["state"] == state or time.monotonic() > end:
            return reply
        time.sleep(0.2)


def test_rollback_is_a_transaction_and_happens_once(device: Device, publisher: Publisher) -> None:
    update(device, publisher, 1)
    before = device.tree()
    update(device, publisher, 2)
    reply = device.call("rollback", rollout="back-1", generation=1, wait=20)
    assert reply["state"] == "unconfirmed", reply
    assert device.read("opt/app/current/bin/app") == "app 1"
    assert device.call("confirm", transaction=reply["transaction"])["outcome"] == "updated"
    assert device.tree() == before
    again = device.call("rollback", rollout="back-1", generation=1)
    assert (again["outcome"], again["again"]) == ("updated", True), "running the same command again goes back once"
    assert device.call("rollback", rollout="back-2", generation=1)["error"]["code"] == "NO_PREVIOUS"
    assert apply(device, publisher)["error"]["code"] == "REJECTED"


def test_two_back_after_three(device: Device, publisher: Publisher) -> None:
    for version in (1, 2, 3):
        update(device, publisher, version)
    releases = sorted(path.name for path in (device.root / "opt/app/releases").iterdir())
    assert releases == ["2", "3"]
    reply = device.call("rollback", wait=20)
    device.call("confirm", transaction=reply["transaction"])
    assert device.read("opt/app/current/bin/app") == "app 2"


def test_check_mode_says_what_would_change_and_touches_nothing(device: Device, publisher: Publisher) -> None:
    update(device, publisher, 1)
    publisher.release(2)
    state = (device.state / "transaction.json").read_text()
    reply = device.call("apply", bundle=publisher.repository.bundle(), check=True)
    assert reply["outcome"] is None and reply["diff"]["after"] == {"release": "app 2", "app": "2"}
    assert reply["diff"]["before"] == {"release": "app 1", "app": "1"}
    assert (device.state / "transaction.json").read_text() == state


def test_an_older_generation_is_refused(device: Device, publisher: Publisher) -> None:
    publisher.release(1)
    apply(device, publisher, generation=3)
    reply = device.call("apply", bundle=publisher.repository.bundle(), rollout="r1", generation=2)
    assert reply["error"]["code"] == "STALE"


def test_a_second_rollout_finds_the_device_busy(device: Device, publisher: Publisher) -> None:
    publisher.release(1)
    assert apply(device, publisher)["state"] == "unconfirmed"
    publisher.release(2)
    assert apply(device, publisher, rollout="other")["error"]["code"] == "BUSY"


def test_a_change_between_confirm_and_rollback_is_a_conflict(device: Device, publisher: Publisher) -> None:
    (device.root / "etc").mkdir()
    (device.root / "etc/app.conf").write_text("old")
    script = "#!/bin/sh\nprintf new > $FLEET_OTA_ROOT/etc/app.conf\n"
    update(device, publisher, 1, protect=["/etc"])
    changes: dict[str, t.Any] = {"payload": {"activate": ["bin/app"]}, "protect": ["/etc"]}
    update(device, publisher, 2, content={"bin/app": script}, **changes)
    assert device.read("etc/app.conf") == "new"
    (device.root / "etc/app.conf").write_text("by hand")
    (device.root / "etc/other").write_text("by hand too")
    reply = device.call("rollback")
    assert reply["error"]["code"] == "CONFLICT" and "/etc/app.conf" in reply["error"]["message"]
    reply = device.call("rollback", overwrite=True, wait=20)
    assert device.read("etc/app.conf") == "old"
    assert device.read("etc/other") == "by hand too", "what the release did not change stays"


def test_history_tells_every_state(device: Device, publisher: Publisher) -> None:
    update(device, publisher, 1)
    states = [json.loads(line)["state"] for line in (device.state / "history.jsonl").read_text().splitlines()]
    assert states == [
        "staged",
        "verified",
        "rehearsed",
        "snapshotted",
        "armed",
        "installing",
        "checking",
        "unconfirmed",
        "confirmed",
    ]


def test_going_back_works_with_no_byte_free(device: Device, publisher: Publisher, small_disk: Path) -> None:
    """The new release fills the disk to its last byte, then is not healthy."""
    device.root = small_disk
    device.state = small_disk / "var/lib/fleet-ota"
    identity = {"name": "dev1", "hardware": "edge-1"}
    device.call("enroll", identity=identity, trust_root=publisher.repository.root())
    update(device, publisher, 1)
    before = device.tree()
    greedy = '#!/bin/sh\ncat /dev/zero >"$FLEET_OTA_ROOT/opt/app/current/full" 2>/dev/null\nexit 0\n'
    check = {"name": "never", "type": "tcp", "port": 1}
    health = {"passes": 1, "interval": 0.1, "timeout": 0.2, "checks": [check]}
    content = {"bin/app": greedy, "etc/default": "x"}
    publisher.release(2, content=content, payload={"activate": ["bin/app"]}, health=health)
    reply = apply(device, publisher, wait=60)
    assert reply["outcome"] == "restored", reply
    assert "No space left" in reply["message"], "the disk must really have been full"
    assert device.tree() == before


@pytest.fixture()
def small_disk(tmp_path: Path) -> t.Iterator[Path]:
    """A file system of 12 MiB of its own."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_release_in_between_is_asked_for_and_the_way_back_stays_open(device: Device, publisher: Publisher) -> None:
    update(device, publisher, 1)
    over: dict[str, t.Any] = {"from": {"counter": 2}}
    publisher.release(3, **over)
    before = device.tree()
    reply = device.call("apply", bundle=publisher.repository.bundle(), rollout="r1", generation=1)
    assert (reply["outcome"], reply["error"]["code"]) == ("refused", "UPDATE_PATH"), reply
    assert device.tree() == before
    update(device, publisher, 2)
    update(device, publisher, 3, **over)
    reply = device.call("rollback", rollout="back", generation=1, wait=20)
    assert device.call("confirm", transaction=reply["transaction"])["outcome"] == "updated"
    assert device.read("opt/app/current/bin/app") == "app 2"


def test_what_is_here_after_a_way_back_is_no_rollback(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    layout.prepare()
    memory = installed.Memory(layout)
    for counter in (1, 2):
        memory.confirm(
            {"name": "app", "version": "1", "counter": counter, "digest": "d%d" % counter, "transaction": "t"}
        )
    current = memory.of("app")["current"]
    assert current is not None
    current["digest"] = "d1"
    document: release.Document = {"format": 1, "name": "app", "version": "1", "counter": 1, "payloads": []}
    memory.require_acceptable(document, "d1", False)
    with pytest.raises(OtaError, match="below 2"):
        memory.require_acceptable(document, "another", False)


def test_as_many_ways_back_stay_as_were_asked_for(device: Device, publisher: Publisher) -> None:
    for version in (1, 2, 3, 4):
        publisher.release(version, health={"checks": []})
        reply = apply(device, publisher, keep_snapshots=2, rollout="r%d" % version)
        assert device.call("confirm")["outcome"] == "updated", reply
    assert len(list((device.state / "snapshots").iterdir())) == 2
    assert sorted(path.name for path in (device.root / "opt/app/releases").iterdir()) == ["2", "3", "4"]
    publisher.release(5, health={"passes": 1, "timeout": 0, "checks": [{"name": "no", "type": "tcp", "port": 1}]})
    assert apply(device, publisher, rollout="r5")["outcome"] == "restored"
    assert len(list((device.state / "snapshots").iterdir())) == 2, "one that failed costs no way back"
    for number, version in ((1, 3), (2, 2)):
        assert device.call("rollback", rollout="back-%d" % number, wait=20)["state"] == "unconfirmed"
        assert device.call("confirm")["outcome"] == "updated"
        assert device.read("opt/app/current/bin/app") == "app %d" % version
    assert device.call("rollback", rollout="back-3")["error"]["code"] == "NO_PREVIOUS"
    publisher.release(6)
    reply = apply(device, publisher, rollout="r6", keep_snapshots=0)
    assert (reply["outcome"], reply["error"]["code"]) == ("refused", "RELEASE"), "the last good one always stays"
    assert apply(device, publisher, rollout="r6")["state"] == "unconfirmed"
    assert device.call("confirm")["outcome"] == "updated"
    current = device.call("info")["releases"]["app"]["current"]["transaction"]
    assert [path.name for path in (device.state / "snapshots").iterdir()] == [current]
