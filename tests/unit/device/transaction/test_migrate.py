# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Data that stays is migrated forward and back, whatever fails or is killed; and what the inventory says about data."""

from __future__ import annotations

import json
import os
import signal
import typing as t
from pathlib import Path

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base.errors import OtaError
from ansible_collections.fleet.ota.plugins.module_utils._device.documents import data, release

from ..conftest import Device, Publisher
from .test_data import SICK, STOP, command, said
from .test_transaction import apply, update, wait_for

pytestmark = pytest.mark.one_python

#: A database with a version, migrated by the release in use only: `current/bin/migrate up|down NUMBER`.
MIGRATE = """#!/bin/sh
cd $FLEET_OTA_ROOT/srv/db
grep -q "app %(version)d" $FLEET_OTA_ROOT/opt/app/current/bin/app || exit 9
echo "$1" >>$FLEET_OTA_ROOT/srv/said
[ ! -e "$FLEET_OTA_ROOT/srv/break-$1" ] || exit 3
if [ -e "$FLEET_OTA_ROOT/srv/wait-$1" ]; then sleep 60; fi
[ "$1" = up ] && echo %(version)d >format || echo %(before)d >format
"""


def migrating(version: int, **changes: t.Any) -> dict[str, t.Any]:
    """A release whose data stays and has the form of its own version."""
    run = ["/bin/sh", "-c", "exec $FLEET_OTA_ROOT/opt/app/current/bin/migrate $0"]
    entry = {"path": "/srv/db", "on_restore": "keep", "migrate": {"forward": [*run, "up"], "back": [*run, "down"]}}
    script = MIGRATE % {"version": version, "before": version - 1}
    content = {"bin/app": "app %d" % version, "bin/migrate": script}
    return {"content": content, "data": [entry], **changes}


@pytest.fixture()
def shop(device: Device, publisher: Publisher) -> Device:
    """A device with release 1, whose data is of form 1."""
    (device.root / "srv/db").mkdir(parents=True)
    update(device, publisher, 1, **migrating(1))
    (device.root / "srv/said").unlink()
    assert form(device) == "1"
    return device


def form(device: Device) -> str:
    return (device.root / "srv/db/format").read_text().strip()


def told(device: Device, name: str) -> None:
    """Let the next migration break, or wait."""
    (device.root / "srv" / name).write_text("")


def runs(device: Device) -> str:
    return device.read("opt/app/current/bin/app")


def test_a_healthy_release_migrates_forward_and_its_rollback_back(shop: Device, publisher: Publisher) -> None:
    update(shop, publisher, 2, **migrating(2))
    assert (said(shop), form(shop)) == (["up"], "2")
    assert shop.call("info")["releases"]["app"]["current"]["migrated"] == ["/srv/db"]
    reply = shop.call("rollback", rollout="back", wait=20)
    assert (reply["state"], said(shop), form(shop), runs(shop)) == ("unconfirmed", ["up", "down"], "1", "app 1")
    assert shop.call("restore", wait=20)["outcome"] == "restored"
    assert (said(shop), form(shop), runs(shop)) == (["up", "down", "up"], "2", "app 2"), "back to what it was: forward"
    reply = shop.call("rollback", rollout="back-2", wait=20)
    assert shop.call("confirm", transaction=reply["transaction"])["outcome"] == "updated"
    assert (form(shop), runs(shop)) == ("1", "app 1")


def test_an_unhealthy_release_migrates_back(shop: Device, publisher: Publisher) -> None:
    publisher.release(2, **migrating(2, health=SICK))
    assert apply(shop, publisher)["outcome"] == "restored"
    assert (said(shop), form(shop), runs(shop)) == (["up", "down"], "1", "app 1")


