# Copyright: (c) 2026, fleet.ota contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the controller remembers of a device between rollouts, and asks it to have reached."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible_collections.fleet.ota.plugins.plugin_utils._control.base.errors import JournalError
from ansible_collections.fleet.ota.plugins.plugin_utils._control.journal import devices
from ansible_collections.fleet.ota.plugins.plugin_utils._targets.record import Record

from .conftest import ROLLOUT, Link, reply


def expected(link: Link) -> t.Any:
    return link.device.calls[-1][1]["expected"]


def test_the_next_rollout_expects_what_this_one_heard(link: Link, tmp_path: pathlib.Path) -> None:
    link.script(reply("confirmed", "updated", instance="i", sequence=7)).apply()
    assert expected(link) is None, "nothing was known before"
    assert link.last["data"]["sequence"] == 7
    link.script(reply("idle", "current", transaction=None)).apply()
    assert expected(link) == {"instance": "i", "sequence": 7}
    link.script(reply("confirmed", "updated")).updater.rollback(None, False)
    assert expected(link) == {"instance": "i", "sequence": 7}
    assert Record(str(tmp_path / ROLLOUT / "journal.jsonl"), "dev2", ROLLOUT, 1).expected() is None


@pytest.mark.parametrize(
    ("instance", "sequence", "after"), [("i", 6, ("i", 7)), ("i", 8, ("i", 8)), ("new", 2, ("new", 2))]
)
def test_only_a_new_instance_begins_anew(
    tmp_path: pathlib.Path, instance: str, sequence: int, after: tuple[str, int]
) -> None:
    devices.note(tmp_path, "../x", {"instance": "i", "sequence": 7})
    devices.note(tmp_path, "../x", {"instance": instance, "sequence": sequence})
    assert devices.read(tmp_path, "../x") == {"instance": after[0], "sequence": after[1]}
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "told", [{}, {"instance": "i"}, {"instance": None, "sequence": 3}, {"instance": "i", "sequence": "3"}]
)
def test_a_device_that_does_not_count_leaves_nothing(tmp_path: pathlib.Path, told: dict[str, t.Any]) -> None:
    devices.note(tmp_path / "devices", "dev1", told)
    assert not (tmp_path / "devices").exists()


def test_a_damaged_file_is_named(tmp_path: pathlib.Path) -> None:
    devices.note(tmp_path, "dev1", {"instance": "i", "sequence": 7})
    (path,) = tmp_path.iterdir()
    path.write_text("{}")
    with pytest.raises(JournalError, match=path.name):
        devices.read(tmp_path, "dev1")


def test_a_journal_outside_a_journal_directory_has_no_memory(tmp_path: pathlib.Path) -> None:
    assert devices.folder_of(tmp_path / "journal.jsonl", ROLLOUT) is None
    assert devices.folder_of(tmp_path / ROLLOUT / "journal.jsonl", None) is None
    assert devices.folder_of(tmp_path / ROLLOUT / "journal.jsonl", ROLLOUT) == tmp_path / ".devices"
