# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``transaction.json``: what an earlier engine wrote is read, and written again to the same values."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.module_utils._device.base.errors import OtaError
from ansible_collections.fleet.ota.plugins.module_utils._device.base.states import State
from ansible_collections.fleet.ota.plugins.module_utils._device.records.transaction import Transaction
from ansible_collections.fleet.ota.plugins.module_utils._device.system import durable
from ansible_collections.fleet.ota.plugins.module_utils._device.system.layout import Layout

#: Written by the engine of commit f1b2194, the last one whose transaction had no types.
UPDATE: dict[str, t.Any] = {
    "approvals": {},
    "baseline": {"answers": {}},
    "before": {
        "counter": 1,
        "digest": "8ca789f8b6f470fa895205cd347ef1f08a418fd7a11d1b1f90ef58e4e510b7fd",
        "name": "app",
        "rollout": "r1",
        "time": "2026-11-30T10:54:23Z",
        "transaction": "35d0ba39ac12",
        "units": [],
        "version": "1",
    },
    "began": 2133.90237208,
    "boot_id": "994e5d94-87cf-4c47-a47f-6dd5637fcc32",
    "boots": 0,
    "checkpoint": {
        "head": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "journal": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
        "rollout": "r1",
        "size": 3,
    },
    "code": None,
    "counted": "994e5d94-87cf-4c47-a47f-6dd5637fcc32",
    "data": [],
    "deadline": 600,
    "diff": {"after": {"app": "2", "release": "app 2"}, "before": {"app": "1", "release": "app 1"}},
    "engine": "/var/lib/fleet-ota/engine/eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee.pyz",
    "expires": {"boot": "994e5d94-87cf-4c47-a47f-6dd5637fcc32", "clock": 2734.089122173},
    "format": 1,
    "generation": 1,
    "guard": "process",
    "guard_pid": 14334,
    "health": {"answers": {"measured": {}, "ok": True, "reason": ""}},
    "health_before": {
        "checks": [{"name": "answers", "path": "/opt/app/current/bin/app", "type": "file"}],
        "interval": 0.1,
        "passes": 1,
        "timeout": 1,
    },
    "id": "45a8b0aaaf86",
    "in_place": {"boot": "994e5d94-87cf-4c47-a47f-6dd5637fcc32", "clock": 2134.131427603},
    "instance": "56e716bca5c74882983dd500aa9ecfef",
    "interlocks": [],
    "keep_snapshots": 1,
    "kind": "update",
    "message": "",
    "migrated": ["/srv/db"],
    "outcome": None,
    "protect": [],
    "reboot": "never",
    "release": {
        "counter": 2,
        "digest": "effb8411c14dd94b31a241b5a407b51559c5ed644b22d0b93b20ba784a9639a5",
        "name": "app",
        "version": "2",
    },
    "repair": False,
    "rollout": "r2",
    "sequence": 2,
    "snapshot": "auto",
    "snapshot_kind": "files",
    "started": "2026-11-30T10:54:23Z",
    "state": "unconfirmed",
    "steps": {
        "armed": 0.195,
        "checking": 0.229,
        "installing": 0.2,
        "snapshotted": 0.182,
        "staged": 0.0,
        "unconfirmed": 0.254,
        "verified": 0.16,
    },
    "units": [],
    "units_active": [],
}
ROLLBACK: dict[str, t.Any] = {
    "baseline": {},
    "before": {
        "counter": 2,
        "digest": "effb8411c14dd94b31a241b5a407b51559c5ed644b22d0b93b20ba784a9639a5",
        "migrated": ["/srv/db"],
        "name": "app",
        "rollout": "r2",
        "time": "2026-11-30T10:54:24Z",
        "transaction": "45a8b0aaaf86",
        "units": [],
        "version": "2",
    },
    "began": 2134.571767457,
    "boot_id": "994e5d94-87cf-4c47-a47f-6dd5637fcc32",
    "boots": 0,
    "checkpoint": None,
    "code": None,
    "counted": "994e5d94-87cf-4c47-a47f-6dd5637fcc32",
    "data": [],
    "deadline": 600,
    "diff": {"after": {"paths": 2, "release": "app 1"}, "before": {"release": "app 2"}},
    "engine": "/var/lib/fleet-ota/engine/eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee.pyz",
    "expires": {"boot": "994e5d94-87cf-4c47-a47f-6dd5637fcc32", "clock": 2734.7287415},
    "format": 1,
    "generation": 1,
    "guard": "process",
    "guard_pid": 14364,
    "health": {},
    "health_before": {"checks": []},
    "id": "1ab201ceec9a",
    "in_place": {"boot": "994e5d94-87cf-4c47-a47f-6dd5637fcc32", "clock": 2134.803585093},
    "instance": "56e716bca5c74882983dd500aa9ecfef",
    "interlocks": [],
    "keep_snapshots": 1,
    "kind": "rollback",
    "message": "",
    "outcome": None,
    "protect": [],
    "reboot": "never",
    "release": {
        "counter": 1,
        "digest": "8ca789f8b6f470fa895205cd347ef1f08a418fd7a11d1b1f90ef58e4e510b7fd",
        "name": "app",
        "version": "1",
    },
    "rollout": "r2",
    "sequence": 3,
    "snapshot": "auto",
    "snapshot_kind": "files",
    "source": "45a8b0aaaf86",
    "started": "2026-11-30T10:54:24Z",
    "state": "unconfirmed",
    "steps": {
        "armed": 0.168,
        "checking": 0.232,
        "installing": 0.184,
        "snapshotted": 0.154,
        "staged": 0.0,
        "unconfirmed": 0.26,
        "verified": 0.142,
    },
    "units": [],
    "units_active": [],
}