def test_a_forward_that_fails_is_undone(shop: Device, publisher: Publisher) -> None:
    told(shop, "break-up")
    publisher.release(2, **migrating(2))
    reply = apply(shop, publisher)
    assert (reply["outcome"], reply["code"]) == ("restored", "INSTALL"), reply
    assert "/srv/db could not be migrated" in reply["message"]
    assert (said(shop), form(shop), runs(shop)) == (["up", "down"], "1", "app 1")


def test_what_was_not_begun_is_not_undone(shop: Device, publisher: Publisher) -> None:
    fails = {"payload": {"activate": ["bin/activate"]}}
    changes = migrating(2, **fails)
    changes["content"]["bin/activate"] = "#!/bin/sh\ngrep -q 'app 1' $FLEET_OTA_ROOT/opt/app/current/bin/app\n"
    publisher.release(2, **changes)
    reply = apply(shop, publisher)
    assert (reply["outcome"], reply["code"], said(shop)) == ("restored", "INSTALL", []), reply


def test_a_back_that_fails_leaves_code_and_data_together_until_it_is_mended(shop: Device, publisher: Publisher) -> None:
    told(shop, "break-down")
    publisher.release(2, **migrating(2, health=SICK))
    reply = apply(shop, publisher)
    assert (reply["outcome"], reply["code"]) == ("broken", "RESTORE"), reply
    assert "/srv/db could not be migrated back" in reply["message"]
    assert (said(shop), form(shop), runs(shop)) == (["up", "down", "down", "down"], "2", "app 2")
    (shop.root / "srv/break-down").unlink()
    assert shop.call("restore", wait=20)["outcome"] == "restored"
    assert (form(shop), runs(shop)) == ("1", "app 1")


@pytest.mark.parametrize("which", ["up", "down"])
def test_an_engine_killed_in_mid_migration(shop: Device, publisher: Publisher, which: str) -> None:
    told(shop, "wait-" + which)
    publisher.release(2, **migrating(2, health=SICK))
    reply = apply(shop, publisher, wait=0)
    while said(shop)[-1:] != [which]:
        assert shop.call("status", wait=0.1)["state"] not in ("restored", "broken")
    folder = shop.state / "transactions" / reply["transaction"]
    (shop.root / "srv" / ("wait-" + which)).unlink()
    os.kill(json.loads((folder / "worker.json").read_text())["pid"], signal.SIGKILL)
    reply = wait_for(shop, "restored")
    assert reply["outcome"] == "restored", reply
    assert said(shop) == (["up", "down"] if which == "up" else ["up", "down", "down"])
    assert (form(shop), runs(shop)) == ("1", "app 1")


def test_a_rollback_quiesces_what_it_leaves(device: Device, publisher: Publisher) -> None:
    (device.root / "srv").mkdir()
    update(device, publisher, 1)
    update(device, publisher, 2, quiesce=[STOP], resume=[command("echo go >>$FLEET_OTA_ROOT/srv/said")])
    assert device.call("rollback", wait=20)["state"] == "unconfirmed"
    assert said(device) == ["stop", "go"] * 2


# -- the inventory ---------------------------------------------------------------------------------------------------


KEEP, RESTORE = ({"path": "/srv/db", "on_restore": choice} for choice in ("keep", "restore"))


@pytest.mark.parametrize(
    ("document", "given", "after"),
    [([KEEP], [RESTORE], "old"), ([RESTORE], [KEEP], "new")],
)
def test_the_inventory_decides(
    device: Device, publisher: Publisher, document: list[t.Any], given: list[t.Any], after: str
) -> None:
    folder = device.root / "srv/db"
    folder.mkdir(parents=True)
    (folder / "rows").write_text("old")
    script = "#!/bin/sh\necho new >$FLEET_OTA_ROOT/srv/db/rows\n"
    content, payload = {"bin/app": script}, {"activate": ["bin/app"]}
    publisher.release(1, content=content, payload=payload, health=SICK, data=document)
    assert apply(device, publisher, data=given)["outcome"] == "restored"
    assert (folder / "rows").read_text().strip() == after


