# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kinds of trouble that people reported of other update systems, on a device that is a directory."""

from __future__ import annotations

import os
import tarfile
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.documents.release import ReleaseError

from ..conftest import Device, Publisher
from .test_transaction import apply, update, wait_for

pytestmark = pytest.mark.one_python


def test_data_that_came_into_a_folder_of_the_release_is_a_conflict(device: Device, publisher: Publisher) -> None:
    update(device, publisher, 1)
    update(device, publisher, 2)
    data = device.root / "opt/app/releases/2/measurements.db"
    data.write_text("weeks of data")
    reply = device.call("rollback", wait=20)
    assert reply["error"]["code"] == "CONFLICT" and "measurements.db" in reply["error"]["message"]
    assert data.read_text() == "weeks of data"
    reply = device.call("rollback", wait=20, overwrite=True)
    assert reply["state"] == "unconfirmed", reply


def test_what_an_interpreter_keeps_beside_its_programs_is_none(device: Device, publisher: Publisher) -> None:
    update(device, publisher, 1)
    update(device, publisher, 2)
    cache = device.root / "opt/app/releases/2/__pycache__"
    cache.mkdir()
    (cache / "app.pyc").touch()
    assert device.call("rollback", wait=20)["state"] == "unconfirmed"


def test_pruning_leaves_what_no_release_brought(device: Device, publisher: Publisher) -> None:
    update(device, publisher, 1)
    (device.root / "opt/app/releases/1/local.conf").write_text("kept")
    for version in (2, 3, 4):
        update(device, publisher, version)
    left = sorted(path.name for path in (device.root / "opt/app/releases").iterdir())
    assert left == ["1", "3", "4"]
    assert [path.name for path in (device.root / "opt/app/releases/1").iterdir()] == ["local.conf"]


def test_a_rollback_finds_what_an_older_release_than_the_one_before_put_there(
    device: Device, publisher: Publisher
) -> None:
    update(device, publisher, 1)
    update(device, publisher, 2, payload={"destination": "/opt/other"})
    update(device, publisher, 3)
    assert device.call("rollback", wait=20)["state"] == "unconfirmed"
    assert device.read("opt/app/current/bin/app") == "app 1"


def test_a_version_may_look_like_a_second_document_of_another(device: Device, publisher: Publisher) -> None:
    for counter, version in enumerate(("1.0", "1.0+deadbeef", "1.1+deadbeef"), 1):
        publisher.release(counter, name_of_version=version)
        reply = apply(device, publisher, rollout=version)
        assert reply["state"] == "unconfirmed", reply
        assert device.call("confirm", transaction=reply["transaction"])["outcome"] == "updated"
    left = sorted(path.name for path in (device.root / "opt/app/releases").iterdir())
    assert left == ["1.0+deadbeef", "1.1+deadbeef"]
    assert apply(device, publisher, rollout="again")["outcome"] == "current"


def test_the_same_release_again_keeps_its_way_back(device: Device, publisher: Publisher) -> None:
    update(device, publisher, 1)
    update(device, publisher, 2)
    (device.root / "opt/app/current").unlink()
    reply = apply(device, publisher, rollout="repair")
    assert device.call("confirm", transaction=reply["transaction"])["outcome"] == "updated"
    reply = device.call("rollback", wait=20)
    assert reply["state"] == "unconfirmed", reply
    assert device.read("opt/app/current/bin/app") == "app 1"


def test_a_deadline_over_a_healthy_release_says_nothing_against_it(device: Device, publisher: Publisher) -> None:
    update(device, publisher, 1)
    publisher.release(2)
    assert apply(device, publisher, deadline=5)["state"] == "unconfirmed"
    assert wait_for(device, "restored")["code"] == "DEADLINE"
    assert apply(device, publisher, generation=2, rollout="r2")["state"] == "unconfirmed"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"health": {"checks": [{"name": "a", "type": "command", "argv": ["sh", "-c", "test $(id -u)"]}]}}, "no label"),
        ({"health": {"checks": [{"name": "a", "type": "command", "argv": ["echo", "$HOME"]}]}}, "no label"),
        ({"data": [{"path": "/opt", "on_restore": "keep"}]}, "holds what the release installs"),
        ({"data": [{"path": "/opt/app/current/db", "on_restore": "keep"}]}, ""),
    ],
)
def test_what_could_not_work_on_devices_is_refused_when_published(
    publisher: Publisher, changes: dict[str, t.Any], problem: str
) -> None:
    if not problem:
        publisher.release(1, **changes)
        return
    with pytest.raises(ReleaseError, match=problem):
        publisher.release(1, **changes)


def test_a_dollar_sign_may_stand_for_itself_and_for_a_label(publisher: Publisher) -> None:
    check = {"name": "a", "type": "command", "argv": ["grep", "end$$", "/srv/${port}"]}
    publisher.release(1, health={"checks": [check]})


def test_the_end_of_a_log_begins_with_standard_error() -> None:
    from ansible_collections.fleet.ota.plugins.module_utils._device.system import command

    noise = "; ".join("echo line %d" % number for number in range(40))
    result = command.run(["sh", "-c", noise + "; echo the reason >&2; exit 3"])
    assert result.tail.splitlines()[0] == "the reason" and result.tail.splitlines()[-1] == "line 39"


def test_an_archive_with_hard_links_is_whole(device: Device, publisher: Publisher, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "bin").mkdir(parents=True)
    (source / "bin/app").write_text("app linked")
    (source / "bin/app").chmod(0o4755)
    os.link(str(source / "bin/app"), str(source / "bin/same"))
    with tarfile.open(publisher.folder / "linked.tar.gz", "w:gz") as archive:
        archive.add(source, ".")
    payload = {"name": "app", "type": "archive", "source": "linked.tar.gz", "destination": "/opt/app"}
    publisher.release(1, payloads=[payload])
    assert apply(device, publisher)["state"] == "unconfirmed"
    app = device.root / "opt/app/current/bin/app"
    assert app.read_text() == "app linked" and app.stat().st_mode & 0o7777 == 0o4755


@pytest.mark.parametrize("place", ["/proc/self", "/sys", "/dev/shm/app", "/run/app", "//var/run/app"])
def test_places_that_do_not_last_are_refused_when_published(device: Device, publisher: Publisher, place: str) -> None:
    with pytest.raises(ReleaseError, match="name a place that stays"):
        publisher.release(1, payload={"destination": place})
    with pytest.raises(ReleaseError, match="name files that stay"):
        publisher.release(1, protect=[place])
    publisher.release(1)
    reply = apply(device, publisher, protect=[place])
    assert reply["error"]["code"] == "RELEASE" and place in reply["error"]["message"], reply


@pytest.mark.parametrize(
    ("option", "value"), [("deadline", "abc"), ("deadline", 1e400), ("generation", "x"), ("protect", "/etc")]
)
def test_an_option_that_is_none_is_named(device: Device, publisher: Publisher, option: str, value: object) -> None:
    publisher.release(1)
    reply = apply(device, publisher, **{option: value})
    assert reply["error"]["code"] == "RELEASE" and option in reply["error"]["message"], reply
    assert "Error:" not in reply["error"]["message"]