@pytest.fixture()
def layout(tmp_path: t.Any) -> Layout:
    """A device that is a directory."""
    layout = Layout(str(tmp_path))
    layout.prepare()
    return layout


def loaded(layout: Layout, value: t.Mapping[str, t.Any]) -> Transaction:
    """The transaction in a file with ``value``."""
    durable.write_json(layout.file("transaction.json"), value)
    transaction = Transaction.load(layout)
    assert transaction is not None
    return transaction


@pytest.mark.parametrize("value", [UPDATE, {**UPDATE, "before": None, "instance": None}, ROLLBACK])
def test_the_file_of_an_earlier_engine_stays_the_same(layout: Layout, value: dict[str, t.Any]) -> None:
    transaction = loaded(layout, value)
    with open(layout.file("transaction.json"), "rb") as handle:
        before = handle.read()
    transaction.save()
    with open(layout.file("transaction.json"), "rb") as handle:
        assert handle.read() == before
    assert transaction.state is State.UNCONFIRMED and transaction.is_open and not transaction.is_at_work
    reply = transaction.reply()
    assert (reply["state"], reply["deadline"], reply["sequence"]) == ("unconfirmed", 600, value["sequence"])
    assert json.loads(json.dumps(reply))["release"] == value["release"]


def test_keys_of_another_engine_stay_in_the_file(layout: Layout) -> None:
    transaction = loaded(layout, {**UPDATE, "rehearsal": {"seconds": 2}})
    transaction.advance(State.CONFIRMED, outcome="updated")
    value = durable.read_json(layout.file("transaction.json"))
    assert (value["rehearsal"], value["state"], value["outcome"]) == ({"seconds": 2}, "confirmed", "updated")


def test_a_file_of_an_engine_that_counted_nothing_is_read(layout: Layout) -> None:
    old = {key: entry for key, entry in UPDATE.items() if key not in ("sequence", "instance", "boots")}
    transaction = loaded(layout, old)
    assert (transaction.sequence, transaction.instance, transaction.boots) == (0, None, 0)


@pytest.mark.parametrize("change", [{"format": 2}, {"state": "dreaming"}])
def test_what_another_version_wrote_is_left_to_its_guard(layout: Layout, change: dict[str, t.Any]) -> None:
    with pytest.raises(OtaError, match="of another version of the engine") as caught:
        loaded(layout, {**UPDATE, **change})
    assert caught.value.code == "BUSY"


def test_a_step_that_the_table_does_not_know_changes_nothing(layout: Layout) -> None:
    transaction = loaded(layout, UPDATE)
    with open(layout.file("transaction.json"), "rb") as handle:
        before = handle.read()
    for state in set(State) - State.UNCONFIRMED.following:
        with pytest.raises(OtaError, match="cannot become") as caught:
            transaction.advance(state, outcome="updated")
        assert caught.value.code == "ENGINE"
    assert (transaction.state, transaction.outcome) == (State.UNCONFIRMED, None)
    with open(layout.file("transaction.json"), "rb") as handle:
        assert handle.read() == before


def test_only_fields_of_a_transaction_can_be_changed(layout: Layout) -> None:
    transaction = loaded(layout, UPDATE)
    for name in ("outcom", "layout", "unknown", "format"):
        with pytest.raises(AttributeError):
            transaction.save(**{name: "x"})