def test_data_that_is_chosen_to_go_back_is_not_migrated_back(shop: Device, publisher: Publisher) -> None:
    publisher.release(2, **migrating(2, health=SICK))
    assert apply(shop, publisher, data=[RESTORE])["outcome"] == "restored"
    assert (said(shop), form(shop)) == (["up"], "1"), "the snapshot brought it back"


def test_a_path_that_cannot_be_migrated_back_cannot_be_kept(shop: Device, publisher: Publisher) -> None:
    changes = migrating(2)
    changes["data"][0]["on_restore"] = "restore"
    del changes["data"][0]["migrate"]["back"]
    publisher.release(2, **changes)
    reply = apply(shop, publisher, data=[KEEP])
    assert (reply["outcome"], reply["error"]["code"], said(shop)) == ("refused", "RELEASE", []), reply
    assert apply(shop, publisher)["state"] == "unconfirmed"


def test_what_a_release_installs_cannot_be_kept(device: Device, publisher: Publisher) -> None:
    publisher.release(1)
    before = device.tree()
    for path in ("/opt", "/opt/app/releases/1"):
        reply = apply(device, publisher, data=[{"path": path, "on_restore": "keep"}])
        assert (reply["outcome"], reply["code"]) == ("refused", "RELEASE"), reply
        assert device.tree() == before


def test_a_directory_that_packages_ship_can_be_kept(tmp_path: Path) -> None:
    (tmp_path / "lib/sub").mkdir(parents=True)
    (tmp_path / "file").write_text("")

    def real(path: str) -> str:
        return str(tmp_path) + path

    def spared(*single: str) -> bool:
        try:
            data.require_spared([{"path": single[0], "on_restore": "keep"}], real, single, ())
        except OtaError:
            return False
        return True

    assert spared("/lib", "/lib/sub", "/usr/x")
    assert not spared("/lib", "/lib/file")
    assert not spared("/file")


@pytest.mark.parametrize(
    "given",
    [
        "x",
        [{"path": "srv", "on_restore": "keep"}],
        [{"path": "/srv"}],
        [{"path": "/srv", "on_restore": "lose"}],
        [{"path": "/srv", "on_restore": "keep"}, {"path": "/srv/", "on_restore": "restore"}],
        [{"path": "/srv", "on_restore": "keep", "migrate": {"forward": ["reboot"], "back": ["reboot"]}}],
    ],
)
def test_mistakes_of_the_inventory_are_refused(given: t.Any) -> None:
    with pytest.raises(OtaError) as error:
        data.merged({}, given)
    assert error.value.code == "RELEASE"


def test_the_inventory_adds_and_decides() -> None:
    of_release: data.Entry = {
        "path": "/srv/db",
        "on_restore": "restore",
        "migrate": {"forward": ["up"], "back": ["down"]},
    }
    more: data.Entry = {"path": "/mnt/db", "on_restore": "keep"}
    found = data.merged({"data": [of_release]}, [more, {"path": "/srv/db/", "on_restore": "keep"}])
    assert found == [{**of_release, "on_restore": "keep"}, more]


@pytest.mark.parametrize(
    "migrate",
    [
        "up",
        {},
        {"back": ["x"]},
        {"forward": ["x"]},
        {"forward": "x", "back": ["x"]},
        {"forward": [], "back": ["x"]},
        {"forward": ["x"], "back": ["x"], "timeout": 0},
        {"forward": ["x"], "back": ["x"], "skip": True},
    ],
)
def test_mistakes_of_a_release_are_told(publisher: Publisher, migrate: t.Any) -> None:
    with pytest.raises(release.ReleaseError):
        publisher.release(1, data=[{**KEEP, "migrate": migrate}])


def test_what_goes_back_by_its_snapshot_needs_no_command_for_it(publisher: Publisher) -> None:
    publisher.release(1, data=[{**RESTORE, "migrate": {"forward": ["x"]}}])
